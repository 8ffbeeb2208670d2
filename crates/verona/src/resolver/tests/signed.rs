//! The validating resolver against really signed zones: Knot DNS, directly and behind unbound.

use std::path::Path;

use verona_interop::signed::{self, Delegation, Realm, Recursive, Signing, Validity, Zone};
use verona_proto::dane::TlsaRecord;

use super::*;

/// The records of every zone, so that the same questions can be put to all.
const COMMON: &str = "\
_xmpp-server._tcp.full SRV 0 0 5269 xmpp
_xmpps-server._tcp.full SRV 1 0 5270 xmpp
xmpp A 192.0.2.1
xmpp AAAA 2001:db8::1
_5269._tcp.xmpp TLSA 3 1 1 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
_5270._tcp.xmpp TLSA 3 1 1 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
_5270._tcp.xmpp TLSA 3 1 1 cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc
_xmpp-server._tcp.bare SRV 0 0 5269 bare
bare A 192.0.2.2
_xmpp-server._tcp.cross SRV 0 0 5269 xmpp.plain.
_xmpp-server._tcp.partly SRV 0 0 5269 xmpp.forged.
_xmpp-server._tcp.partly SRV 1 0 5269 xmpp
_xmpp-server._tcp.half SRV 0 0 5269 half
_xmpp-server._tcp.half SRV 1 0 5269 xmpp
half A 192.0.2.3
_5269._tcp.half TLSA 3 1 1 dededededededededededededededededededededededededededededededede
_xmpp-server._tcp.alias CNAME _xmpp-server._tcp.bare
_xmpp-server._tcp.away CNAME _xmpp-server._tcp.bare.plain.
_xmpp-server._tcp.abroad CNAME _xmpp-server._tcp.bare.hashed.
_xmpp-server._tcp.cname SRV 0 0 5269 other
other CNAME bare
_5269._tcp.other TLSA 3 1 1 eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee
_xmpp-server._tcp.aliased SRV 0 0 5269 aliased
aliased A 192.0.2.8
_5269._tcp.aliased CNAME _5269._tcp.xmpp
_xmpp-server._tcp.wild SRV 0 0 5269 wild
wild A 192.0.2.5
*._tcp.wild TLSA 3 1 1 ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
_xmpp-server._tcp.any SRV 0 0 5269 some.any
*.any A 192.0.2.7
_xmpp-server._tcp.deep SRV 0 0 5269 x.deep
*.deep A 192.0.2.9
*.deep TLSA 3 1 1 2222222222222222222222222222222222222222222222222222222222222222
nosrv A 192.0.2.6
_5269._tcp.nosrv TLSA 3 1 1 1111111111111111111111111111111111111111111111111111111111111111
_xmpp-server._tcp.declined SRV 0 0 0 .
_xmpp-server._tcp.twice SRV 0 0 5269 one.twice
_xmpp-server._tcp.twice SRV 1 0 5269 two.twice
_xmpp-server._tcp.twice SRV 2 0 5269 one.twice
one.twice A 192.0.2.10
two.twice A 192.0.2.10
old DNAME new
_xmpp-server._tcp.new SRV 0 0 5269 bare
";

/// What the realm has.
pub(super) fn zones() -> Vec<Zone> {
    let zone = |name: &str, signing| Zone::new(name, signing, COMMON);
    vec![
        zone("signed.", Signing::Nsec).spoilt(&"de".repeat(32), &"ed".repeat(32)),
        zone("hashed.", Signing::Nsec3),
        zone("optout.", Signing::OptOut),
        zone("child.optout.", Signing::Nsec),
        zone("rolling.", Signing::Rollover),
        zone("costly.", Signing::Nsec3Costly),
        zone("plain.", Signing::Unsigned),
        zone("plain.signed.", Signing::Unsigned),
        zone("plain.hashed.", Signing::Unsigned),
        zone("plain.optout.", Signing::Unsigned),
        zone("alien.", Signing::Nsec).delegated(Delegation::UnknownAlgorithm),
        zone("forged.", Signing::Nsec).delegated(Delegation::WrongKey),
        zone("stripped.", Signing::Unsigned).delegated(Delegation::WrongKey),
        zone("expired.", Signing::Nsec).valid(Validity::Past),
        zone("early.", Signing::Nsec).valid(Validity::Future),
    ]
}

/// Whether the name servers are installed, as they must be in CI.
#[allow(clippy::print_stderr, reason = "whoever runs the tests should know")]
pub(super) fn has_programs() -> bool {
    let missing = signed::missing();
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(missing.is_empty() || !is_ci, "missing: {missing:?}");
    if !missing.is_empty() {
        eprintln!("not run: {} missing", missing.join(", "));
    }
    missing.is_empty()
}

/// The realm, and the three ways to ask it.
struct World {
    realm: Realm,
    passing: Recursive,
    validating: Recursive,
    _dir: tempfile::TempDir,
}

impl World {
    /// `None` where its programs are missing and need not be there.
    fn start() -> Option<Self> {
        if !has_programs() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let realm = Realm::start(dir.path(), &zones()).unwrap();
        Some(Self {
            passing: realm.resolver(dir.path(), false).unwrap(),
            validating: realm.resolver(dir.path(), true).unwrap(),
            realm,
            _dir: dir,
        })
    }

