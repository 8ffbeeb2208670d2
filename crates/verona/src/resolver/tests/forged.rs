//! Whoever stands between us and the name server, and has signed zones of his own: what he tries, and that nothing
//! comes of it. Each of these deceives a validator that believes a proven record without asking whose it is.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hickory_resolver::proto::dnssec::crypto::EcdsaSigningKey;
use hickory_resolver::proto::dnssec::rdata::{DNSSECRData, NSEC, RRSIG, SigInput};
use hickory_resolver::proto::dnssec::{Algorithm, SigningKey as _, TBS};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::rdata::TLSA;
use hickory_resolver::proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use hickory_resolver::proto::rr::{DNSClass, SerialNumber};
use verona_interop::signed::{Realm, Signing, Zone};

use super::signed::{find, has_programs, validating, zones};
use super::*;

/// The realm with a zone of the attacker's in it, and another that only he serves: `signed.` with his own key.
struct World {
    realm: Realm,
    his: Realm,
    dir: tempfile::TempDir,
}

impl World {
    fn start() -> Option<Arc<Self>> {
        if !has_programs() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("his");
        std::fs::create_dir(&elsewhere).unwrap();
        let records = format!(
            "_xmpp-server._tcp.full SRV 0 0 5269 xmpp\nxmpp A 203.0.113.66\n_5269._tcp.xmpp TLSA 3 1 1 {}\n",
            "66".repeat(32)
        );
        let his =
            Realm::start(&elsewhere, &[Zone::new("signed.", Signing::Nsec, &records)]).unwrap();
        let (_, digest) = his
            .digests
            .iter()
            .find(|(zone, _)| zone == "signed.")
            .unwrap();
        // His zone may hold any digest that he likes, that of his key for another zone too.
        let digest: Vec<&str> = digest.split_whitespace().skip(4).collect();
        let records = format!("x NS ns\nx DS {}\n", digest.join(" "));
        let mut zones = zones();
        zones.push(Zone::new("evil.", Signing::Nsec, &records));
        Some(Arc::new(Self {
            realm: Realm::start(dir.path(), &zones).unwrap(),
            his,
            dir,
        }))
    }

    /// A resolver that gets what `tamper` makes of each honest answer.
    async fn between(
        self: &Arc<Self>,
        tamper: impl Fn(&World, &Query, &mut Message) + Clone + Send + Sync + 'static,
    ) -> Resolver {
        let world = Arc::clone(self);
        let address = serve(move |query| {
            let question = query.queries.first()?.clone();
            let mut message = exchange(world.realm.address, query);
            tamper(&world, &question, &mut message);
            Some(message)
        })
        .await;
        validating(address, &self.realm.anchors)
    }

    /// What the realm truly says.
    fn truth(&self, name: &str, kind: RecordType) -> Message {
        exchange(self.realm.address, &question(name, kind))
    }

    /// The SOA of a zone that is not signed.
    fn unsigned_soa(&self) -> Record {
        let truth = self.truth("plain.", RecordType::SOA);
        truth.answers.first().unwrap().clone()
    }

    /// An NSEC record of the attacker's zone, signed with its true key, that denies everything from there to the end.
    fn his_denial(&self) -> Vec<Record> {
        let (key, tag) = key(self.dir.path(), "evil.");
        let owner = name("evil.");
        let data = NSEC::new(
            name("zzz."),
            [RecordType::NSEC, RecordType::RRSIG, RecordType::SOA],
        );
        let nsec = Record::from_rdata(owner.clone(), 60, RData::DNSSEC(DNSSECRData::NSEC(data)));
        let input = SigInput {
            type_covered: RecordType::NSEC,
            algorithm: Algorithm::ECDSAP256SHA256,
            num_labels: 1,
            original_ttl: 60,
            sig_expiration: SerialNumber::new(2_100_000_000),
            sig_inception: SerialNumber::new(1_600_000_000),
            key_tag: tag,
            signer_name: owner.clone(),
        };
        let text = TBS::from_input(&owner, DNSClass::IN, &input, [&nsec].into_iter()).unwrap();
        let signature = RRSIG::from_sig(input, key.sign(&text).unwrap());
        let signature = Record::from_rdata(owner, 60, RData::DNSSEC(DNSSECRData::RRSIG(signature)));
        vec![nsec, signature]
    }
}

/// Says that there is nothing, with `proof` of it.
fn deny(message: &mut Message, code: ResponseCode, proof: Vec<Record>) {
    message.metadata.response_code = code;
    message.answers.clear();
    message.authorities = proof;
}

fn question(of: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(name(of), kind));
    message.edns.get_or_insert_default().enable_dnssec();
    message
}

