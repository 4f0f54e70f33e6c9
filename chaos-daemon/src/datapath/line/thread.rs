//! The thread of a line: reads what the hooks send, lets it wait, sends it on.

use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use chaos_ebpf_common::{
    abi::{Hook, LINE_RULES, LineNote},
    flow::Flow,
    line::{BACKLOG, NOTE_LEN, plain_slot},
};
use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::{eventfd::EventFd, time::TimeSpec},
};
use rustc_hash::FxHashMap;

use super::{
    super::{closing::Open, lost::Lost},
    behind::Behind,
    entrance::Entrance,
    frame,
    pace::Pace,
    queue::{Held, Queue},
    rules::{Ended, LineRule, Rules, Subjected},
    train::Trains,
};
use crate::{
    safety::clock::{boot_ns, monotonic_ns},
    sys::{packet::Sender, tap::Tap},
    target::Netns,
};

/// Frames read from one device before others have their turn.
const TURN: usize = 256;
/// Packets that leave together.
const LEAVING: usize = 256;
/// Longest nap, so that a lost wake-up would not be for ever.
const NAP: u64 = 500_000_000;
/// Longest time that packets are left unread while more come.
const TOGETHER: u64 = 500_000;
/// How often packets are counted that found no room at the entrance, nanoseconds.
const COUNT: u64 = 1_000_000_000;
/// Frames read without a pause of which it can be said that the entrance was never full.
const CALM: usize = BACKLOG as usize / 2;
/// Buffers kept for packets to come, and the largest of them.
const SPARE: usize = 4096;
const SPARE_BYTES: usize = 4096;
/// Room for the largest frame there is, with all that stands before it.
const LARGEST: usize = (1 << 16) + 4096;
/// How long somebody who ends a fault, or closes a device, is kept for want of room, nanoseconds.
const MOMENT: u64 = 10_000_000;
/// A packet that is this late, because the daemon was stopped meanwhile, is no longer sent.
const STALE: u64 = 2_000_000_000;

/// What the thread is told.
pub enum Order {
    /// Serve this device.
    Open {
        ifindex: u32,
        tap: Tap,
        sender: Sender,
        entrance: Entrance,
    },
    /// Serve it no longer, and hand it back once its packets have gone.
    Close { ifindex: u32, back: mpsc::Sender<Open> },
    /// Act by these rules, soon.
    Put { rules: Vec<(u32, LineRule)> },
    /// Act by all that was put.
    Settle { done: mpsc::Sender<()> },
    /// Act by these no longer, but by their successors, for the packets that those name; all others go on at once.
    End {
        ended: Vec<Ended>,
        done: mpsc::Sender<()>,
    },
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
    ifindex: u32,
    tap: Tap,
    sender: Sender,
    entrance: Entrance,
    wire: bool,
    /// Whether what goes on may do so in trains.
    couples: bool,
    /// Packets that found no room at the entrance, as far as counted.
    refused: u64,
    /// Packets that it has had no room for yet.
    behind: Behind,
}

pub struct Worker {
    orders: mpsc::Receiver<Order>,
    wake: Arc<EventFd>,
    rules: Rules,
    doors: Vec<Door>,
    queue: Queue,
    /// Packets on their way out of one device.
    batch: Vec<Held>,
    trains: Trains,
    pace: Pace,
    /// Buffers to be used again.
    spare: Vec<Vec<u8>>,
    /// Frames read since the entrances were last found empty.
    unbroken: usize,
    /// Some entrance may have been full since the packets were counted that found no room.
    pressed: bool,
    /// When that was.
    counted: u64,
    /// How long packets may be left unread, or later than their time, while more come, nanoseconds.
    together: u64,
    /// Packets that the line itself has lost.
    lost: Lost,
    buffer: Vec<u8>,
}

impl Worker {
    pub fn new(orders: mpsc::Receiver<Order>, wake: Arc<EventFd>, rules: Rules, lost: Lost) -> Self {
        Self {
            orders,
            wake,
            rules,
            doors: Vec::new(),
            queue: Queue::default(),
            batch: Vec::with_capacity(LEAVING),
            trains: Trains::default(),
            pace: Pace::default(),
            spare: Vec::new(),
            unbroken: 0,
            pressed: false,
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
            let room = !self.queue.is_filling();
            for door in &self.doors {
                door.entrance.tell(room && door.behind.again().is_none());
            }
            if self.pressed && now > self.counted + COUNT {
                self.count_refused(now);
            }
            self.nap(read);
        }
    }

    /// Carries out what was ordered meanwhile; `false` at the end.
    fn obey(&mut self) -> bool {
        loop {
            let order = match self.orders.try_recv() {
                Ok(order) => order,
                Err(mpsc::TryRecvError::Empty) => return true,
                Err(mpsc::TryRecvError::Disconnected) => return false,
            };
            match order {
                Order::Open {
                    ifindex,
                    tap,
                    sender,
                    entrance,
                } => {
                    self.doors.push(Door {
                        ifindex,
                        tap,
                        sender,
                        entrance,
                        wire: true,
                        couples: true,
                        refused: 0,
                        behind: Behind::default(),
                    });
                    self.settle();
                }
                Order::Close { ifindex, back } => self.close(ifindex, &back),
                Order::Put { rules } => {
                    for (slot, rule) in rules {
                        self.rules.put(slot, rule);
                    }
                }
                Order::Settle { done } => {
                    self.settle();
                    let _ = done.send(());
                }
                Order::End { ended, done } => {
                    self.end(&ended);
                    let _ = done.send(());
                }
            }
        }
    }

