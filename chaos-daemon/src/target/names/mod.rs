//! The addresses behind `remote.hosts`: looked up when a fault begins, kept fresh as long as it runs.

mod hosts;
mod lookup;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chaos_spec::{Hostname, WarningKind};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use self::lookup::{Answer, Resolver};
use super::TargetError;

/// How long a new fault waits for its names; after that it starts, and follows.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whom to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Servers {
    /// /etc/resolv.conf, as every program of the host.
    #[default]
    System,
    /// Another file of that form.
    File(PathBuf),
    /// These, and nobody else.
    Addresses(Vec<SocketAddr>),
}

/// The set of addresses of a watched name is another one now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamesChanged {
    pub host: Hostname,
    /// All of them, sorted, IPv4 and IPv6. **Empty** when the name has none any more: then nothing matches it.
    pub addresses: Vec<IpAddr>,
}

/// Keeps names fresh, each once, however many faults name it. Cheap to clone; lives inside a tokio runtime.
#[derive(Clone)]
pub struct NameWatcher(Arc<Shared>);

struct Shared {
    resolver: Resolver,
    changes: mpsc::Sender<NamesChanged>,
    entries: Mutex<HashMap<Hostname, Entry>>,
}

struct Entry {
    users: usize,
    task: AbortHandle,
    addresses: BTreeSet<IpAddr>,
    /// The last lookup failed, so the addresses are those of an earlier one.
    stale: bool,
    /// Whether somebody was told the addresses; from then on changes are sent.
    told: bool,
    /// Turns true when the first lookup is over, however it ended.
    looked: watch::Receiver<bool>,
}

/// Names that a fault hangs on. They are watched until this is dropped.
pub struct Watched {
    /// What is known now, sorted; every later change comes as [`NamesChanged`].
    pub addresses: BTreeMap<Hostname, Vec<IpAddr>>,
    /// [`WarningKind::UnresolvedHost`] for each name without an address.
    pub warnings: Vec<WarningKind>,
    shared: Arc<Shared>,
}

impl NameWatcher {
    /// Changes go to `changes`, one message per change of a set.
    ///
    /// # Errors
    /// [`TargetError::Resolver`] when a named file cannot be read or names no server.
    pub fn new(servers: &Servers, changes: mpsc::Sender<NamesChanged>) -> Result<Self, TargetError> {
        Ok(Self::with(Resolver::new(servers)?, changes))
    }

    fn with(resolver: Resolver, changes: mpsc::Sender<NamesChanged>) -> Self {
        Self(Arc::new(Shared {
            resolver,
            changes,
            entries: Mutex::default(),
        }))
    }

    /// Whom the daemon asks (UDP, and TCP for long answers): to be guarded, so that a fault cannot blind its own filter.
    pub fn servers(&self) -> &[SocketAddr] {
        self.0.resolver.servers()
    }

    /// Begins to watch `hosts` and waits up to 2 s for their addresses.
    pub async fn watch(&self, hosts: &[Hostname]) -> Watched {
        // Each once: leaving is counted per name, too.
        let hosts: BTreeSet<_> = hosts.iter().collect();
        let looked: Vec<_> = {
            let mut entries = self.0.entries();
            hosts
                .iter()
                .map(|&host| {
                    let entry = entries
                        .entry(host.clone())
                        .or_insert_with(|| self.begin(host.clone()));
                    entry.users += 1;
                    entry.looked.clone()
                })
                .collect()
        };
        let mut watched = Watched {
            addresses: hosts.into_iter().map(|host| (host.clone(), Vec::new())).collect(),
            warnings: Vec::new(),
            shared: Arc::clone(&self.0),
        };
        let deadline = Instant::now() + PATIENCE;
        for mut looked in looked {
            // Late or not, what is known at the end is told below.
            let _ = timeout_at(deadline, looked.wait_for(|&looked| looked)).await;
        }
        let mut entries = self.0.entries();
        for (host, addresses) in &mut watched.addresses {
            let Some(entry) = entries.get_mut(host) else {
                continue;
            };
            entry.told = true;
            addresses.extend(&entry.addresses);
            watched.warnings.extend(entry.warning(host));
        }
        drop(entries);
        watched
    }

    /// What is wrong now with the names of a running fault: without an address, or not refreshed.
    pub fn warnings<'a>(&self, hosts: impl IntoIterator<Item = &'a Hostname>) -> Vec<WarningKind> {
        let entries = self.0.entries();
        hosts
            .into_iter()
            .filter_map(|host| entries.get(host)?.warning(host))
            .collect()
    }

    /// What is known now of a watched name.
    pub fn addresses(&self, host: &Hostname) -> Option<Vec<IpAddr>> {
        self.0
            .entries()
            .get(host)
            .map(|entry| entry.addresses.iter().copied().collect())
    }

    fn begin(&self, host: Hostname) -> Entry {
        let (done, looked) = watch::channel(false);
        let task = tokio::spawn(keep_fresh(Arc::clone(&self.0), host, done));
        Entry {
            users: 0,
            task: task.abort_handle(),
            addresses: BTreeSet::new(),
            stale: false,
            told: false,
            looked,
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut entries = self.shared.entries();
        for host in self.addresses.keys() {
            let Some(entry) = entries.get_mut(host) else {
                continue;
            };
            entry.users -= 1;
            if entry.users == 0 {
                entry.task.abort();
                entries.remove(host);
            }
        }
    }
}

impl Entry {
    fn warning(&self, host: &Hostname) -> Option<WarningKind> {
        let host = host.to_string();
        match (self.addresses.is_empty(), self.stale) {
            (true, _) => Some(WarningKind::UnresolvedHost { host }),
            (false, true) => Some(WarningKind::StaleAddresses { host }),
            (false, false) => None,
        }
    }
}

impl Shared {
    fn entries(&self) -> MutexGuard<'_, HashMap<Hostname, Entry>> {
        // Nothing panics while it is held half changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores an answer; returns the change when somebody has to be told of it.
    fn store(&self, host: &Hostname, answer: &Answer) -> Option<NamesChanged> {
        let mut entries = self.entries();
        let entry = entries.get_mut(host)?;
        entry.stale = answer.failed;
        if entry.addresses == answer.addresses {
            return None;
        }
        entry.addresses.clone_from(&answer.addresses);
        entry.told.then(|| NamesChanged {
            host: host.clone(),
            addresses: answer.addresses.iter().copied().collect(),
        })
    }
}

/// Looks a name up again and again, until it is aborted or nobody listens.
async fn keep_fresh(shared: Arc<Shared>, host: Hostname, done: watch::Sender<bool>) {
    let mut answer = Answer::default();
    loop {
        answer = shared.resolver.look_up(&host, &answer).await;
        let change = shared.store(&host, &answer);
        done.send_replace(true);
        if let Some(change) = change {
            tracing::info!(%host, addresses = ?change.addresses, "a name has other addresses now");
            if shared.changes.send(change).await.is_err() {
                return;
            }
        }
        shared.resolver.wait(answer.fresh_for).await;
    }
}
