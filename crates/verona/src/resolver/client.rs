//! Puts single questions to the name servers, and remembers the answers.
//!
//! hickory's own resolver would do both, but keeps to itself what its validator says of each record, and follows
//! aliases in ways of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::config::{NameServerConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::dnssec::DnssecDnsHandle;
use hickory_resolver::net::xfer::{DnsHandle as _, FirstAnswer as _, RetryDnsHandle};
use hickory_resolver::proto::op::{DnsRequestOptions, Query};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};
use tokio::time::Instant;
use verona_proto::limits::{Limit, LimitCounts};

use super::anchors::TrustAnchors;
use super::guard::{Guard, Seen};
use super::judge::{Step, Worth, judge};
use super::unusable::told;
use super::{HASH_ITERATIONS_MAX, POSITIVE_TTL_SECONDS_MAX};
use crate::shared::lock;

/// Asks name servers. Cheap to clone; clones share one memory.
#[derive(Clone)]
pub(super) struct Client {
    way: Way,
    options: DnsRequestOptions,
    seen: Arc<Seen>,
    memory: Arc<Mutex<Memory>>,
    reached: LimitCounts,
}

/// How answers are taken.
#[derive(Clone)]
enum Way {
    /// As they come.
    Plain(RetryDnsHandle<NameServerPool<Guard>>),
    /// Validated.
    Validating(Box<DnssecDnsHandle<RetryDnsHandle<NameServerPool<Guard>>>>),
}

impl Client {
    pub(super) fn new(
        servers: Vec<NameServerConfig>,
        options: ResolverOpts,
        anchors: Option<&TrustAnchors>,
    ) -> Result<Self, NetError> {
        let guard = Guard::new(anchors.is_some());
        let seen = guard.seen();
        let mut request = DnsRequestOptions::default();
        request.use_edns = options.edns0;
        request.edns_payload_len = options.edns_payload_len;
        request.edns_set_dnssec_ok = anchors.is_some();
        request.recursion_desired = options.recursion_desired;
        request.case_randomization = options.case_randomization;
        let attempts = options.attempts;
        let context = Arc::new(PoolContext::new(options, TlsConfig::new()?));
        let pool = NameServerPool::from_config(servers, context, guard);
        let plain = RetryDnsHandle::new(pool, attempts);
        let way = match anchors {
            None => Way::Plain(plain),
            Some(anchors) => Way::Validating(Box::new(
                DnssecDnsHandle::with_trust_anchor(plain, anchors.keys())
                    // Between the two limits a denial would count as one of an unsigned zone, whosever it is: that of a
                    // parent would do for all its children.
                    .nsec3_iteration_limits(Some(HASH_ITERATIONS_MAX), Some(HASH_ITERATIONS_MAX))
                    .validation_cache_size(VERDICTS_MAX)
                    .positive_validation_ttl(
                        Duration::ZERO..=Duration::from_secs(POSITIVE_TTL_SECONDS_MAX.into()),
                    ),
            )),
        };
        Ok(Self {
            way,
            options: request,
            seen,
            memory: Arc::default(),
            reached: LimitCounts::default(),
        })
    }

    /// The same, counting elsewhere how often the time was over.
    pub(super) fn counting(self, reached: LimitCounts) -> Self {
        Self { reached, ..self }
    }

    /// The time for an answer is over.
    pub(super) fn late(&self) {
        self.reached.reached(Limit::DnsSeconds);
    }

    /// Whether answers are validated.
    pub(super) fn validates(&self) -> bool {
        match self.way {
            Way::Plain(_) => false,
            Way::Validating(_) => true,
        }
    }

    /// What was learned about the name servers.
    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Asks one question.
    pub(super) async fn ask(&self, name: &Name, kind: RecordType) -> Step {
        let key = (name.to_lowercase(), kind);
        if let Some(known) = lock(&self.memory).get(&key) {
            return known;
        }
        let query = Query::query(name.clone(), kind);
        let asking = async {
            match &self.way {
                Way::Plain(handle) => handle.lookup(query, self.options).first_answer().await,
                Way::Validating(handle) => handle.lookup(query, self.options).first_answer().await,
            }
        };
        let step = match told(asking).await {
            (Err(NetError::Timeout), Some(why)) => Step::Failed(why.about(name, self.validates())),
            (answer, _) => {
                // A question has its part of the time.
                if matches!(answer, Err(NetError::Timeout)) {
                    self.late();
                }
                judge(name, kind, self.validates(), answer)
            }
        };
        lock(&self.memory).put(key, &step);
        step
    }
}

/// What was answered, for as long as it holds. Failures and lies are not remembered: they are not answers.
#[derive(Debug, Default)]
struct Memory {
    answers: HashMap<Question, Remembered>,
    /// Grows with each use, so that answers have an order by it.
    uses: u64,
}

type Question = (Name, RecordType);

#[derive(Debug)]
struct Remembered {
    step: Step,
    until: Instant,
    /// At which use it was of use last.
    used: u64,
}

impl Memory {
    fn get(&mut self, key: &Question) -> Option<Step> {
        let known = self.answers.get_mut(key)?;
        self.uses += 1;
        known.used = self.uses;
        (known.until > Instant::now()).then(|| known.step.clone())
    }