/// By TCP, which truncates nothing.
fn exchange(server: SocketAddr, query: &Message) -> Message {
    let mut stream = TcpStream::connect(server).unwrap();
    let bytes = query.to_vec().unwrap();
    stream
        .write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes())
        .unwrap();
    stream.write_all(&bytes).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer).unwrap();
    Message::from_vec(&answer).unwrap()
}

/// The key that ldns made for a zone, and its tag.
fn key(dir: &Path, zone: &str) -> (EcdsaSigningKey, u16) {
    let start = format!("K{zone}+013+");
    let stem = std::fs::read_dir(dir)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .find_map(|file| {
            let tag = file.strip_prefix(&start)?.strip_suffix(".private")?;
            Some(tag.to_owned())
        })
        .unwrap();
    let read =
        |end: &str| std::fs::read_to_string(dir.join(format!("{start}{stem}{end}"))).unwrap();
    let (private, public) = (read(".private"), read(".key"));
    let private = private
        .lines()
        .find_map(|line| line.strip_prefix("PrivateKey: "))
        .unwrap();
    let public = public
        .split_whitespace()
        .skip_while(|word| *word != "13")
        .nth(1)
        .unwrap();
    // PKCS #8 around an EC key on P-256.
    let mut der = vec![
        0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d,
        0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x6d, 0x30,
        0x6b, 0x02, 0x01, 0x01, 0x04, 0x20,
    ];
    der.extend(STANDARD.decode(private.trim()).unwrap());
    der.extend([0xa1, 0x44, 0x03, 0x42, 0x00, 0x04]);
    der.extend(STANDARD.decode(public).unwrap());
    let key = EcdsaSigningKey::from_pkcs8(&der.into(), Algorithm::ECDSAP256SHA256).unwrap();
    (key, stem.parse().unwrap())
}

/// What is found when all goes well.
const HONEST: &str = "192.0.2.8:5269 aliased.signed dnssec [aa]";

