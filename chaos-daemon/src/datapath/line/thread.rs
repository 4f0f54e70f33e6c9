//! The thread of a line: reads what the hooks send, lets it wait, sends it on.

use std::{
    collections::HashMap,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, atomic::AtomicU64, mpsc},
};

use chaos_ebpf_common::{
    abi::{Hook, LINE_RULES, LineNote},
    flow::Flow,
};
use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::{eventfd::EventFd, time::TimeSpec},
};

use super::{
    BACKLOG,
    counters::add,
    frame,
    queue::{Held, Queue},
    rules::{LineRule, Rules, Subjected},
};
use crate::{
    safety::clock::{boot_ns, monotonic_ns},
    sys::{
        packet::{BATCH, Outgoing, Sender},
        tap::Tap,
    },
    target::Netns,
};

/// Frames read from one device before others have their turn.
const TURN: usize = 256;
/// Longest nap, so that a lost wake-up would not be for ever.
const NAP: u64 = 500_000_000;
/// Longest time that packets are left unread while more come.
const TOGETHER: u64 = 500_000;
/// How often packets are counted that found no room at the entrance, nanoseconds.
const COUNT: u64 = 1_000_000_000;
/// Room for the largest frame there is, with all that stands before it.
const LARGEST: usize = (1 << 16) + 4096;
/// A packet that is this late, because the daemon was stopped meanwhile, is no longer sent.
const STALE: u64 = 2_000_000_000;

/// What the thread is told.
pub enum Order {
    /// Serve this device.
    Open { ifindex: u32, tap: Tap, sender: Sender },
    /// Serve it no longer, once its packets have gone.
    Close { ifindex: u32 },
    /// Act by these rules.
    Put { rules: Vec<(u32, LineRule)> },
    /// Act by these no longer, but by `successors`, for the packets that those name; all others go on at once.
    End { slots: Vec<u32>, successors: Vec<u32> },
}

/// What reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Nothing,
    Some,
    /// And there is more.
    More,
}

/// The ways of one device.
struct Door {
    tap: Tap,
    sender: Sender,
    wire: bool,
    /// Packets that found no room at the entrance, as far as counted.
    refused: u64,
}

pub struct Worker {
    orders: mpsc::Receiver<(Order, Option<mpsc::Sender<()>>)>,
    wake: Arc<EventFd>,
    rules: Rules,
    doors: HashMap<u32, Door>,
    queue: Queue,
    /// When those were last counted that found no room at the entrance.
    counted: u64,
    /// How long packets may be left unread while more come, nanoseconds.
    together: u64,
    /// Packets that the line itself has lost.
    lost: Arc<AtomicU64>,
    buffer: Vec<u8>,
}

impl Worker {
    pub fn new(
        orders: mpsc::Receiver<(Order, Option<mpsc::Sender<()>>)>,
        wake: Arc<EventFd>,
        rules: Rules,
        lost: Arc<AtomicU64>,
    ) -> Self {
        Self {
            orders,
            wake,
            rules,
            doors: HashMap::new(),
            queue: Queue::default(),
            counted: 0,
            together: 0,
            lost,
            buffer: vec![0; LARGEST],
        }
    }

    /// Works until nobody can give orders any more.
    pub fn run(mut self, netns: &Netns) {
        if let Err(error) = netns.enter() {
            tracing::debug!(%error, "what finds no room at the entrance of a line will not be counted");
        }
        punctual();
        loop {
            if !self.obey() {
                return;
            }
            let read = self.read();
            let now = monotonic_ns();
            self.send(now);
            if now > self.counted + COUNT {
                self.counted = now;
                self.count_refused();
            }
            self.nap(read);
        }
    }

    /// Carries out what was ordered meanwhile; `false` at the end.
    fn obey(&mut self) -> bool {
        loop {
            let (order, done) = match self.orders.try_recv() {
                Ok(order) => order,
                Err(mpsc::TryRecvError::Empty) => return true,
                Err(mpsc::TryRecvError::Disconnected) => return false,
            };
            match order {
                Order::Open { ifindex, tap, sender } => {
                    let door = Door {
                        tap,
                        sender,
                        wire: true,
                        refused: 0,
                    };
                    self.doors.insert(ifindex, door);
                    self.settle();
                }
                Order::Close { ifindex } => {
                    // Nothing may stay behind in the entrance.
                    self.drain();
                    let now = monotonic_ns();
                    self.queue.hurry(now, |held| held.ifindex == ifindex);
                    self.send(now);
                    self.count_refused();
                    self.doors.remove(&ifindex);
                }
                Order::Put { rules } => {
                    for (slot, rule) in rules {
                        self.rules.put(slot, rule);
                    }
                    self.settle();
                }
                Order::End { slots, successors } => self.end(&slots, &successors),
            }
            if let Some(done) = done {
                let _ = done.send(());
            }
        }
    }

