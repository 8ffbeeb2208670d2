//! XEP-0288 §2.2, rule by rule, on the table alone.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic and read the clock"
)]

use std::time::{Duration, Instant};

use super::*;

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn hosts() -> Hosts {
    Hosts::new([domain("montague.lit"), domain("conference.montague.lit")])
}

fn pair(local: &str, remote: &str) -> DomainPair {
    hosts()
        .pair(Direction::Outbound, &domain(local), &domain(remote))
        .unwrap()
}

fn main_pair() -> DomainPair {
    pair("montague.lit", "capulet.lit")
}

fn admits(table: &Authorizations, from: &str, to: &str) -> Result<(), Rejected> {
    table
        .admits(
            &hosts(),
            |_| Strictness::ExactPair,
            &domain(from),
            &domain(to),
        )
        .map(|_| ())
}

#[test]
fn unidirectional_stream_has_no_other_direction() {
    let mut receiving = Authorizations::new(Role::Receiving, Flow::Unidirectional);
    assert_eq!(
        receiving.consent(
            main_pair(),
            Consent::Dialback,
            Identity::Dialback(Assurance::Dns),
            BidiPolicy::Auto
        ),
        Err(NoDirection(Direction::Outbound)),
    );
    let mut initiating = Authorizations::new(Role::Initiating, Flow::Unidirectional);
    assert_eq!(
        initiating.prove(
            main_pair(),
            Proof::Dialback(Assurance::Dns),
            BidiPolicy::Auto
        ),
        Err(NoDirection(Direction::Inbound))
    );
    assert_eq!(
        admits(&initiating, "capulet.lit", "montague.lit"),
        Err(Rejected::NotAuthorized)
    );
}

#[test]
fn proof_grants_the_inverse_on_a_bidirectional_stream() {
    //= BIDI-16
    //= BIDI-20
    let mut both = Authorizations::new(Role::Receiving, Flow::Bidirectional);
    assert!(!both.permits(&main_pair()));
    assert_eq!(
        both.prove(
            main_pair(),
            Proof::Sasl(Identity::Certificate),
            BidiPolicy::Auto
        )
        .unwrap()
        .len(),
        2
    );
    assert!(both.permits(&main_pair()));
    assert_eq!(
        both.prove(
            main_pair(),
            Proof::Dialback(Assurance::Dns),
            BidiPolicy::Auto
        )
        .unwrap(),
        [],
        "nothing new"
    );
}

#[test]
fn other_pairs_are_not_granted_by_inverse() {
    //= BIDI-19
    //= BIDI-21
    let mut both = Authorizations::new(Role::Receiving, Flow::Bidirectional);
    both.prove(
        main_pair(),
        Proof::Dialback(Assurance::Dns),
        BidiPolicy::Auto,
    )
    .unwrap();
    assert!(!both.permits(&pair("conference.montague.lit", "capulet.lit")));
    assert!(!both.permits(&pair("montague.lit", "rooms.capulet.lit")));
    for (from, to, expected) in [
        ("capulet.lit", "montague.lit", Ok(())),
        (
            "capulet.lit",
            "conference.montague.lit",
            Err(Rejected::HostUnknown),
        ),
        ("capulet.lit", "third.lit", Err(Rejected::HostUnknown)),
        (
            "rooms.capulet.lit",
            "montague.lit",
            Err(Rejected::InvalidFrom),
        ),
        ("evil.lit", "third.lit", Err(Rejected::InvalidFrom)),
        (
            "conference.montague.lit",
            "montague.lit",
            Err(Rejected::InvalidFrom),
        ),
    ] {
        assert_eq!(admits(&both, from, to), expected, "{from} to {to}");
    }
}

#[test]
fn any_hosted_takes_a_proven_sender_to_any_domain_of_ours() {
    //= ROUTE-05
    let mut table = Authorizations::new(Role::Receiving, Flow::Unidirectional);
    table
        .prove(
            main_pair(),
            Proof::Sasl(Identity::Certificate),
            BidiPolicy::Auto,
        )
        .unwrap();
    let to = |to: &str, from: &str| {
        table
            .admits(
                &hosts(),
                |_| Strictness::AnyHosted,
                &domain(from),
                &domain(to),
            )
            .map(|local| local.to_string())
    };
    assert_eq!(
        to("conference.montague.lit", "capulet.lit").unwrap(),
        "conference.montague.lit"
    );
    assert_eq!(
        to("conference.montague.lit", "evil.lit"),
        Err(Rejected::InvalidFrom)
    );
    assert_eq!(to("third.lit", "capulet.lit"), Err(Rejected::HostUnknown));
}

#[test]
fn unsolicited_answers_grant_nothing() {
    //= DB-09
    //= DB-27
    let mut both = Authorizations::new(Role::Initiating, Flow::Bidirectional);
    assert_eq!(
        both.answer(&main_pair(), Answer::Valid, BidiPolicy::Auto),
        Err(Unsolicited)
    );
    assert_eq!(
        both.conclude(
            &main_pair(),
            Verdict::Valid,
            Assurance::Dns,
            BidiPolicy::Auto
        ),
        Err(Unsolicited)
    );
    let later = Instant::now() + Duration::from_secs(1);
    both.outbound_mut()
        .unwrap()
        .request(main_pair(), Identity::Certificate, later);
    assert_eq!(
        both.answer(&main_pair(), Answer::Valid, BidiPolicy::Auto)
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        both.answer(&main_pair(), Answer::Valid, BidiPolicy::Auto),
        Err(Unsolicited)
    );
}

