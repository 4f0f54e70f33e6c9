//! The end of the devices that lines have. The kernel waits for all CPUs before a device is gone, tens of milliseconds,
//! and what waits in a queue of the kernel has to come out first. So that is done for all of them at the same time, and
//! neither by a thread that carries packets nor by the engine's, on which other faults wait for their end.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use chaos_ebpf_common::abi::LineKey;
use tokio::sync::mpsc as nobody;

use super::object::Maps;
use crate::sys::bpf;

/// How long the threads of lines may take to let go, and how long somebody waits until devices are gone.
const LEISURE: Duration = Duration::from_millis(500);
/// Who waits for a device waits no longer than this for packets that are still in it.
const MOMENT: Duration = Duration::from_millis(200);
/// Threads that close devices at the same time.
const HANDS: usize = 32;

/// What keeps a device open until it is dropped.
pub type Open = Box<dyn Send>;

/// A device that is being closed: a thread may still send on what is in it.
pub struct Closing {
    pub keys: Vec<LineKey>,
    /// In a mutex because a receiver cannot be shared, and the data path can.
    pub door: Mutex<mpsc::Receiver<Open>>,
    pub link: Option<bpf::Link>,
    /// When the last packet is out that the kernel holds. None: it holds none.
    pub empty: Option<Instant>,
}

impl Closing {
    /// Of something that no thread of a line holds.
    pub fn of(open: Open) -> Self {
        let (back, door) = mpsc::channel();
        let _ = back.send(open);
        Self {
            keys: Vec::new(),
            door: Mutex::new(door),
            link: None,
            empty: None,
        }
    }
}

/// Devices that are about to go.
#[derive(Debug, Default)]
pub struct Leaving(Option<nobody::Receiver<Infallible>>);

impl Leaving {
    /// Waits until they are gone, but not for ever, and not for those in which packets wait for longer than a moment.
    pub async fn gone(self) {
        let Some(mut hands) = self.0 else { return };
        // The answer is that nobody is left who could say anything.
        if tokio::time::timeout(LEISURE, hands.recv()).await.is_err() {
            tracing::debug!("the devices of lines take their time to go");
        }
    }
}

/// What a hand closes.
struct Door {
    open: Option<Open>,
    link: Option<bpf::Link>,
    empty: Option<Instant>,
    /// Dropped when it is closed. None: nobody waits that long.
    told: Option<nobody::Sender<Infallible>>,
}

impl Door {
    fn close(self) {
        if let Some(empty) = self.empty {
            thread::sleep(empty.saturating_duration_since(Instant::now()));
        }
        // In this order: a link to a device that has gone goes quickly.
        drop(self.open);
        drop(self.link);
        drop(self.told);
    }
}

/// Begins to close devices, once their threads have let go of them.
pub fn close(closing: Vec<Closing>, maps: &mut Maps) -> Leaving {
    if closing.is_empty() {
        return Leaving::default();
    }
    let start = Instant::now();
    let until = start + LEISURE;
    let (told, leaving) = nobody::channel(1);
    let mut doors = Vec::with_capacity(closing.len());
    for Closing {
        keys,
        door,
        link,
        empty,
    } in closing
    {
        let door = door.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Without an answer the thread itself closes it, when it comes to that.
        let open = door
            .recv_timeout(until.saturating_duration_since(Instant::now()))
            .ok();
        // Only now, or the last packets would not find back.
        for key in keys {
            if let Err(error) = maps.lines.remove(&key) {
                tracing::debug!(%error, "a line was not in its map");
            }
        }
        let soon = empty.is_none_or(|empty| empty < start + MOMENT);
        doors.push(Door {
            open,
            link,
            empty,
            told: soon.then(|| told.clone()),
        });
    }
    drop(told);
    // The last is taken first: one in which packets wait must not keep others.
    doors.sort_by_key(|door| std::cmp::Reverse(door.empty));
    let all = doors.len();
    let doors = Arc::new(Mutex::new(doors));
    for _ in 0..all.min(HANDS) {
        let doors = Arc::clone(&doors);
        let next = move || doors.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let hand = thread::Builder::new().name("chaos-close".to_owned());
        let started = hand.spawn(move || {
            while let Some(door) = next() {
                door.close();
            }
        });
        if let Err(error) = started {
            // With no hand at all they close when this returns, and what waits in them is lost.
            tracing::debug!(%error, "no thread to close a line");
            break;
        }
    }
    Leaving(Some(leaving))
}
