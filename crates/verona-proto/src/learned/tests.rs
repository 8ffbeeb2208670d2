//! What is believed, for how long, and that it stays within bounds.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a test may panic and read the clock"
)]

use super::*;

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

#[test]
fn a_lesson_is_believed_until_it_expires() {
    //= BIDI-69
    let (learned, now) = (Learned::default(), Instant::now());
    let peer = domain("montague.lit");
    assert_eq!(learned.outcome(&peer, Topic::Bidi, now), None);
    learned.note(&peer, Topic::Bidi, Outcome::HangsUp, "hung up", now);
    let almost = now + Duration::from_secs(DAY - 1);
    assert_eq!(
        learned.outcome(&peer, Topic::Bidi, almost),
        Some(Outcome::HangsUp)
    );
    assert_eq!(learned.outcome(&peer, Topic::External, almost), None);
    let after = now + Duration::from_secs(DAY);
    assert_eq!(learned.outcome(&peer, Topic::Bidi, after), None);
    assert!(learned.export(after).is_empty());
}

#[test]
fn the_last_word_counts_and_repetition_is_no_news() {
    let (learned, now) = (Learned::default(), Instant::now());
    let peer = domain("montague.lit");
    learned.note(&peer, Topic::Bidi, Outcome::Works, "", now);
    let revision = learned.revision();
    learned.note(
        &peer,
        Topic::Bidi,
        Outcome::Works,
        "",
        now + Duration::from_secs(1),
    );
    assert_eq!(learned.revision(), revision);
    learned.note(
        &peer,
        Topic::Bidi,
        Outcome::HangsUp,
        "",
        now + Duration::from_secs(2),
    );
    assert!(learned.revision() > revision);
    assert_eq!(
        learned.outcome(&peer, Topic::Bidi, now),
        Some(Outcome::HangsUp)
    );
}

#[test]
fn what_is_exported_can_be_restored() {
    let (learned, now) = (Learned::default(), Instant::now());
    let peer = domain("montague.lit");
    learned.note(
        &peer,
        Topic::Requests,
        Outcome::Refused,
        "said not-acceptable",
        now,
    );
    learned.note_early_death(&peer, now);
    learned.note_failure(
        &peer,
        LastFailure {
            phase: Phase::Connect,
            cause: "refused".into(),
            since: now,
            next: Some(now),
            reached: None,
        },
        now,
    );
    let known = learned.export(now);
    let again = Learned::default();
    again.restore(known.clone(), now);
    assert_eq!(again.export(now), known);
    assert_eq!(known[0].early_deaths, 1);
    again.note_reached(&peer, now);
    assert_eq!(again.export(now)[0].failure.as_ref().unwrap().next, None);
    again.note_long_life(&peer, now);
    assert_eq!(again.export(now)[0].early_deaths, 0);
    assert_eq!(again.clear(Some(&peer)), 1);
    assert!(again.export(now).is_empty());
}

#[test]
fn those_met_least_recently_make_room() {
    let (learned, now) = (Learned::default(), Instant::now());
    for n in 0..=PEERS_MAX {
        let at = now + Duration::from_millis(u64::try_from(n).unwrap());
        learned.note(
            &domain(&format!("p{n}.lit")),
            Topic::Bidi,
            Outcome::Works,
            "",
            at,
        );
    }
    let later = now + Duration::from_secs(60);
    let kept = learned.export(later);
    assert!(
        kept.len() <= PEERS_MAX && kept.len() >= PEERS_MAX / 2,
        "{}",
        kept.len()
    );
    let knows = |name: &str| learned.outcome(&domain(name), Topic::Bidi, later).is_some();
    assert!(knows(&format!("p{PEERS_MAX}.lit")));
    assert!(!knows("p0.lit"));
}