    fn put(&mut self, key: Question, step: &Step) {
        let (worth, bytes) = match step {
            Step::Records(data, worth) => (worth, data.iter().map(bytes).sum()),
            Step::Alias(_, worth) | Step::Absent(worth) => (worth, 0),
            Step::Bogus | Step::Failed(_) => return,
        };
        //= DNS-10
        let Worth { lifetime, .. } = *worth;
        if lifetime.is_zero() || bytes > BYTES_MAX {
            return;
        }
        let now = Instant::now();
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.retain(|_, known| known.until > now);
        }
        if self.answers.len() >= ANSWERS_MAX {
            self.make_room();
        }
        self.uses += 1;
        let known = Remembered {
            step: step.clone(),
            until: now + lifetime,
            used: self.uses,
        };
        self.answers.insert(key, known);
    }

    /// Forgets the half that was of use least recently, of those about the site of which most is known: whoever has us
    /// ask for ten thousand names of his has his own forgotten.
    fn make_room(&mut self) {
        let mut counts: HashMap<Name, usize> = HashMap::new();
        for (name, _) in self.answers.keys() {
            *counts.entry(site(name)).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let Some((most, count)) = most else { return };
        // Where nobody has more than another all are alike.
        let is_among = |name: &Name| count == 1 || site(name) == most;
        let among = self.answers.iter().filter(|((name, _), _)| is_among(name));
        let mut used: Vec<u64> = among.map(|(_, known)| known.used).collect();
        let middle = used.len() / 2;
        let (_, middle, _) = used.select_nth_unstable(middle);
        let middle = *middle;
        self.answers
            .retain(|(name, _), known| known.used > middle || !is_among(name));
    }
}

/// The last two labels, as in [`Domain::site`](verona_proto::addr::Domain::site).
fn site(name: &Name) -> Name {
    name.trim_to(2)
}

/// About what a record takes to remember.
fn bytes(data: &RData) -> usize {
    let more = if let RData::TLSA(tlsa) = data {
        tlsa.cert_data.len()
    } else {
        0
    };
    128 + more
}

/// Answers that are remembered, of which one takes [`BYTES_MAX`] at most: 16 MiB.
const ANSWERS_MAX: usize = 4_096;
/// A larger answer is asked for again.
const BYTES_MAX: usize = 4_096;
/// Verdicts on sets of records that the validator remembers, about half a kilobyte each.
const VERDICTS_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use hickory_resolver::proto::rr::rdata::A;
    use verona_proto::grounds::Assurance;

    use super::*;

    fn key(number: usize) -> (Name, RecordType) {
        let name = Name::from_ascii(format!("h{number}.capulet.lit.")).unwrap();
        (name, RecordType::A)
    }

    fn worth(seconds: u64) -> Worth {
        Worth {
            assurance: Assurance::Dns,
            lifetime: Duration::from_secs(seconds),
        }
    }

    fn records(number: usize, worth: Worth) -> Step {
        Step::Records(vec![RData::A(A::new(192, 0, 2, 1)); number], worth)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_remembered_as_long_as_it_holds_and_a_failure_never() {
        //= DNS-10
        let mut memory = Memory::default();
        memory.put(key(0), &records(1, worth(60)));
        memory.put(key(1), &Step::Absent(worth(10)));
        memory.put(key(2), &records(1, worth(0)));
        memory.put(key(3), &Step::Bogus);
        memory.put(key(4), &Step::Failed("timed out".into()));
        memory.put(key(5), &records(33, worth(60)));
        let known = |memory: &mut Memory| -> Vec<usize> {
            (0..6).filter(|n| memory.get(&key(*n)).is_some()).collect()
        };
        assert_eq!(known(&mut memory), [0, 1]);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(known(&mut memory), [0]);
        tokio::time::advance(Duration::from_secs(50)).await;
        assert!(known(&mut memory).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_cannot_make_it_remember_without_end() {
        let mut memory = Memory::default();
        for number in 0..3 * ANSWERS_MAX {
            memory.put(key(number), &records(1, worth(60)));
            assert!(memory.answers.len() <= ANSWERS_MAX);
        }
        assert!(memory.get(&key(3 * ANSWERS_MAX - 1)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_many_names_asked_for_has_his_own_forgotten() {
        let mut memory = Memory::default();
        let of = |name: &str| (Name::from_ascii(name).unwrap(), RecordType::A);
        let kept = [
            "montague.lit.",
            "_xmpp-server._tcp.laurence.lit.",
            "a.b.laurence.lit.",
        ];
        for name in kept {
            memory.put(of(name), &records(1, worth(60)));
        }
        for number in 0..3 * ANSWERS_MAX {
            // One of them is of use again and again.
            if number > 0 {
                assert!(memory.get(&key(0)).is_some(), "{number}");
            }
            memory.put(key(number), &records(1, worth(60)));
            assert!(memory.answers.len() <= ANSWERS_MAX);
        }
        for name in kept {
            assert!(memory.get(&of(name)).is_some(), "{name}");
        }
        assert!(memory.get(&key(1)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn among_equals_the_oldest_go() {
        let mut memory = Memory::default();
        let of = |number: usize| {
            let name = Name::from_ascii(format!("h{number}.lit.")).unwrap();
            (name, RecordType::A)
        };
        for number in 0..=ANSWERS_MAX {
            memory.put(of(number), &records(1, worth(60)));
        }
        assert!(memory.get(&of(0)).is_none());
        assert!(memory.get(&of(ANSWERS_MAX - 1)).is_some());
        assert!(memory.answers.len() > ANSWERS_MAX / 3);
    }
}