    fn close(&mut self, ifindex: u32, back: &mpsc::Sender<Open>) {
        // Nothing may stay behind in the entrance.
        self.drain();
        let now = monotonic_ns();
        self.queue.hurry(now, |held| held.ifindex == ifindex);
        self.send_all(now);
        self.count_refused(now);
        if let Some(place) = self.doors.iter().position(|door| door.ifindex == ifindex) {
            let door = self.doors.remove(place);
            self.lost.add(door.behind.wire_packets());
            // Nobody waits for it any more: then it is closed here.
            let _ = back.send(Box::new((door.tap, door.sender, door.entrance)));
        }
    }

    fn end(&mut self, ended: &[Ended]) {
        self.drain();
        let rules = &self.rules;
        let now = monotonic_ns();
        let successors: FxHashMap<u32, &[u32]> = ended
            .iter()
            .flat_map(|ended| ended.slots.iter().map(|slot| (*slot, &*ended.successors)))
            .collect();
        self.queue.hurry(now, |held| {
            if !held.slots().iter().any(|slot| successors.contains_key(slot)) {
                return false;
            }
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
            let ifindex = held.ifindex;
            // It waits on, now for the version that came after.
            held.slots_mut().iter_mut().any(|slot| {
                let Some(after) = successors.get(slot) else {
                    return false;
                };
                let named = after
                    .iter()
                    .find(|after| rules.name(&[**after], packet.as_ref(), &flow, ifindex));
                named.map(|after| *slot = *after).is_none()
            })
        });
        self.send_all(now);
        self.count_refused(now);
        self.rules.end(ended);
        self.settle();
    }