#[test]
fn names_are_read_as_they_are_written() {
    for topic in Topic::ALL {
        assert_eq!(Topic::of_name(topic.name()), Some(topic));
    }
    for outcome in Outcome::ALL {
        assert_eq!(Outcome::of_name(outcome.name()), Some(outcome));
    }
    for phase in Phase::ALL {
        assert_eq!(Phase::of_name(phase.name()), Some(phase));
        assert!(phase.advice().len() > 20);
    }
}

#[test]
fn failures_push_no_lesson_out() {
    let (learned, now) = (Learned::default(), Instant::now());
    let peer = domain("montague.lit");
    learned.note(&peer, Topic::Bidi, Outcome::HangsUp, "hung up", now);
    for n in 0..=PEERS_MAX {
        let failure = LastFailure {
            phase: Phase::Connect,
            cause: "refused".into(),
            since: now,
            next: None,
            reached: None,
        };
        let at = now + Duration::from_millis(u64::try_from(n).unwrap());
        learned.note_failure(&domain(&format!("p{n}.lit")), failure, at);
    }
    assert_eq!(
        learned.outcome(&peer, Topic::Bidi, now),
        Some(Outcome::HangsUp)
    );
    assert!(learned.export(now).len() <= PEERS_MAX);
}

#[test]
fn what_was_proven_counts_for_thirty_days_and_the_strongest_of_it() {
    let (learned, now) = (Learned::default(), Instant::now());
    let peer = domain("montague.lit");
    assert_eq!(learned.proven(&peer, now), None);
    learned.note_proven(&peer, Strength::Dane, now);
    let later = now + Duration::from_secs(20 * 24 * 3600);
    learned.note_proven(&peer, Strength::Certificate, later);
    assert_eq!(learned.proven(&peer, later), Some(Strength::Dane));
    let after_one = now + PROVEN_LASTS;
    assert_eq!(
        learned.proven(&peer, after_one),
        Some(Strength::Certificate)
    );
    assert_eq!(learned.proven(&peer, later + PROVEN_LASTS), None);
    // A restart forgets nothing of it, and the operator everything.
    let again = Learned::default();
    again.restore(learned.export(later), later);
    assert_eq!(again.proven(&peer, later), Some(Strength::Dane));
    again.clear(Some(&peer));
    assert_eq!(again.proven(&peer, later), None);
}

#[test]
fn the_names_of_one_site_push_out_no_others() {
    let (learned, now) = (Learned::default(), Instant::now());
    let peer = domain("montague.lit");
    learned.note_proven(&peer, Strength::Certificate, now);
    for n in 0..PEERS_MAX + 10 {
        let at = now + Duration::from_millis(u64::try_from(n).unwrap());
        learned.note_proven(&domain(&format!("p{n}.evil.lit")), Strength::Dane, at);
    }
    assert_eq!(learned.proven(&peer, now), Some(Strength::Certificate));
    assert_eq!(learned.export(now).len(), PROVEN_PER_SITE_MAX + 1);
}

#[test]
fn another_key_is_noticed_once() {
    //= TLS-32
    let (learned, now) = (Learned::default(), Instant::now());
    let peer = domain("montague.lit");
    assert_eq!(learned.note_key(&peer, [1; 32], now), None);
    assert_eq!(learned.note_key(&peer, [1; 32], now), None);
    assert_eq!(learned.note_key(&peer, [2; 32], now), Some([1; 32]));
    assert_eq!(learned.note_key(&peer, [2; 32], now), None);
}

#[test]
fn whoever_has_a_zone_cannot_have_forgotten_what_others_proved() {
    let (learned, now) = (Learned::default(), Instant::now());
    let bank = domain("bank.lit");
    learned.note_proven(&bank, Strength::Dane, now);
    // Ten thousand names of one zone, each proven by dialback, with bidi.
    for number in 0..=PEERS_MAX {
        let peer = domain(&format!("x{number}.mallory.example"));
        let later = now + Duration::from_millis(number as u64 + 1);
        learned.note(&peer, Topic::Bidi, Outcome::Works, "it requested it", later);
    }
    let later = now + Duration::from_secs(60);
    assert_eq!(learned.proven(&bank, later), Some(Strength::Dane));
}

