//! Packets that wait for their time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use chaos_ebpf_common::abi::LINE_RULES;
use rustc_hash::FxHashMap;

/// Bytes of all packets that may wait.
const MOST_BYTES: usize = 256 << 20;
/// Packets that may wait.
const MOST_PACKETS: usize = 1 << 20;

/// So many packets within [`LITTLE`], nanoseconds, leave together: at more than 80,000 a second.
const MANY: usize = 16;
const LITTLE: u64 = 200_000;

/// A packet that waits.
#[derive(Debug)]
pub struct Held {
    /// CLOCK_MONOTONIC nanoseconds at which it goes on.
    pub due: u64,
    /// Number of its flow and direction; packets of one flow go on in their order.
    pub flow: u64,
    /// The device it was at.
    pub ifindex: u32,
    /// Whether it arrives there; else it leaves.
    pub arriving: bool,
    /// Its mark.
    pub mark: u32,
    /// Whether packets of its flow that come later have to stay behind it.
    pub in_order: bool,
    /// The rules that acted on it.
    pub slots: ([u32; LINE_RULES], u8),
    /// Virtio header and frame.
    pub bytes: Vec<u8>,
}

impl Held {
    /// Slots of the rules that acted on it.
    pub fn slots(&self) -> &[u32] {
        &self.slots.0[..usize::from(self.slots.1)]
    }

    /// The same, to change them.
    pub fn slots_mut(&mut self) -> &mut [u32] {
        &mut self.slots.0[..usize::from(self.slots.1)]
    }
}

/// Due time, number in the order of their coming, place.
type Turn = (u64, u64, usize);

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    /// Those that came in the order of their due times: all, as long as all wait as long.
    line: VecDeque<Turn>,
    /// The others.
    order: BinaryHeap<Reverse<Turn>>,
    packets: Vec<Option<Held>>,
    free: Vec<usize>,
    flows: FxHashMap<u64, Flow>,
    bytes: usize,
    count: usize,
    coming: u64,
}

#[derive(Debug, Default)]
struct Flow {
    waiting: usize,
    last: u64,
}

impl Queue {
    /// When the next packet goes on.
    pub fn next_due(&self) -> Option<u64> {
        self.next().map(|(due, ..)| due)
    }

    /// When to see to the packets whose time comes next: at that time, or a little later, when so many are to go until
    /// then that getting up for each would cost more than they do. `most` nanoseconds later at most.
    pub fn next_departure(&self, most: u64) -> Option<u64> {
        let first = self.next_due()?;
        let later = first + most.min(LITTLE);
        let many = self.line.get(MANY).is_some_and(|turn| turn.0 <= later);
        Some(if many { later } else { first })
    }

    fn next(&self) -> Option<Turn> {
        let first = self.line.front();
        let other = self.order.peek().map(|Reverse(turn)| turn);
        match (first, other) {
            (Some(first), Some(other)) => Some(*first.min(other)),
            (first, other) => first.or(other).copied(),
        }
    }

    /// When the last waiting packet of a flow goes on.
    pub fn last_of(&self, flow: u64) -> Option<u64> {
        self.flows.get(&flow).map(|flow| flow.last)
    }

    /// Whether there will soon be no room.
    pub fn is_filling(&self) -> bool {
        self.count > MOST_PACKETS / 8 * 7 || self.bytes > MOST_BYTES / 8 * 7
    }

    /// Lets a packet wait; `false` when there is no room.
    pub fn push(&mut self, held: Held) -> bool {
        if self.count >= MOST_PACKETS || self.bytes + held.bytes.len() > MOST_BYTES {
            return false;
        }
        self.bytes += held.bytes.len();
        self.count += 1;
        self.coming += 1;
        let flow = self.flows.entry(held.flow).or_default();
        flow.waiting += 1;
        if held.in_order {
            flow.last = flow.last.max(held.due);
        }
        let due = held.due;
        let place = match self.free.pop() {
            Some(place) => {
                self.packets[place] = Some(held);
                place
            }
            None => {
                self.packets.push(Some(held));
                self.packets.len() - 1
            }
        };
        let turn = (due, self.coming, place);
        if self.line.back().is_none_or(|last| *last <= turn) {
            self.line.push_back(turn);
        } else {
            self.order.push(Reverse(turn));
        }
        true
    }

