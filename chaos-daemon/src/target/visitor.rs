//! A thread that steps into namespaces and out again, for short looks that somebody waits for: a fresh thread for each
//! look would cost several times as much.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use super::TargetError;
use super::netns::{Netns, move_thread};

/// Looks, and says how to answer. That comes after the way back: nobody who has an answer finds the namespace still in
/// use.
type Job = Box<dyn FnOnce() -> Answer + Send>;
type Answer = Box<dyn FnOnce()>;

/// What a look into one namespace came to.
pub(super) type Looked<T> = Result<io::Result<T>, TargetError>;

/// For lists that a request waits for. Watchers have a visitor of their own, so that nobody stands behind them.
pub(super) static LISTS: Visitor = Visitor::new();

/// Its thread, which the first look starts.
pub(super) struct Visitor(Mutex<Option<mpsc::Sender<Job>>>);

impl Visitor {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Looks into each of these in turn. The calling thread waits, and stays where it is.
    ///
    /// # Errors
    /// No thread can run. For one namespace: it is gone, or cannot be entered.
    pub(super) fn visit<T: Send + 'static>(
        &self,
        namespaces: &[Netns],
        look: fn() -> io::Result<T>,
    ) -> Result<Vec<Looked<T>>, TargetError> {
        let cannot = |source| TargetError::io("run the thread that visits namespaces", source);
        // The thread ends when it cannot come back to its own namespace; then another one takes over.
        for _ in 0..2 {
            let (reply, answer) = mpsc::channel();
            let namespaces = namespaces.to_vec();
            let job: Job = Box::new(move || {
                let into = |netns: &Netns| netns.enter().map(|()| look());
                let looked: Vec<Looked<T>> = namespaces.iter().map(into).collect();
                // The caller waits; if it does not, nobody misses the answer.
                Box::new(move || drop(reply.send(looked)))
            });
            if self.thread().map_err(cannot)?.send(job).is_ok()
                && let Ok(looked) = answer.recv()
            {
                return Ok(looked);
            }
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Err(cannot(io::Error::other("it ended twice")))
    }

    fn thread(&self) -> io::Result<mpsc::Sender<Job>> {
        let mut thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*thread {
            Some(running) => Ok(running.clone()),
            None => Ok(thread.insert(start()?).clone()),
        }
    }
}

fn start() -> io::Result<mpsc::Sender<Job>> {
    let (sender, jobs) = mpsc::channel::<Job>();
    let work = move || {
        let Ok(own) = Netns::own().and_then(|own| own.open()) else {
            return;
        };
        for job in jobs {
            let answer = job();
            let back = move_thread(own.as_fd());
            answer();
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
