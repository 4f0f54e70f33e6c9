//! What ran on this node, in a database of its own. Listens only: no fault begins or ends differently for it.

mod store;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::mpsc;

use chaos_spec::api::{Event, EventKind, FaultView, History as Page};
use jiff::Timestamp;
use tokio::sync::oneshot;

use store::Store;

/// Messages that share one transaction.
const BATCH: usize = 1024;
/// Runs on one page.
pub const MOST: u32 = 1000;

#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("the history {path} cannot be read ({source}) – the log says what is wrong with it")]
    Read { path: PathBuf, source: rusqlite::Error },
    #[error("no history is kept: its thread could not be started, or has died – the log says why")]
    Gone,
}

/// Which runs, the newest first.
#[derive(Clone, Debug)]
pub struct Query {
    pub name: Option<String>,
    /// Started at this time or later.
    pub since: Option<Timestamp>,
    /// Started before this time.
    pub until: Option<Timestamp>,
    /// With a smaller id than this.
    pub before: Option<i64>,
    pub limit: u32,
}

/// Tells the thread. Clones tell the same one.
#[derive(Clone, Debug, Default)]
pub struct History {
    messages: Option<mpsc::Sender<Message>>,
}

#[derive(Debug)]
enum Message {
    Write(Write),
    Read(Query, oneshot::Sender<Result<Page, HistoryError>>),
    Settle(oneshot::Sender<()>),
}

#[derive(Debug)]
enum Write {
    Began { view: Box<FaultView>, by: String },
    Changed { view: Box<FaultView> },
    Ended { view: Box<FaultView> },
    Event(Event),
}

impl History {
    /// Opens the database in the state directory. One that is damaged is set aside; one that cannot be had is done
    /// without, and the log says so.
    pub fn start(state_dir: &Path) -> Self {
        let (messages, inbox) = mpsc::channel();
        let mut store = Store::new(state_dir);
        let started = std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || run(&mut store, &inbox));
        match started {
            Ok(_) => Self {
                messages: Some(messages),
            },
            Err(error) => {
                tracing::error!(%error, "no history is kept");
                Self::default()
            }
        }
    }

    pub fn began(&self, view: FaultView, by: String) {
        let view = Box::new(view);
        self.send(Message::Write(Write::Began { view, by }));
    }

    pub fn changed(&self, view: FaultView) {
        self.send(Message::Write(Write::Changed { view: Box::new(view) }));
    }

    pub fn ended(&self, view: FaultView) {
        self.send(Message::Write(Write::Ended { view: Box::new(view) }));
    }

    /// Takes down an event that is about one fault.
    pub fn event(&self, event: &Event) {
        if event.fault.is_some() && event.kind != EventKind::FaultRefused {
            self.send(Message::Write(Write::Event(event.clone())));
        }
    }

    /// One page.
    ///
    /// # Errors
    /// There is no history, or it cannot be read.
    pub async fn page(&self, query: Query) -> Result<Page, HistoryError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Read(query, reply));
        answer.await.unwrap_or(Err(HistoryError::Gone))
    }

    /// Waits until all that was told is written.
    pub async fn settle(&self) {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Settle(reply));
        // A thread that has died has nothing left to write.
        let _ = answer.await;
    }

    fn send(&self, message: Message) {
        if let Some(messages) = &self.messages {
            // A thread that has died said so when it did.
            let _ = messages.send(message);
        }
    }
}

fn run(store: &mut Store, inbox: &mpsc::Receiver<Message>) {
    // Before anything new begins: what is still open ended with the daemon before.
    store.open();
    while let Ok(first) = inbox.recv() {
        let mut writes = Vec::new();
        let more = std::iter::from_fn(|| inbox.try_recv().ok()).take(BATCH);
        let messages: Vec<_> = std::iter::once(first).chain(more).collect();
        let mut asked = Vec::new();
        for message in messages {
            match message {
                Message::Write(write) => writes.push(write),
                other => asked.push(other),
            }
        }
        store.write(writes);
        // Whoever asked may have gone away.
        for message in asked {
            match message {
                Message::Read(query, reply) => drop(reply.send(store.page(&query))),
                Message::Settle(reply) => drop(reply.send(())),
                Message::Write(_) => {}
            }
        }
    }
}