    /// The next packet whose time has come.
    pub fn pop(&mut self, now: u64) -> Option<Held> {
        let turn = self.next()?;
        let (due, _, place) = turn;
        if due > now {
            return None;
        }
        if self.line.front() == Some(&turn) {
            self.line.pop_front();
        } else {
            self.order.pop();
        }
        let held = self.packets[place].take()?;
        self.free.push(place);
        self.count -= 1;
        self.bytes -= held.bytes.len();
        if let Some(flow) = self.flows.get_mut(&held.flow) {
            flow.waiting -= 1;
            if flow.waiting == 0 {
                self.flows.remove(&held.flow);
            }
        }
        Some(held)
    }

    /// Lets those packets go on at `now` of which `which` says so; the rest of the queue stays as it is.
    pub fn hurry(&mut self, now: u64, mut which: impl FnMut(&mut Held) -> bool) {
        let mut turns = Vec::from(std::mem::take(&mut self.line));
        turns.extend(self.order.drain().map(|Reverse(turn)| turn));
        for (due, _, place) in &mut turns {
            let Some(held) = self.packets[*place].as_mut() else {
                continue;
            };
            if *due > now && which(held) {
                *due = now;
                held.due = now;
                if held.in_order
                    && let Some(flow) = self.flows.get_mut(&held.flow)
                {
                    flow.last = now;
                }
            }
        }
        turns.sort_unstable();
        self.line = turns.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(due: u64, flow: u64, slot: u32) -> Held {
        let mut slots = [0; LINE_RULES];
        slots[0] = slot;
        Held {
            due,
            flow,
            ifindex: 1,
            arriving: false,
            mark: 0,
            in_order: true,
            slots: (slots, 1),
            bytes: vec![0; 100],
        }
    }

    #[test]
    fn packets_go_on_in_the_order_of_their_times_then_of_their_coming() {
        let mut queue = Queue::default();
        for (due, flow) in [(30, 1), (10, 2), (20, 3), (10, 4)] {
            assert!(queue.push(held(due, flow, 0)));
        }
        assert_eq!(queue.next_due(), Some(10));
        assert_eq!(queue.last_of(1), Some(30));
        assert!(queue.pop(9).is_none());
        let flows: Vec<u64> = std::iter::from_fn(|| queue.pop(25)).map(|h| h.flow).collect();
        assert_eq!(flows, [2, 4, 3]);
        assert_eq!(queue.count, 1);
        assert_eq!(queue.pop(30).map(|h| h.flow), Some(1));
        assert!(queue.count == 0 && queue.flows.is_empty() && queue.bytes == 0);
    }

    #[test]
    fn only_where_many_go_are_they_seen_to_together() {
        let mut queue = Queue::default();
        assert_eq!(queue.next_departure(u64::MAX), None);
        for n in 0..=MANY as u64 {
            assert_eq!(queue.next_departure(u64::MAX), queue.next_due());
            assert!(queue.push(held(1_000_000 + n * LITTLE / MANY as u64, 1, 0)));
        }
        assert_eq!(queue.next_departure(u64::MAX), Some(1_000_000 + LITTLE));
        // Not where the faults ask for times that this would be seen in.
        for most in [0, LITTLE - 1] {
            assert_eq!(queue.next_departure(most), queue.next_due());
        }
        assert!(queue.pop(1_000_000).is_some());
        assert_eq!(queue.next_departure(u64::MAX), queue.next_due());
    }

    #[test]
    fn hurried_packets_keep_their_order() {
        let mut queue = Queue::default();
        for (due, flow, slot) in [(50, 1, 7), (60, 1, 7), (70, 2, 8), (40, 3, 7)] {
            assert!(queue.push(held(due, flow, slot)));
        }
        queue.hurry(5, |held| held.slots() == [7]);
        let dues: Vec<u64> = std::iter::from_fn(|| queue.pop(5)).map(|h| h.flow).collect();
        assert_eq!(dues, [1, 1, 3]);
        assert_eq!(queue.next_due(), Some(70));
    }

    #[test]
    fn memory_is_bounded() {
        let mut queue = Queue::default();
        let large = || Held {
            bytes: vec![0; 64 << 20],
            ..held(1, 1, 0)
        };
        for _ in 0..4 {
            assert!(queue.push(large()));
        }
        assert!(queue.is_filling());
        assert!(!queue.push(large()));
        assert!(queue.pop(1).is_some());
        assert!(queue.push(large()));
    }
}