    /// Each way to ask, by name, as a fresh resolver.
    fn ways(&self) -> [(&'static str, Resolver); 3] {
        [
            ("knotd", self.realm.address),
            ("unbound that passes on", self.passing.address),
            ("unbound that validates", self.validating.address),
        ]
        .map(|(way, address)| (way, validating(address, &self.realm.anchors)))
    }
}

pub(super) fn validating(address: SocketAddr, anchors: &Path) -> Resolver {
    let anchors = TrustAnchors::parse(&std::fs::read_to_string(anchors).unwrap()).unwrap();
    Resolver::validating(&[address], Duration::from_secs(10), &anchors).unwrap()
}

/// The start of a record's data.
fn short(record: &TlsaRecord) -> String {
    format!("{:02x}", record.data[0])
}

/// What is found, in few words; for what is not found the reason.
pub(super) async fn find(resolver: &Resolver, domain: &str) -> String {
    match resolver
        .discover(&Domain::parse(domain).unwrap(), true)
        .await
    {
        Ok(targets) => targets
            .iter()
            .map(|target| {
                let mut tlsa: Vec<String> = target.tlsa.records().iter().map(short).collect();
                tlsa.sort();
                format!(
                    "{} {} {} [{}]",
                    target.address,
                    target.host,
                    target.assurance.name(),
                    tlsa.join(", ")
                )
            })
            .collect::<Vec<_>>()
            .join("; "),
        Err(error) => format!("{:?}: {error}", error.kind),
    }
}

/// What is to be found in a zone whose records are worth `worth`; `{Z}` is its name.
const FOUND: &[(&str, &str)] = &[
    (
        "full",
        "[2001:db8::1]:5269 xmpp.{Z} {W} [aa]; 192.0.2.1:5269 xmpp.{Z} {W} [aa]; [2001:db8::1]:5270 xmpp.{Z} {W} [bb, cc]; \
         192.0.2.1:5270 xmpp.{Z} {W} [bb, cc]",
    ),
    ("bare", "192.0.2.2:5269 bare.{Z} {W} []"),
    // There are TLSA records, but the address is not proven.
    (
        "cross",
        "[2001:db8::1]:5269 xmpp.plain dns []; 192.0.2.1:5269 xmpp.plain dns []",
    ),
    // The address of the first server is forged.
    (
        "partly",
        "[2001:db8::1]:5269 xmpp.{Z} {W} [aa]; 192.0.2.1:5269 xmpp.{Z} {W} [aa]",
    ),
    ("alias", "192.0.2.2:5269 bare.{Z} {W} []"),
    ("away", "192.0.2.2:5269 bare.plain dns []"),
    ("abroad", "192.0.2.2:5269 bare.hashed {W} []"),
    ("cname", "192.0.2.2:5269 other.{Z} {W} [ee]"),
    ("aliased", "192.0.2.8:5269 aliased.{Z} {W} [aa]"),
    ("wild", "192.0.2.5:5269 wild.{Z} {W} [ff]"),
    ("any", "192.0.2.7:5269 some.any.{Z} {W} []"),
    ("deep", "192.0.2.9:5269 x.deep.{Z} {W} [22]"),
    ("nosrv", "192.0.2.6:5269 nosrv.{Z} {W} [11]"),
    (
        "declined",
        "NotFound: its DNS says that it has no XMPP server (the SRV record names \".\")",
    ),
    ("old", "192.0.2.2:5269 bare.{Z} {W} []"),
    ("nobody", "NotFound: DNS has no address for nobody.{Z}"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_is_proven_and_what_is_not_is_found_as_ever() {
    //= DNS-12
    //= DNS-13
    //= DNS-14
    //= DNS-15
    //= DNS-28
    let Some(world) = World::start() else { return };
    for (way, resolver) in world.ways() {
        for (zone, worth) in [
            ("signed", "dnssec"),
            ("hashed", "dnssec"),
            ("optout", "dnssec"),
            ("child.optout", "dnssec"),
            ("rolling", "dnssec"),
            ("plain", "dns"),
            ("plain.signed", "dns"),
            ("plain.hashed", "dns"),
            ("plain.optout", "dns"),
            ("alien", "dns"),
        ] {
            for (name, expected) in FOUND {
                let expected = expected.replace("{Z}", zone).replace("{W}", worth);
                let expected = match worth {
                    "dnssec" => expected,
                    _ => without_records(&expected),
                };
                // Twice, because the second answer comes from memory.
                for _ in 0..2 {
                    let found = find(&resolver, &format!("{name}.{zone}")).await;
                    assert_eq!(found, expected, "{name}.{zone} by {way}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_two_names_is_one_server_that_may_show_either() {
    //= DNS-16
    let Some(world) = World::start() else { return };
    for (way, resolver) in world.ways() {
        for (zone, names) in [
            ("signed", &["one.twice.signed", "two.twice.signed"][..]),
            ("plain", &["one.twice.plain"]),
        ] {
            let domain = Domain::parse(&format!("twice.{zone}")).unwrap();
            let found = resolver.discover(&domain, true).await.unwrap();
            assert_eq!(found.len(), 1, "{way}: {found:?}");
            assert_eq!(found[0].names().collect::<Vec<_>>(), names, "{way}");
        }
    }
}

/// The same without TLSA records.
fn without_records(found: &str) -> String {
    found
        .split("; ")
        .map(|target| match target.split_once(" dns [") {
            Some((start, _)) => format!("{start} dns []"),
            None => target.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("; ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_is_badly_signed_is_refused_and_nothing_is_tried_in_its_place() {
    //= DNS-13
    let Some(world) = World::start() else { return };
    for (way, resolver) in world.ways() {
        for zone in ["forged", "stripped", "expired", "early"] {
            for (name, _) in FOUND {
                let found = find(&resolver, &format!("{name}.{zone}")).await;
                let expected = if way.ends_with("validates") {
                    "Server Failure (so does a server that validates"
                } else {
                    "DNSSEC disproves what DNS answered for _xmpp"
                };
                assert!(found.starts_with("Temporary: "), "{name}.{zone}: {found}");
                assert!(found.contains(expected), "{name}.{zone} by {way}: {found}");
            }
        }
        // Without validation nobody notices.
        let plain = Resolver::new(&[world.passing.address], Duration::from_secs(5)).unwrap();
        assert_eq!(
            find(&plain, "bare.forged").await,
            "192.0.2.2:5269 bare.forged dns []"
        );
        assert_eq!(
            find(&plain, "bare.signed").await,
            "192.0.2.2:5269 bare.signed dns []"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_tlsa_records_are_forged_is_passed_over() {
    //= DNS-15
    let Some(world) = World::start() else { return };
    for (way, resolver) in world.ways() {
        assert_eq!(
            find(&resolver, "half.signed").await,
            "[2001:db8::1]:5269 xmpp.signed dnssec [aa]; 192.0.2.1:5269 xmpp.signed dnssec [aa]",
            "{way}"
        );
        assert!(
            find(&resolver, "half.hashed")
                .await
                .starts_with("192.0.2.3:5269 half.hashed dnssec [de]")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_costly_to_prove_is_not_proven() {
    let Some(world) = World::start() else { return };
    for (way, resolver) in world.ways() {
        // Where nothing is denied it does not matter.
        let found = find(&resolver, "full.costly").await;
        assert!(
            found.starts_with("[2001:db8::1]:5269 xmpp.costly dnssec [aa]"),
            "{way}: {found}"
        );
        for domain in ["aliased.costly", "nosrv.costly", "nobody.costly"] {
            let found = find(&resolver, domain).await;
            assert!(
                found.starts_with("Temporary: DNSSEC disproves"),
                "{domain} by {way}: {found}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_domain_publishes_of_its_certificates_is_collected() {
    //= DNS-16
    //= DNS-19
    let Some(world) = World::start() else { return };
    for (way, resolver) in world.ways() {
        for (domain, tlsa, hosts) in [
            ("full.signed", "aa bb cc", "xmpp.signed"),
            ("bare.signed", "", ""),
            ("cross.signed", "", "xmpp.plain"),
            ("nosrv.signed", "11", ""),
            ("away.signed", "", ""),
            ("full.plain", "", ""),
            ("nosrv.plain", "", ""),
        ] {
            let found = resolver
                .certificates_of(&Domain::parse(domain).unwrap())
                .await
                .unwrap();
            let told = format!("{domain} by {way}: {found:?}");
            let found_tlsa: Vec<_> = found.tlsa.iter().map(short).collect();
            assert_eq!(found_tlsa.join(" "), tlsa, "{told}");
            assert_eq!(found.hosts.join(" "), hosts, "{told}");
            assert_eq!(found.doubt, None, "{told}");
        }
        // One of two servers cannot be judged: what is known of the other is told with that.
        for domain in ["half.signed", "partly.signed"] {
            let found = resolver
                .certificates_of(&Domain::parse(domain).unwrap())
                .await
                .unwrap();
            assert_eq!(found.tlsa.iter().map(short).collect::<Vec<_>>(), ["aa"]);
            assert!(found.doubt.is_some(), "{domain} by {way}: {found:?}");
        }
        for (domain, kind) in [
            ("full.forged", DiscoveryErrorKind::Temporary),
            ("declined.signed", DiscoveryErrorKind::NotFound),
        ] {
            let error = resolver
                .certificates_of(&Domain::parse(domain).unwrap())
                .await
                .unwrap_err();
            assert_eq!(error.kind, kind, "{domain} by {way}: {error}");
        }
    }
    // Without validation nothing is proven, so nothing is asked.
    let nowhere = Resolver::new(&["127.0.0.1:9".parse().unwrap()], Duration::from_secs(1)).unwrap();
    let found = nowhere
        .certificates_of(&Domain::parse("full.signed").unwrap())
        .await
        .unwrap();
    assert_eq!((found.tlsa, found.hosts), (Vec::new(), Vec::new()));
}
