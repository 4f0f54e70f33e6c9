//! A cheap look at which interfaces a namespace has: one thread that steps in and out, and answers that serve all
//! targets of the same namespace for a moment.
//!
//! A fresh thread per look would cost several times as much; with a fault in each of hundreds of namespaces, looked
//! after five times a second, that is the difference between nothing and a busy CPU.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::link;
use super::netns::{Netns, move_thread};

/// Names and indexes of all interfaces.
pub(super) type Glance = BTreeMap<String, u32>;

/// How long an answer serves others.
const FRESH: Duration = Duration::from_millis(150);
/// More answers than this, and the old ones are dropped.
const KEPT: usize = 64;

static VISITOR: LazyLock<Mutex<Visitor>> = LazyLock::new(Mutex::default);

type Job = (Netns, mpsc::Sender<io::Result<Glance>>);

#[derive(Default)]
struct Visitor {
    thread: Option<mpsc::Sender<Job>>,
    answers: HashMap<(u64, u64), (Instant, Arc<Glance>)>,
}

/// The interfaces of a namespace, seen at `since` or later. `None`: it is gone or cannot be entered now.
pub(super) fn glance(netns: &Netns, since: Instant) -> Option<Arc<Glance>> {
    let mut visitor = VISITOR.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    if let Some((at, answer)) = visitor.answers.get(&netns.id())
        && *at >= since
        && now.duration_since(*at) < FRESH
    {
        return Some(Arc::clone(answer));
    }
    let answer = visitor.visit(netns).inspect_err(
        |error| tracing::debug!(netns = netns.label, %error, "a namespace cannot be looked into"),
    );
    let answer = Arc::new(answer.ok()?);
    if visitor.answers.len() >= KEPT {
        visitor
            .answers
            .retain(|_, (at, _)| now.duration_since(*at) < FRESH);
    }
    // The time before the look: what happened during it may or may not be in the answer.
    visitor.answers.insert(netns.id(), (now, Arc::clone(&answer)));
    Some(answer)
}

impl Visitor {
    fn visit(&mut self, netns: &Netns) -> io::Result<Glance> {
        // The thread ends when it cannot come back to its own namespace; then another one takes over.
        for _ in 0..2 {
            let thread = match &self.thread {
                Some(thread) => thread,
                None => self.thread.insert(start()?),
            };
            let (reply, answer) = mpsc::channel();
            if thread.send((netns.clone(), reply)).is_ok()
                && let Ok(answer) = answer.recv()
            {
                return answer;
            }
            self.thread = None;
        }
        Err(io::Error::other("the thread that visits namespaces cannot run"))
    }
}

fn start() -> io::Result<mpsc::Sender<Job>> {
    let (sender, jobs) = mpsc::channel::<Job>();
    let work = move || {
        let own = Netns::own().and_then(|own| own.open());
        let Ok(own) = own else {
            return;
        };
        for (netns, reply) in jobs {
            let answer = netns
                .enter()
                .map_err(io::Error::other)
                .and_then(|()| link::glance());
            // Back before the answer: nobody who has it finds the namespace still in use.
            let back = move_thread(own.as_fd());
            // The caller waits; if it does not, nobody misses the answer.
            let _ = reply.send(answer);
            if back.is_err() {
                return;
            }
        }
    };
    thread::Builder::new()
        .name("netns-visitor".to_owned())
        .spawn(work)?;
    Ok(sender)
}