#[test]
fn a_refused_request_stays_refused() {
    let mut table = Authorizations::new(Role::Initiating, Flow::Unidirectional);
    let later = Instant::now() + Duration::from_secs(1);
    table
        .outbound_mut()
        .unwrap()
        .request(main_pair(), Identity::Resolution(Assurance::Dns), later);
    assert_eq!(
        table.answer(&main_pair(), Answer::Invalid, BidiPolicy::Auto),
        Ok(Vec::new())
    );
    assert_eq!(
        table.answer(&main_pair(), Answer::Valid, BidiPolicy::Auto),
        Err(Unsolicited)
    );
    assert!(!table.permits(&main_pair()));
}

#[test]
fn a_late_answer_is_innocent_and_worth_nothing() {
    //= DB-07
    let mut table = Authorizations::new(Role::Initiating, Flow::Bidirectional);
    let now = Instant::now();
    let outbound = table.outbound_mut().unwrap();
    outbound.request(main_pair(), Identity::Resolution(Assurance::Dns), now);
    assert_eq!(outbound.expire(now), [main_pair()]);
    assert_eq!(
        table.answer(&main_pair(), Answer::Valid, BidiPolicy::Auto),
        Ok(Vec::new())
    );
    assert!(!table.permits(&main_pair()));
}

#[test]
fn inverse_grant_does_not_swallow_the_pending_verdict() {
    let mut both = Authorizations::new(Role::Initiating, Flow::Bidirectional);
    let later = Instant::now() + Duration::from_secs(1);
    both.outbound_mut()
        .unwrap()
        .request(main_pair(), Identity::Certificate, later);
    assert!(both.inbound_mut().unwrap().verify(main_pair(), later));
    assert!(
        !both.inbound_mut().unwrap().verify(main_pair(), later),
        "coalesced"
    );
    both.answer(&main_pair(), Answer::Valid, BidiPolicy::Auto)
        .unwrap();
    let concluded = both
        .conclude(
            &main_pair(),
            Verdict::Valid,
            Assurance::Dns,
            BidiPolicy::Auto,
        )
        .unwrap();
    assert_eq!(concluded.requests, 2, "the peer must get its results");
    assert_eq!(concluded.granted, []);
}

#[test]
fn a_late_bidi_opens_the_inverses_of_what_is_proven() {
    //= BIDI-13
    //= BIDI-14
    let mut table = Authorizations::new(Role::Receiving, Flow::Unidirectional);
    table
        .prove(
            main_pair(),
            Proof::Dialback(Assurance::Dns),
            BidiPolicy::Auto,
        )
        .unwrap();
    assert!(!table.permits(&main_pair()));
    let (table, granted) = table.into_both(|_| BidiPolicy::Auto);
    assert_eq!(granted.len(), 1);
    assert!(table.permits(&main_pair()));
    assert!(!table.permits(&pair("conference.montague.lit", "capulet.lit")));
}

#[test]
fn the_first_grounds_stay() {
    let mut both = Authorizations::new(Role::Receiving, Flow::Bidirectional);
    both.prove(
        main_pair(),
        Proof::Sasl(Identity::Certificate),
        BidiPolicy::Auto,
    )
    .unwrap();
    both.consent(
        main_pair(),
        Consent::Dialback,
        Identity::Resolution(Assurance::Dns),
        BidiPolicy::Auto,
    )
    .unwrap();
    let grants = both.grants();
    assert!(
        grants
            .iter()
            .any(|g| g.direction == Direction::Inbound && g.grounds.by == "sasl")
    );
    assert!(grants.iter().any(|g| g.direction == Direction::Outbound
        && g.grounds.by == "certificate"
        && g.grounds.inverse));
}

#[test]
fn a_remote_without_bidi_gets_no_inverse_whoever_the_stream_is_with() {
    //= BIDI-71
    let mut both = Authorizations::new(Role::Receiving, Flow::Bidirectional);
    let granted = both
        .prove(
            main_pair(),
            Proof::Dialback(Assurance::Dns),
            BidiPolicy::Off,
        )
        .unwrap();
    assert_eq!(granted.len(), 1);
    assert!(!both.permits(&main_pair()));
    let mut both = Authorizations::new(Role::Initiating, Flow::Bidirectional);
    let granted = both
        .consent(
            main_pair(),
            Consent::Dialback,
            Identity::Certificate,
            BidiPolicy::Off,
        )
        .unwrap();
    assert_eq!(granted.len(), 1);
    assert!(both.permits(&main_pair()));
    let mut late = Authorizations::new(Role::Receiving, Flow::Unidirectional);
    late.prove(
        main_pair(),
        Proof::Dialback(Assurance::Dns),
        BidiPolicy::Off,
    )
    .unwrap();
    let (late, granted) = late.into_both(|_| BidiPolicy::Off);
    assert_eq!(granted, Vec::new());
    assert!(!late.permits(&main_pair()));
}
