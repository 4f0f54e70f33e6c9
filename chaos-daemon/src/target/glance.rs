//! A cheap look at which interfaces a namespace has, whose answers serve all targets of the same namespace for a moment:
//! with a fault in each of hundreds of namespaces, looked after five times a second, that is the difference between
//! nothing and a busy CPU.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::link::{self, Link};
use super::netns::Netns;
use super::visitor::Visitor;

/// All interfaces by name: their indexes, and whether they are covered. What changes when one comes, goes, is made anew
/// under its old name, or becomes part of another.
pub(super) type Glance = BTreeMap<String, (u32, bool)>;

/// How long an answer serves others.
const FRESH: Duration = Duration::from_millis(150);
/// More answers than this, and the old ones are dropped.
const KEPT: usize = 64;

static ANSWERS: LazyLock<Mutex<Answers>> = LazyLock::new(Mutex::default);
/// Of its own: a glance waits for nobody who is changing the network, as a list does.
static VISITOR: Visitor = Visitor::new();

type Answers = HashMap<(u64, u64), (Instant, Arc<Glance>)>;

/// The interfaces of a namespace, seen at `since` or later. `None`: it is gone or cannot be entered now.
pub(super) fn glance(netns: &Netns, since: Instant) -> Option<Arc<Glance>> {
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    if let Some((at, answer)) = answers.get(&netns.id())
        && *at >= since
        && now.duration_since(*at) < FRESH
    {
        return Some(Arc::clone(answer));
    }
    let answer = look(netns).inspect_err(
        |error| tracing::debug!(netns = netns.label, %error, "a namespace cannot be looked into"),
    );
    let answer = Arc::new(answer.ok()?);
    if answers.len() >= KEPT {
        answers.retain(|_, (at, _)| now.duration_since(*at) < FRESH);
    }
    // The time before the look: what happened during it may or may not be in the answer.
    answers.insert(netns.id(), (now, Arc::clone(&answer)));
    Some(answer)
}

/// What a list comes to.
pub(super) fn of(links: &[Link]) -> Glance {
    let seen = |Link { interface, .. }: &Link| (interface.name.clone(), (interface.index, interface.covered));
    links.iter().map(seen).collect()
}

fn look(netns: &Netns) -> io::Result<Glance> {
    let looked = VISITOR
        .visit(std::slice::from_ref(netns), || Ok(of(&link::list()?)))
        .map_err(io::Error::other)?;
    let one = looked.into_iter().next();
    one.unwrap_or_else(|| Ok(Err(io::ErrorKind::NotFound.into())))
        .map_err(io::Error::other)?
}
