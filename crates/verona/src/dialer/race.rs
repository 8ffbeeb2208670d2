//! Several servers, and a connection to the first that answers (Happy Eyeballs, RFC 8305 §5).
//!
//! In the order that DNS wants: the next one is dialled a quarter of a second after the last, or as soon as one has
//! failed, so that a dead server or a dead address family costs a moment and not the whole time of a connection. XEP-0495
//! would have all servers of one priority fail before any of the next is dialled; here those wait for their turn and no
//! longer, for a site that is down would otherwise cost ten seconds.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::time::{Duration, Instant, sleep_until};
use verona_proto::discovery::Target;
use verona_proto::federation::Unreached;
use verona_proto::stream::Fault;

/// What the race ended with.
#[derive(Debug)]
pub(super) struct Won<T> {
    /// The connection.
    pub(super) connection: T,
    /// Where it leads.
    pub(super) target: Target,
    pub(super) failed: Vec<Unreached>,
    /// What had neither failed nor answered, or was not dialled, in order.
    pub(super) left: Vec<Target>,
}

/// Why one connection did not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) text: String,
    pub(super) fault: Fault,
}

/// Dials `targets` in their order until the first connection stands; the others are dropped then, before a byte was
/// written to them. What has not answered by `until` has failed, and nothing more is dialled.
pub(super) async fn race<T, F>(
    targets: Vec<Target>,
    until: Instant,
    connect: impl Fn(&Target) -> F,
) -> Result<Won<T>, Vec<Unreached>>
where
    F: Future<Output = Result<T, Failed>>,
{
    let mut next_at = Instant::now();
    let mut waiting: VecDeque<Target> = targets.into();
    let mut under_way: Vec<(Target, Pin<Box<F>>)> = Vec::new();
    let mut failed = Vec::new();
    loop {
        //= DNS-07
        while under_way.len() < AT_ONCE_MAX
            && (under_way.is_empty() || next_at <= Instant::now())
            && let Some(target) = waiting.pop_front()
        {
            let connecting = Box::pin(connect(&target));
            under_way.push((target, connecting));
            next_at = Instant::now() + DELAY;
        }
        if under_way.is_empty() {
            return Err(failed);
        }
        let more = !waiting.is_empty() && under_way.len() < AT_ONCE_MAX;
        tokio::select! {
            biased;
            (target, result) = first(&mut under_way) => match result {
                Ok(connection) => {
                    let left = under_way.into_iter().map(|(target, _)| target);
                    return Ok(Won {
                        connection,
                        target,
                        failed,
                        left: left.chain(waiting).collect(),
                    });
                }
                Err(Failed { text, fault }) => {
                    failed.push(Unreached { target, text, fault });
                    next_at = Instant::now();
                }
            },
            () = sleep_until(until) => {
                failed.extend(under_way.into_iter().map(|(target, _)| late(target)));
                return Err(failed);
            }
            () = sleep_until(next_at), if more => {}
        }
    }
}

/// The first to end, or of several the one that was dialled first.
async fn first<F: Future>(under_way: &mut Vec<(Target, Pin<Box<F>>)>) -> (Target, F::Output) {
    poll_fn(|context| {
        for (index, (_, connecting)) in under_way.iter_mut().enumerate() {
            if let Poll::Ready(result) = connecting.as_mut().poll(context) {
                let (target, _) = under_way.remove(index);
                return Poll::Ready((target, result));
            }
        }
        Poll::Pending
    })
    .await
}

fn late(target: Target) -> Unreached {
    let text = format!(
        "no connection to {} in the time that there was for all servers together",
        target.address
    );
    Unreached {
        target,
        text,
        fault: Fault::Peer,
    }
}

/// The Connection Attempt Delay that RFC 8305 §8 recommends.
const DELAY: Duration = Duration::from_millis(250);
/// Sockets of one attempt: all addresses of one server, and no more, for hundreds of attempts may be under way.
const AT_ONCE_MAX: usize = verona_proto::discovery::ADDRESSES_PER_SERVER_MAX;

#[cfg(test)]
mod tests;