    /// Settles what depends on all rules: how long reading may wait, and whether devices cut super-packets, because some rule has to see wire packets.
    fn settle(&mut self) {
        self.together = (self.rules.shortest_wait() / 8).min(TOGETHER);
        let wire = self.rules.need_wire_packets();
        for door in &mut self.doors {
            if door.wire == wire {
                continue;
            }
            match door.tap.set_super_packets(!wire) {
                Ok(()) => {
                    door.wire = wire;
                    door.entrance.keep_whole(!wire);
                }
                Err(error) => tracing::warn!(%error, door.ifindex, "a line cannot change its offloads"),
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
        let mut place = 0;
        while place < self.doors.len() {
            let said = self.read_one(place, boot);
            match said {
                Ok(here) => {
                    found = found.max(here);
                    place += 1;
                }
                Err(error) => {
                    let door = self.doors.remove(place);
                    tracing::debug!(%error, door.ifindex, "the entrance of a line is gone");
                }
            }
        }
        if found == Found::More {
            self.pressed |= self.unbroken > CALM;
        } else {
            self.unbroken = 0;
        }
        found
    }

    /// Reads a turn from one device.
    fn read_one(&mut self, place: usize, boot: u64) -> std::io::Result<Found> {
        for turn in 0..TURN {
            let door = &mut self.doors[place];
            let ifindex = door.ifindex;
            let Some(length) = door.tap.read(&mut self.buffer)? else {
                door.entrance.saw_all();
                self.unbroken += turn;
                return Ok(if turn == 0 { Found::Nothing } else { Found::Some });
            };
            // What is not ours are the kernel's own words on a new device.
            if let Some(note) = self.note(length) {
                self.doors[place].entrance.saw(note.ticket);
                self.take(ifindex, &note, length, boot);
            }
        }
        self.unbroken += TURN;
        Ok(Found::More)
    }

    /// What the hook says of the frame that was read.
    fn note(&self, length: usize) -> Option<LineNote> {
        self.buffer[..length]
            .get(frame::VIRTIO..)
            .and_then(LineNote::read)
    }

    fn take(&mut self, ifindex: u32, note: &LineNote, length: usize, boot: u64) {
        const FRAME: usize = frame::VIRTIO + NOTE_LEN;
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.extend_from_slice(&self.buffer[..frame::VIRTIO]);
        bytes.extend_from_slice(&self.buffer[FRAME..length]);
        frame::mend(&mut bytes, note);
        let packet = frame::headers(&bytes);
        let hook = u32::from(note.hook);
        let flow = packet
            .as_ref()
            .map(|packet| Flow::of(packet, hook))
            .unwrap_or_default();
        let wire = frame::wire_packets(&bytes, packet.as_ref());
        let mut subject = Subjected {
            bytes: &mut bytes,
            packet,
            flow,
            ifindex,
            wire,
            held_back: note.is_held_back(),
            time: note.time,
            boot,
        };
        let fate = self.rules.treat(note.slots(), &mut subject);
        let packet = if fate.lost {
            self.keep(bytes);
            None
        } else {
            Some(bytes)
        };
        if packet.is_none() && fate.copies.is_empty() {
            return;
        }
        let arriving = hook == Hook::Ingress as u32;
        let flow = flow.number() ^ u64::from(arriving);
        let last = self.queue.last_of(flow).filter(|_| fate.in_order);
        let due = last.map_or(fate.due, |last| last.max(fate.due));
        for bytes in fate.copies.into_iter().chain(packet) {
            let held = Held {
                due,
                flow,
                ifindex,
                arriving,
                mark: note.mark,
                in_order: fate.in_order,
                slots: slots(note),
                bytes,
            };
            if !self.queue.push(held) {
                self.lose(wire);
            }
        }
    }

    /// Keeps a buffer for a packet to come.
    fn keep(&mut self, mut bytes: Vec<u8>) {
        if self.spare.len() < SPARE && bytes.capacity() <= SPARE_BYTES {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    fn lose(&self, wire: u32) {
        self.lost.add(u64::from(wire));
    }

    /// Looks at what the kernel has counted of packets that found no room at an entrance, if that can have been.
    fn count_refused(&mut self, now: u64) {
        if !std::mem::take(&mut self.pressed) {
            return;
        }
        self.counted = now;
        let Ok(text) = std::fs::read_to_string("/proc/thread-self/net/dev") else {
            return;
        };
        for door in &mut self.doors {
            let refused = refused(&text, door.tap.name()).unwrap_or(door.refused);
            self.lost.add(refused.saturating_sub(door.refused));
            door.refused = refused;
        }
    }

    /// Sends what is due, and for a moment also what there is no room for at once: others come by another way next.
    fn send_all(&mut self, now: u64) {
        self.send(now);
        let until = now + MOMENT;
        while let Some(again) = self.again()
            && again < until
        {
            thread::sleep(Duration::from_nanos(again.saturating_sub(monotonic_ns())));
            self.catch_up(monotonic_ns());
        }
    }

    /// When a device is to be asked again that had no room.
    fn again(&self) -> Option<u64> {
        self.doors.iter().filter_map(|door| door.behind.again()).min()
    }

    /// Sends what there was no room for.
    fn catch_up(&mut self, now: u64) {
        let mut done = Vec::new();
        for door in &mut self.doors {
            let lost = door
                .behind
                .catch_up(&mut done, &door.sender, &mut self.trains, now);
            self.lost.add(lost);
        }
        done.into_iter().for_each(|held| self.keep(held.bytes));
    }

    /// Sends what is due.
    fn send(&mut self, now: u64) {
        self.catch_up(now);
        while let Some(held) = self.queue.pop(now) {
            if held.due + STALE < now {
                self.lost.add(frame::wire_packets_of(&held.bytes));
                self.keep(held.bytes);
                continue;
            }
            let way = |held: &Held| (held.ifindex, held.arriving);
            let elsewhere = self.batch.first().is_some_and(|first| way(first) != way(&held));
            if elsewhere || self.batch.len() == LEAVING {
                self.flush(now);
            }
            self.batch.push(held);
        }
        self.flush(now);
    }

    /// Sends the batch out of its device, or lets it arrive there.
    fn flush(&mut self, now: u64) {
        let mut batch = std::mem::take(&mut self.batch);
        let many = self.pace.count(now, batch.len());
        if let Some(first) = batch.first()
            && let Some(door) = self.doors.iter_mut().find(|door| door.ifindex == first.ifindex)
        {
            let couples = many && door.couples && door.behind.couples(now);
            let mut couple = couples;
            let (trains, behind) = (&mut self.trains, &mut door.behind);
            let lost = if first.arriving {
                trains.send(&batch, &door.tap, &mut couple)
            } else {
                behind.send(&mut batch, &door.sender, &mut couple, trains, now)
            };
            door.couples &= couple || !couples;
            self.lost.add(lost);
        }
        for held in batch.drain(..) {
            self.keep(held.bytes);
        }
        self.batch = batch;
    }

    /// Sleeps until something is due, or comes. While packets keep coming that have to wait anyway, it does not get
    /// up for each: their notes say when they came, so they are in time as long as they are read before they are due.
    fn nap(&self, found: Found) {
        let busy = found != Found::Nothing;
        if found == Found::More || busy && self.together == 0 {
            return;
        }
        let now = monotonic_ns();
        let due = self.queue.next_departure(self.together).unwrap_or(u64::MAX);
        let rest = due
            .min(self.again().unwrap_or(u64::MAX))
            .saturating_sub(now)
            .min(if busy { self.together } else { NAP });
        if rest == 0 {
            return;
        }
        let wake = self.wake.as_fd();
        let mut fds: Vec<BorrowedFd<'_>> = vec![wake];
        if !busy {
            fds.extend(self.doors.iter().map(|door| door.tap.as_fd()));
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
    (
        note.rules.map(|noted| plain_slot(noted).0),
        note.slots().len() as u8,
    )
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