fn is(question: &Query, of: &str, kind: RecordType) -> bool {
    question.query_type() == kind && question.name == name(of)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absence_is_proven_by_the_zone_itself() {
    //= DNS-13
    //= DNS-15
    let Some(world) = World::start() else { return };
    let honest = world.between(|_, _, _| {}).await;
    assert_eq!(find(&honest, "aliased.signed").await, HONEST);
    type Proof = fn(&World) -> Vec<Record>;
    let proofs: [(&str, Proof); 5] = [
        ("nothing at all", |_| Vec::new()),
        ("the SOA of an unsigned zone", |world| {
            vec![world.unsigned_soa()]
        }),
        ("another's NSEC", World::his_denial),
        ("another's NSEC with the unsigned SOA", |world| {
            let mut proof = world.his_denial();
            proof.push(world.unsigned_soa());
            proof
        }),
        // Its NSEC at the delegation covers all that is below.
        ("the parent's own NSEC", |world| {
            world.truth("signee.", RecordType::A).authorities
        }),
    ];
    for (told, proof) in proofs {
        for code in [ResponseCode::NoError, ResponseCode::NXDomain] {
            // Without the TLSA record any certificate would do.
            let resolver = world
                .between(move |world, question, message| {
                    if is(question, "_5269._tcp.aliased.signed.", RecordType::TLSA) {
                        deny(message, code, proof(world));
                    }
                })
                .await;
            let found = find(&resolver, "aliased.signed").await;
            assert!(
                found.starts_with("Temporary: DNSSEC disproves"),
                "TLSA denied by {told} ({code}): {found}"
            );
            // Without the SRV record the address of the domain would be dialled.
            let resolver = world
                .between(move |world, question, message| {
                    if is(
                        question,
                        "_xmpp-server._tcp.aliased.signed.",
                        RecordType::SRV,
                    ) {
                        deny(message, code, proof(world));
                    }
                })
                .await;
            let found = find(&resolver, "aliased.signed").await;
            assert!(
                found.starts_with("Temporary: DNSSEC disproves"),
                "SRV denied by {told} ({code}): {found}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_is_not_denied_by_leaving_out_where_the_zone_begins() {
    let Some(world) = World::start() else { return };
    let resolver = world
        .between(|world, question, message| {
            if is(question, "_5269._tcp.x.deep.signed.", RecordType::TLSA) {
                // The wildcard's own NSEC covers the name, and the wildcard below its parent.
                let proof = world
                    .truth("_5269._tcp.x.deep.signed.", RecordType::TXT)
                    .authorities
                    .into_iter()
                    .filter(|record| record.name == name("*.deep.signed."))
                    .collect();
                deny(message, ResponseCode::NXDomain, proof);
            }
        })
        .await;
    let found = find(&resolver, "deep.signed").await;
    assert!(found.starts_with("Temporary: DNSSEC disproves"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_counts_for_its_own_zone_alone() {
    let Some(world) = World::start() else { return };
    // The whole of `signed.` comes from the attacker, signed by a key that only his own zone vouches for.
    let resolver = world
        .between(|world, question, message| {
            if !name("signed.").zone_of(&question.name) {
                return;
            }
            let id = message.metadata.id;
            if question.query_type() == RecordType::DS && question.name == name("signed.") {
                message.answers = world.truth("x.evil.", RecordType::DS).answers;
                message.authorities = vec![world.unsigned_soa()];
            } else {
                let mut asked = Message::query();
                asked.add_query(question.clone());
                asked.edns.get_or_insert_default().enable_dnssec();
                *message = exchange(world.his.address, &asked);
                message.metadata.id = id;
            }
        })
        .await;
    let found = find(&resolver, "full.signed").await;
    assert!(found.starts_with("Temporary: DNSSEC disproves"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_leaves_room_for_unsigned_zones_leaves_none_inside_a_signed_child() {
    let Some(world) = World::start() else { return };
    const VICTIM: &str = "_5269._tcp.aliased.child.optout.";
    let resolver = world
        .between(|world, question, message| {
            if question.name != name(VICTIM) {
                return;
            }
            let kind = question.query_type();
            if kind == RecordType::TLSA {
                let data = TLSA::new(
                    CertUsage::DaneEe,
                    Selector::Spki,
                    Matching::Sha256,
                    vec![0x66; 32],
                );
                deny(message, ResponseCode::NoError, Vec::new());
                message.add_answer(Record::from_rdata(name(VICTIM), 60, RData::TLSA(data)));
            } else if kind == RecordType::NS {
                // As if a zone of its own began there …
                deny(message, ResponseCode::NoError, Vec::new());
                let server = RData::NS(NS(name("ns.evil.")));
                message.add_answer(Record::from_rdata(name(VICTIM), 60, server));
            } else if kind == RecordType::DS {
                // … of which the grandparent has no digest: some hash of its covers any name.
                let mut proof = Vec::new();
                for n in 0..200 {
                    proof.extend(
                        world
                            .truth(&format!("n{n}.optout."), RecordType::DS)
                            .authorities,
                    );
                }
                let mut kept: Vec<Record> = Vec::new();
                for record in proof {
                    if !kept
                        .iter()
                        .any(|known| known.name == record.name && known.data == record.data)
                    {
                        kept.push(record);
                    }
                }
                deny(message, ResponseCode::NoError, kept);
            }
        })
        .await;
    let found = find(&resolver, "aliased.child.optout").await;
    assert!(found.starts_with("Temporary: DNSSEC disproves"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_and_an_address_are_proven_too() {
    //= DNS-14
    let Some(world) = World::start() else { return };
    for kind in [RecordType::SRV, RecordType::A, RecordType::TLSA] {
        let resolver = world
            .between(move |_, question, message| {
                if question.query_type() == kind && name("signed.").zone_of(&question.name) {
                    deny(message, ResponseCode::NoError, Vec::new());
                    let alias = RData::CNAME(CNAME(name("bare.plain.")));
                    message.add_answer(Record::from_rdata(question.name.clone(), 60, alias));
                }
            })
            .await;
        let found = find(&resolver, "aliased.signed").await;
        assert!(
            found.starts_with("Temporary: DNSSEC disproves"),
            "{kind}: {found}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_without_dnssec_is_told_apart_from_forgery() {
    //= DNS-13
    let Some(world) = World::start() else { return };
    let resolver = world
        .between(|_, _, message| {
            for records in [
                &mut message.answers,
                &mut message.authorities,
                &mut message.additionals,
            ] {
                records.retain(|record| !record.record_type().is_dnssec());
            }
        })
        .await;
    for domain in ["full.signed", "full.plain"] {
        let found = find(&resolver, domain).await;
        assert!(
            found.ends_with("the DNS server in use does not pass on DNSSEC"),
            "{found}"
        );
    }
    // It is told in the log once.
    assert!(!resolver.client.seen().tell());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_of_tlsa_records_that_fails_is_not_their_absence() {
    //= DNS-15
    let Some(world) = World::start() else { return };
    let fails = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let failing = Arc::clone(&fails);
    let resolver = world
        .between(move |_, question, message| {
            let fails = failing.load(std::sync::atomic::Ordering::SeqCst);
            if question.query_type() == RecordType::TLSA && fails {
                deny(message, ResponseCode::ServFail, Vec::new());
            }
        })
        .await;
    let found = find(&resolver, "aliased.signed").await;
    assert!(
        found.starts_with("Temporary: DNS answered for _5269"),
        "{found}"
    );
    // Nothing of that is remembered.
    fails.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(find(&resolver, "aliased.signed").await, HONEST);
}