#[test]
fn a_wildcard_under_a_public_suffix_does_not_push_out_its_neighbours() {
    let (learned, now) = (Learned::default(), Instant::now());
    let bank = domain("bank.co.uk");
    learned.note_proven(&bank, Strength::Dane, now);
    for number in 0..PROVEN_PER_SITE_MAX {
        let peer = domain(&format!("x{number}.mallory.co.uk"));
        let later = now + Duration::from_millis(number as u64 + 1);
        learned.note_proven(&peer, Strength::Certificate, later);
    }
    let later = now + Duration::from_secs(60);
    assert_eq!(learned.proven(&bank, later), Some(Strength::Dane));
}

#[test]
fn names_that_differ_far_in_front_push_out_one_another() {
    let (learned, now) = (Learned::default(), Instant::now());
    let deep = "b.".repeat(60);
    // Met before all of the others, and each under an ending that has fewer.
    let spared = [
        "co.uk".to_owned(),
        "bank.co.uk".to_owned(),
        "mallory.co.uk".to_owned(),
        format!("c.{deep}mallory.co.uk"),
    ];
    for name in &spared {
        learned.note_proven(&domain(name), Strength::Certificate, now);
    }
    for number in 0..PROVEN_PER_SITE_MAX {
        let peer = domain(&format!("x{number}.a.{deep}mallory.co.uk"));
        let later = now + Duration::from_millis(number as u64 + 1);
        learned.note_proven(&peer, Strength::Certificate, later);
    }
    let later = now + Duration::from_secs(60);
    for name in &spared {
        let proven = learned.proven(&domain(name), later);
        assert_eq!(proven, Some(Strength::Certificate), "{name}");
    }
    let is_kept = |number: usize| {
        let peer = domain(&format!("x{number}.a.{deep}mallory.co.uk"));
        learned.proven(&peer, later).is_some()
    };
    // As many as the spared take, those that were met first.
    for number in 0..PROVEN_PER_SITE_MAX {
        assert_eq!(is_kept(number), number >= spared.len(), "{number}");
    }
}

#[test]
fn who_is_held_to_what_is_known_beside_the_records_too() {
    let (learned, now) = (Learned::default(), Instant::now());
    let agree = |step: &str| {
        let table = learned.lock();
        let records = table.peers.iter();
        let held: Vec<(Domain, Instant)> = records
            .filter(|(_, record)| !record.proven.is_empty())
            .map(|(domain, record)| (domain.clone(), record.touched))
            .collect();
        assert_eq!(table.proven.all(), held, "{step}");
        held.len()
    };
    let at = |n: u64| now + Duration::from_secs(n);
    // Many sites with one each, some with many, and those who proved nothing.
    for n in 0..PROVEN_MAX as u64 + 50 {
        let name = match n % 3 {
            0 => format!("p{n}.lit"),
            1 => format!("p{n}.n{}.example", n % 7),
            _ => format!("p{n}.mallory.co.uk"),
        };
        learned.note_proven(&domain(&name), Strength::Certificate, at(n));
        learned.note(
            &domain(&format!("o{n}.lit")),
            Topic::Bidi,
            Outcome::Works,
            "",
            at(n),
        );
    }
    agree("proven");
    learned.note(
        &domain("p9.lit"),
        Topic::Bidi,
        Outcome::Works,
        "",
        at(5_900),
    );
    agree("one was met again");
    learned.clear(Some(&domain("p0.lit")));
    learned.clear(Some(&domain("o0.lit")));
    agree("one forgotten");
    let known = learned.export(at(6_000));
    agree("exported");
    learned.clear(None);
    agree("all forgotten");
    learned.restore(known, at(6_000));
    assert!(agree("restored") > 2_000);
    drop(learned.export(now + PROVEN_LASTS + Duration::from_secs(3_000)));
    agree("some of it is over");
    drop(learned.export(now + PROVEN_LASTS * 2));
    assert_eq!(agree("all of it is over"), 0);
}