    fn end(&mut self, slots: &[u32], successors: &[u32]) {
        self.drain();
        self.count_refused();
        let rules = &self.rules;
        let now = monotonic_ns();
        self.queue.hurry(now, |held| {
            held.slots().iter().any(|slot| slots.contains(slot)) && {
                let packet = frame::headers(&held.bytes);
                let hook = if held.arriving {
                    Hook::Ingress
                } else {
                    Hook::Egress
                } as u32;
                let flow = packet
                    .as_ref()
                    .map(|packet| Flow::of(packet, hook))
                    .unwrap_or_default();
                !rules.name(successors, packet.as_ref(), &flow, held.ifindex)
            }
        });
        self.send(now);
        self.rules.end(slots, successors);
        self.settle();
    }

    /// Settles what depends on all rules: how long reading may wait, and whether devices cut super-packets, because some rule has to see wire packets.
    fn settle(&mut self) {
        self.together = (self.rules.shortest_wait() / 8).min(TOGETHER);
        let wire = self.rules.need_wire_packets();
        for (ifindex, door) in &mut self.doors {
            if door.wire == wire {
                continue;
            }
            match door.tap.set_super_packets(!wire) {
                Ok(()) => door.wire = wire,
                Err(error) => tracing::warn!(%error, ifindex, "a line cannot change its offloads"),
            }
        }
    }

    /// Reads what is there, but not for ever.
    fn drain(&mut self) {
        for _ in 0..BACKLOG as usize / TURN {
            if self.read() == Found::Nothing {
                return;
            }
        }
    }

    /// Reads a turn from every device.
    fn read(&mut self) -> Found {
        let mut found = Found::Nothing;
        let boot = boot_ns();
        let doors: Vec<u32> = self.doors.keys().copied().collect();
        for ifindex in doors {
            for turn in 1..=TURN {
                let Some(door) = self.doors.get(&ifindex) else {
                    break;
                };
                match door.tap.read(&mut self.buffer) {
                    Ok(Some(length)) => {
                        found = found.max(if turn == TURN { Found::More } else { Found::Some });
                        self.take(ifindex, length, boot);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::debug!(%error, ifindex, "the entrance of a line is gone");
                        self.doors.remove(&ifindex);
                        break;
                    }
                }
            }
        }
        found
    }

    fn take(&mut self, ifindex: u32, length: usize, boot: u64) {
        // What is not ours are the kernel's own words on a new device.
        let Some((note, mut bytes)) = frame::take_note(&self.buffer[..length]) else {
            return;
        };
        let packet = frame::headers(&bytes);
        let flow = packet
            .as_ref()
            .map(|packet| Flow::of(packet, note.hook))
            .unwrap_or_default();
        let wire = frame::wire_packets(&bytes, packet.as_ref());
        let mut subject = Subjected {
            bytes: &mut bytes,
            packet,
            flow,
            ifindex,
            wire,
            time: note.time,
            boot,
        };
        let fate = self.rules.treat(note.slots(), &mut subject);
        if fate.lost && fate.copies.is_empty() {
            return;
        }
        let arriving = note.hook == Hook::Ingress as u32;
        let flow = flow.number() ^ u64::from(arriving);
        let last = self.queue.last_of(flow).filter(|_| fate.in_order);
        let due = last.map_or(fate.due, |last| last.max(fate.due));
        let packet = (!fate.lost).then_some(bytes);
        for bytes in fate.copies.into_iter().chain(packet) {
            let held = Held {
                due,
                flow,
                ifindex,
                arriving,
                mark: note.mark,
                in_order: fate.in_order,
                slots: slots(&note),
                bytes,
            };
            if !self.queue.push(held) {
                self.lose(wire);
            }
        }
    }

    fn lose(&self, wire: u32) {
        add(&self.lost, u64::from(wire));
    }

    /// Looks at what the kernel has counted of packets that found no room at an entrance.
    fn count_refused(&mut self) {
        let Ok(text) = std::fs::read_to_string("/proc/thread-self/net/dev") else {
            return;
        };
        for door in self.doors.values_mut() {
            let refused = refused(&text, door.tap.name()).unwrap_or(door.refused);
            add(&self.lost, refused.saturating_sub(door.refused));
            door.refused = refused;
        }
    }

