//! The event stream: numbered, with a memory, so that a reader who was away can catch up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use chaos_spec::api::{Event, EventKind};
use chaos_spec::diagnostic::cut;
use jiff::Timestamp;
use tokio::sync::broadcast;

use super::{Audit, History};

/// Events that a reader who comes back can still have.
pub const MEMORY: usize = 1024;
/// Characters of a message: it may quote what a caller wrote, and many messages are kept.
const LONGEST: usize = 4000;
/// Events that a connected reader may lag behind; past that it is told that it missed some.
const LAG: usize = 4096;

/// Clone it freely: all clones are the same stream.
#[derive(Clone, Debug)]
pub struct EventBus {
    state: Arc<Mutex<State>>,
    audit: Audit,
    history: History,
}

#[derive(Debug)]
struct State {
    next: u64,
    memory: VecDeque<Event>,
    sender: broadcast::Sender<Event>,
}

impl Default for EventBus {
    fn default() -> Self {
        Self::new(Audit::default(), History::default())
    }
}

impl EventBus {
    /// A stream whose events are taken down as well.
    pub fn new(audit: Audit, history: History) -> Self {
        let (sender, _) = broadcast::channel(LAG);
        let state = State {
            next: 1,
            memory: VecDeque::with_capacity(MEMORY),
            sender,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            audit,
            history,
        }
    }

    /// Numbers the event, remembers it and tells every reader.
    pub fn publish(&self, kind: EventKind, fault: Option<&str>, message: impl Into<String>) -> Event {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let event = Event {
            seq: state.next,
            time: Timestamp::now(),
            kind,
            fault: fault.map(str::to_owned),
            message: cut(message, LONGEST),
        };
        state.next += 1;
        if state.memory.len() == MEMORY {
            state.memory.pop_front();
        }
        state.memory.push_back(event.clone());
        self.audit.event(&event);
        self.history.event(&event);
        // No reader is not an error.
        let _ = state.sender.send(event.clone());
        event
    }

    /// What is remembered after `last`, and everything from now on, without a gap between the two. Without `last`:
    /// only what is to come. A `last` from the future (of a previous daemon) gives all that is remembered.
    pub fn subscribe(&self, last: Option<u64>) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = match last {
            None => Vec::new(),
            Some(last) if last >= state.next => state.memory.iter().cloned().collect(),
            Some(last) => state
                .memory
                .iter()
                .filter(|event| event.seq > last)
                .cloned()
                .collect(),
        };
        (missed, state.sender.subscribe())
    }

    /// How many readers are connected.
    pub fn readers(&self) -> usize {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .sender
            .receiver_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_who_comes_back_gets_what_it_missed() {
        let bus = EventBus::default();
        for name in ["a", "b", "c"] {
            bus.publish(EventKind::FaultActive, Some(name), "");
        }
        let (missed, mut live) = bus.subscribe(Some(1));
        assert_eq!(missed.iter().map(|event| event.seq).collect::<Vec<_>>(), [2, 3]);
        bus.publish(EventKind::FaultEnded, Some("a"), "over");
        assert_eq!(live.try_recv().unwrap().seq, 4);
        assert!(bus.subscribe(None).0.is_empty());
        assert_eq!(bus.subscribe(Some(900)).0.len(), 4);
    }

    #[test]
    fn the_memory_is_bounded() {
        let bus = EventBus::default();
        for _ in 0..MEMORY + 10 {
            bus.publish(EventKind::Warning, None, "");
        }
        let (missed, _) = bus.subscribe(Some(0));
        assert_eq!(missed.len(), MEMORY);
        assert_eq!(missed[0].seq, 11);
    }
}
