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
/// How long it is believed, while names and indexes stay as they are, which interfaces are covered.
const LISTED: Duration = Duration::from_millis(800);
/// More answers than this, and the old ones are dropped.
const KEPT: usize = 64;

static ANSWERS: LazyLock<Mutex<HashMap<(u64, u64), Answer>>> = LazyLock::new(Mutex::default);
/// Of its own: a glance waits for nobody who is changing the network, as a list does.
static VISITOR: Visitor = Visitor::new();

/// Times are those before the looks: what happened during one may or may not be in the answer.
#[derive(Clone)]
struct Answer {
    at: Instant,
    listed: Instant,
    glance: Arc<Glance>,
}

/// The interfaces of a namespace, seen at `since` or later. `None`: it is gone or cannot be entered now.
pub(super) fn glance(netns: &Netns, since: Instant) -> Option<Arc<Glance>> {
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    let last = answers.get(&netns.id()).filter(|last| last.listed >= since);
    if let Some(last) = last
        && now.duration_since(last.at) < FRESH
    {
        return Some(Arc::clone(&last.glance));
    }
    let answer = look(netns, last, now).inspect_err(
        |error| tracing::debug!(netns = netns.label, %error, "a namespace cannot be looked into"),
    );
    let answer = answer.ok()?;
    if answers.len() >= KEPT {
        answers.retain(|_, old| now.duration_since(old.listed) < LISTED);
    }
    let glance = Arc::clone(&answer.glance);
    answers.insert(netns.id(), answer);
    Some(glance)
}

/// What a list comes to.
pub(super) fn of(links: &[Link]) -> Glance {
    let seen = |Link { interface, .. }: &Link| (interface.name.clone(), (interface.index, interface.covered));
    links.iter().map(seen).collect()
}

/// Looks at the names, and lists only when those are others or the last list is old.
fn look(netns: &Netns, last: Option<&Answer>, now: Instant) -> io::Result<Answer> {
    if let Some(last) = last
        && now.duration_since(last.listed) < LISTED
    {
        let names = visit(netns, link::names)?;
        let known = last.glance.iter().map(|(name, (index, _))| (name, index));
        if names.iter().eq(known) {
            return Ok(Answer {
                at: now,
                ..last.clone()
            });
        }
    }
    let links = visit(netns, link::list)?;
    Ok(Answer {
        at: now,
        listed: now,
        glance: Arc::new(of(&links)),
    })
}

fn visit<T: Send + 'static>(netns: &Netns, look: fn() -> io::Result<T>) -> io::Result<T> {
    let looked = VISITOR
        .visit(std::slice::from_ref(netns), look)
        .map_err(io::Error::other)?;
    let one = looked.into_iter().next();
    one.unwrap_or_else(|| Ok(Err(io::ErrorKind::NotFound.into())))
        .map_err(io::Error::other)?
}