    /// Sends what is due.
    fn send(&mut self, now: u64) {
        let mut batch: Vec<Held> = Vec::with_capacity(BATCH);
        while let Some(held) = self.queue.pop(now) {
            if held.due + STALE < now {
                self.lose(1);
                continue;
            }
            if held.arriving {
                self.flush(&mut batch);
                let Some(door) = self.doors.get(&held.ifindex) else {
                    continue;
                };
                if let Err(error) = door.tap.write(&held.bytes) {
                    tracing::debug!(%error, ifindex = held.ifindex, "a packet could not arrive");
                    self.lose(1);
                }
                continue;
            }
            if batch.len() == BATCH || batch.first().is_some_and(|first| first.ifindex != held.ifindex) {
                self.flush(&mut batch);
            }
            batch.push(held);
        }
        self.flush(&mut batch);
    }

    /// Sends a batch out of one device.
    fn flush(&mut self, batch: &mut Vec<Held>) {
        let Some(door) = batch.first().and_then(|first| self.doors.get(&first.ifindex)) else {
            batch.clear();
            return;
        };
        let frames: Vec<Outgoing<'_>> = batch
            .iter()
            .map(|held| Outgoing {
                bytes: &held.bytes,
                mark: held.mark,
            })
            .collect();
        let mut sent = 0;
        let mut refused = 0;
        while sent < frames.len() {
            match door.sender.send(&frames[sent..]) {
                Ok(taken) => sent += taken.max(1),
                Err(error) => {
                    tracing::debug!(%error, "a packet could not leave");
                    refused += 1;
                    sent += 1;
                }
            }
        }
        drop(frames);
        self.lose(refused);
        batch.clear();
    }

    /// Sleeps until something is due, or comes. While packets keep coming that have to wait anyway, it does not get
    /// up for each: their notes say when they came, so they are in time as long as they are read before they are due.
    fn nap(&self, found: Found) {
        let busy = found != Found::Nothing;
        if found == Found::More || busy && self.together == 0 {
            return;
        }
        let now = monotonic_ns();
        let due = self.queue.next_due().unwrap_or(u64::MAX);
        let rest = due
            .saturating_sub(now)
            .min(if busy { self.together } else { NAP });
        if rest == 0 {
            return;
        }
        let wake = self.wake.as_fd();
        let mut fds: Vec<BorrowedFd<'_>> = vec![wake];
        if !busy {
            fds.extend(self.doors.values().map(|door| door.tap.as_fd()));
        }
        let mut polled: Vec<PollFd<'_>> = fds
            .into_iter()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        let limit = TimeSpec::new((rest / 1_000_000_000) as i64, (rest % 1_000_000_000) as i64);
        // Interrupted or not, the loop looks for itself.
        let _ = ppoll(&mut polled, Some(limit), None);
        if polled[0].revents().is_some_and(|events| !events.is_empty()) {
            let _ = self.wake.read();
        }
    }
}

/// The device's packets that found no room, out of `/proc/net/dev`.
fn refused(text: &str, name: &str) -> Option<u64> {
    /// Eight columns of what was received come first; of what was sent: bytes, packets, errors, drops.
    const DROPS: usize = 8 + 3;
    let (_, numbers) = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(device, _)| device.trim() == name)?;
    numbers.split_whitespace().nth(DROPS)?.parse().ok()
}

/// Wakes this thread when it asks to be woken, and before others. Both only make it later when refused.
fn punctual() {
    const URGENT: i32 = -20;
    if let Err(error) = nix::sys::prctl::set_timerslack(1) {
        tracing::debug!(%error, "the timer slack of a line's thread stays");
    }
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), URGENT) {
        tracing::debug!(%error, "the priority of a line's thread stays");
    }
}

fn slots(note: &LineNote) -> ([u32; LINE_RULES], u8) {
    (note.rules, note.slots().len() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_read_out_of_the_table_of_devices() {
        let text = "Inter-|   Receive    |  Transmit\n face |bytes packets errs drop\n    \
            lo: 0 0 0 0 0 0 0 0 1 2 3 4 5 6 7 8\nchaos-line0: 9 9 9 9 9 9 9 9 100 200 300 400 5 6 7 8\n";
        assert_eq!(refused(text, "chaos-line0"), Some(400));
        assert_eq!(refused(text, "lo"), Some(4));
        assert_eq!(refused(text, "line0"), None);
    }
}
