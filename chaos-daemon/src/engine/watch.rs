//! Looks after the targets of active faults: a thread of its own, because looking at a namespace or a cgroup may
//! take longer than the engine may be away.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use chaos_spec::Target;

use super::command::Command;
use super::kernel::Resolve;
use crate::target::{Liveness, Resolved};

/// Between two looks at all targets, when looking is quick.
const PERIOD: Duration = Duration::from_millis(200);
/// Looking takes at most one part in so many of this thread's time.
const SHARE: u32 = 5;

/// Names a target: equal targets share one key, and are looked at once.
pub(super) type TargetKey = Arc<str>;

/// The key of a target.
pub(super) fn key(target: &Target) -> TargetKey {
    // A target is plain data and always becomes JSON; the display form would do as well, but is not as exact.
    serde_json::to_string(target)
        .unwrap_or_else(|_| target.to_string())
        .into()
}

enum Message {
    Follow {
        key: TargetKey,
        target: Target,
        resolved: Arc<Resolved>,
    },
    Forget {
        key: TargetKey,
    },
    Look,
}

/// Tells the thread what to look at. It ends when this is dropped.
pub(super) struct Watch {
    messages: mpsc::Sender<Message>,
}

impl Watch {
    pub(super) fn start(resolve: Arc<dyn Resolve>, engine: mpsc::Sender<Command>) -> std::io::Result<Self> {
        let (messages, inbox) = mpsc::channel();
        let mut watcher = Watcher {
            resolve,
            engine,
            followed: HashMap::new(),
        };
        std::thread::Builder::new()
            .name("target-watch".to_owned())
            .spawn(move || watcher.run(&inbox))?;
        Ok(Self { messages })
    }

    /// Reports from now on how `target` differs from `resolved`.
    pub(super) fn follow(&self, key: &TargetKey, target: &Target, resolved: &Arc<Resolved>) {
        self.send(Message::Follow {
            key: Arc::clone(key),
            target: target.clone(),
            resolved: Arc::clone(resolved),
        });
    }

    pub(super) fn forget(&self, key: &TargetKey) {
        self.send(Message::Forget { key: Arc::clone(key) });
    }

    /// Something has happened: look now.
    pub(super) fn look(&self) {
        self.send(Message::Look);
    }

    fn send(&self, message: Message) {
        if self.messages.send(message).is_err() {
            tracing::error!(
                "the target watch has died: faults whose target goes away run on to their deadline"
            );
        }
    }
}

struct Watcher {
    resolve: Arc<dyn Resolve>,
    engine: mpsc::Sender<Command>,
    followed: HashMap<TargetKey, (Target, Arc<Resolved>)>,
}

impl Watcher {
    fn run(&mut self, inbox: &mpsc::Receiver<Message>) {
        let mut next = Instant::now() + PERIOD;
        loop {
            let message = if self.followed.is_empty() {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                inbox.recv_timeout(next.saturating_duration_since(Instant::now()))
            };
            match message {
                Ok(Message::Follow {
                    key,
                    target,
                    resolved,
                }) => {
                    self.followed.insert(key, (target, resolved));
                }
                Ok(Message::Forget { key }) => {
                    self.followed.remove(&key);
                }
                Ok(Message::Look) => next = Instant::now(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = Instant::now();
            if now >= next {
                self.look();
                next = Instant::now() + PERIOD.max(now.elapsed() * SHARE);
            }
        }
    }

    fn look(&mut self) {
        let (resolve, engine) = (&self.resolve, &self.engine);
        self.followed.retain(|key, (target, resolved)| {
            let (command, keep) = match resolve.still_there(target, resolved) {
                Liveness::Alive => return true,
                Liveness::Gone(why) => (
                    Command::Gone {
                        key: Arc::clone(key),
                        why,
                    },
                    false,
                ),
                Liveness::Changed(now) => {
                    *resolved = Arc::new(now);
                    (
                        Command::Moved {
                            key: Arc::clone(key),
                            resolved: Arc::clone(resolved),
                        },
                        true,
                    )
                }
            };
            // The engine is gone: so is everything to look after.
            engine.send(command).is_ok() && keep
        });
    }
}
