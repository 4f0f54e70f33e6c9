//! Packets that are behind their time because their device has no room for them: the backlog of the CPU that receives behind
//! a veth is full, or the device's own queue. A socket of the host would be told, and try again later; so does the line.

use std::collections::VecDeque;

use super::{
    frame,
    queue::Held,
    train::{Exit, Trains},
};

/// How long after a device had no room it is asked again, nanoseconds.
const AGAIN: u64 = 100_000;
/// How long a packet may be behind. Of the time between two trials no more counts than [`TRIAL`]: a daemon that did not run,
/// because it or the machine was stopped, did not try.
const PATIENCE: u64 = 100_000_000;
const TRIAL: u64 = 1_000_000;
/// How long after a device had no room it gets no trains, of which nobody would know how much of one went, nanoseconds.
const APART: u64 = 1_000_000_000;
/// Packets that may be behind, and their bytes.
const MOST: usize = 16_384;
const MOST_BYTES: usize = 32 << 20;
/// Packets that are tried together.
const TOGETHER: usize = 256;

/// Those of one device, in their order, each with what [`Behind::tried`] was when it came.
#[derive(Debug, Default)]
pub struct Behind {
    packets: VecDeque<(u64, Held)>,
    bytes: usize,
    again: u64,
    /// For how long it has tried since its beginning, nanoseconds.
    tried: u64,
    /// Up to when that was counted.
    counted: u64,
    /// Until when packets go one by one.
    apart: u64,
}

impl Behind {
    /// When the device is to be asked again, CLOCK_MONOTONIC nanoseconds; `None` when nothing is behind.
    pub fn again(&self) -> Option<u64> {
        (!self.packets.is_empty()).then_some(self.again)
    }

    /// How many wire packets are behind.
    pub fn wire_packets(&self) -> u64 {
        let each = self.packets.iter();
        each.map(|(_, held)| frame::wire_packets_of(&held.bytes)).sum()
    }

    /// Whether what goes on now may do so in trains.
    pub fn couples(&self, now: u64) -> bool {
        now >= self.apart
    }

    /// Sends packets whose time has come, or has them stand behind those that are here already. Says how many
    /// wire packets were lost; those that are behind now are no longer in `batch`.
    pub fn send(
        &mut self,
        batch: &mut Vec<Held>,
        exit: &impl Exit,
        couple: &mut bool,
        trains: &mut Trains,
        now: u64,
    ) -> u64 {
        let waits = !self.packets.is_empty();
        let mut lost = 0;
        if !waits {
            lost = self.send_now(batch, exit, couple, trains, now);
            if !trains.any_refused() {
                return lost;
            }
            self.again = now + AGAIN;
            self.counted = now;
        }
        for (at, held) in std::mem::take(batch).into_iter().enumerate() {
            if !waits && !trains.refused(at) {
                batch.push(held);
            } else if self.packets.len() < MOST && self.bytes + held.bytes.len() <= MOST_BYTES {
                self.bytes += held.bytes.len();
                self.packets.push_back((self.tried, held));
            } else {
                lost += frame::wire_packets_of(&held.bytes);
            }
        }
        lost
    }

    /// Tries those again that are behind, if it is time for that, and says how many wire packets were lost. Those that went,
    /// or never will, are in `done`. Not in trains.
    pub fn catch_up(&mut self, done: &mut Vec<Held>, exit: &impl Exit, trains: &mut Trains, now: u64) -> u64 {
        let mut lost = 0;
        while self.again().is_some_and(|again| again <= now) {
            self.tried += now.saturating_sub(self.counted).min(TRIAL);
            self.counted = now;
            let together = self.packets.len().min(TOGETHER);
            let (since, batch): (Vec<u64>, Vec<Held>) = self.packets.drain(..together).unzip();
            lost += self.send_now(&batch, exit, &mut false, trains, now);
            let mut left = Vec::new();
            for (at, (since, held)) in since.into_iter().zip(batch).enumerate() {
                let refused = trains.refused(at);
                if refused && self.tried - since <= PATIENCE {
                    left.push((since, held));
                } else {
                    if refused {
                        lost += frame::wire_packets_of(&held.bytes);
                    }
                    self.bytes -= held.bytes.len();
                    done.push(held);
                }
            }
            for first in left.into_iter().rev() {
                self.packets.push_front(first);
            }
            if trains.any_refused() {
                self.again = now + AGAIN;
            }
        }
        lost
    }

