//! The end of a device's line. The kernel waits for all CPUs before a device is gone, tens of milliseconds, so that
//! is done for all of them at the same time, and by none of the threads that carry packets.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};

use chaos_ebpf_common::abi::LineKey;

use super::super::object::Maps;
use crate::sys::bpf;

/// How long all of it may take; it ends by itself after.
const LEISURE: Duration = Duration::from_millis(500);
/// Threads that close devices at the same time.
const HANDS: usize = 32;

/// What keeps devices open until it is dropped.
pub type Open = Box<dyn Send>;

/// Devices that are being closed: their thread may still send on what is in them.
pub struct Closing {
    pub(super) keys: Vec<LineKey>,
    /// In a mutex because a receiver cannot be shared, and the data path can.
    pub(super) door: Mutex<mpsc::Receiver<Open>>,
    pub(super) link: Option<bpf::Link>,
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
        }
    }
}

/// Closes devices, once their threads have let go of them, and waits until they are gone, but not for ever.
pub fn close(closing: Vec<Closing>, maps: &mut Maps) {
    if closing.is_empty() {
        return;
    }
    let until = Instant::now() + LEISURE;
    let left = || until.saturating_duration_since(Instant::now());
    let mut doors = Vec::with_capacity(closing.len());
    for Closing { keys, door, link } in closing {
        let door = door.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Without an answer the thread itself closes it, when it comes to that.
        let door = door.recv_timeout(left()).ok();
        // Only now, or the last packets would not find back.
        for key in keys {
            if let Err(error) = maps.lines.remove(&key) {
                tracing::debug!(%error, "a line was not in its map");
            }
        }
        // In this order: a link to a device that has gone goes quickly.
        doors.push((door, link));
    }
    let (gone, wait) = mpsc::channel();
    let all = doors.len();
    let doors = Arc::new(Mutex::new(doors));
    for _ in 0..all.min(HANDS) {
        let (doors, gone) = (Arc::clone(&doors), gone.clone());
        let next = move || doors.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let hand = std::thread::Builder::new().name("chaos-close".to_owned());
        let started = hand.spawn(move || {
            while let Some((door, link)) = next() {
                drop(door);
                drop(link);
                let _ = gone.send(());
            }
        });
        if let Err(error) = started {
            tracing::debug!(%error, "no thread to close a line");
            break;
        }
    }
    drop(gone);
    for _ in 0..all {
        if wait.recv_timeout(left()).is_err() {
            tracing::debug!("the devices of lines take their time to go");
            return;
        }
    }
}