    /// Sends what it can, and notes when a train found no room.
    fn send_now(
        &mut self,
        batch: &[Held],
        exit: &impl Exit,
        couple: &mut bool,
        trains: &mut Trains,
        now: u64,
    ) -> u64 {
        let lost = trains.send(batch, exit, couple);
        if trains.crowded() {
            self.apart = now + APART;
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        io,
    };

    use chaos_ebpf_common::abi::LINE_RULES;

    use super::*;
    use crate::{datapath::line::frame::VIRTIO, sys::packet::Outgoing};

    /// A device with room for so many more.
    #[derive(Default)]
    struct Device {
        room: Cell<usize>,
        out: RefCell<Vec<u8>>,
    }

    impl Exit for Device {
        fn send(&self, frames: &[Outgoing<'_>]) -> io::Result<usize> {
            let taken = self.room.get().min(frames.len());
            if taken == 0 {
                return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
            }
            self.room.set(self.room.get() - taken);
            let numbers = frames[..taken].iter().map(|frame| frame.pieces[0][VIRTIO]);
            self.out.borrow_mut().extend(numbers);
            Ok(taken)
        }
    }

    fn packets(numbers: std::ops::Range<u8>, length: usize) -> Vec<Held> {
        let held = |number| {
            let mut bytes = vec![0; VIRTIO + length];
            bytes[VIRTIO] = number;
            Held {
                due: 0,
                flow: u64::from(number % 3),
                ifindex: 1,
                arriving: false,
                mark: 0,
                in_order: true,
                slots: ([0; LINE_RULES], 0),
                bytes,
            }
        };
        numbers.map(held).collect()
    }

    /// What a device and the packets behind it come to.
    #[derive(Default)]
    struct Line {
        behind: Behind,
        trains: Trains,
        device: Device,
    }

    impl Line {
        fn send(&mut self, mut batch: Vec<Held>, now: u64) -> u64 {
            self.behind
                .send(&mut batch, &self.device, &mut true, &mut self.trains, now)
        }

        fn catch_up(&mut self, now: u64) -> (u64, usize) {
            let mut done = Vec::new();
            let lost = self
                .behind
                .catch_up(&mut done, &self.device, &mut self.trains, now);
            (lost, done.len())
        }
    }

    #[test]
    fn what_finds_no_room_goes_later_and_in_order() {
        let mut line = Line::default();
        line.device.room.set(4);
        assert_eq!(line.send(packets(0..10, 50), 1), 0);
        assert_eq!(
            (line.behind.packets.len(), line.behind.again()),
            (6, Some(1 + AGAIN))
        );
        line.device.room.set(100);
        // There is room again, but these may not overtake.
        assert_eq!(line.send(packets(10..12, 50), 2), 0);
        assert_eq!(line.catch_up(AGAIN), (0, 0), "too early");
        line.device.room.set(3);
        assert_eq!(line.catch_up(1 + AGAIN), (0, 3));
        assert_eq!(line.behind.again(), Some(1 + 2 * AGAIN));
        line.device.room.set(100);
        assert_eq!(line.catch_up(1 + 2 * AGAIN), (0, 5));
        assert_eq!((line.behind.packets.len(), line.behind.bytes), (0, 0));
        assert_eq!(line.behind.again(), None);
        assert_eq!(line.send(packets(12..13, 50), 3), 0);
        // It had no room a moment ago.
        let last = 1 + AGAIN;
        assert!(!line.behind.couples(last + APART - 1) && line.behind.couples(last + APART));
        assert!(line.device.out.borrow().iter().copied().eq(0..13));
    }

    #[test]
    fn a_device_that_never_has_room_loses_them_after_a_while_and_only_so_many_wait() {
        let mut line = Line::default();
        assert_eq!(line.send(packets(0..5, 50), 0), 0);
        let mut now = 0;
        let mut tries = |line: &mut Line, for_nanos: u64| {
            let (until, mut sum) = (now + for_nanos, (0, 0));
            while now < until {
                now += TRIAL;
                let (lost, done) = line.catch_up(now);
                sum = (sum.0 + lost, sum.1 + done);
            }
            sum
        };
        assert_eq!(tries(&mut line, PATIENCE), (0, 0));
        assert_eq!(line.send(packets(5..6, 50), PATIENCE), 0);
        assert_eq!(tries(&mut line, TRIAL), (5, 5));
        assert_eq!(line.behind.packets.len(), 1);
        let large = MOST_BYTES / 4;
        assert_eq!(line.send(packets(0..5, large), PATIENCE + TRIAL), 2);
        assert_eq!(tries(&mut line, 2 * PATIENCE), (4, 4));
        assert_eq!((line.behind.packets.len(), line.behind.bytes), (0, 0));
    }

    #[test]
    fn time_at_which_nobody_tries_does_not_count() {
        let mut line = Line::default();
        assert_eq!(line.send(packets(0..2, 50), 0), 0);
        assert_eq!(line.catch_up(50 * PATIENCE), (0, 0));
        line.device.room.set(2);
        assert_eq!(line.catch_up(100 * PATIENCE), (0, 2));
        // Nor does the time at which there was nothing to try.
        line.device.room.set(0);
        assert_eq!(line.send(packets(2..3, 50), 200 * PATIENCE), 0);
        assert_eq!(line.catch_up(200 * PATIENCE + AGAIN), (0, 0));
        assert_eq!(
            (line.behind.tried, line.behind.packets.len()),
            (2 * TRIAL + AGAIN, 1)
        );
    }
}
