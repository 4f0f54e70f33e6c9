//! Trains: datagrams of one flow that go on at the same time are given to the kernel as one super-packet, which it, or the
//! device, cuts into the very same datagrams (UDP segmentation offload, as a sender with `UDP_SEGMENT` uses it). Most of
//! what a packet costs is paid once for each that is handed over.

use std::io::{self, IoSlice};

use chaos_ebpf_common::{
    abi::protocol,
    csum::Sum,
    frame::{Fragment, Packet},
};
use rustc_hash::FxHashMap;

use super::{
    frame::{self, VIRTIO},
    queue::Held,
};
use crate::sys::{
    packet::{Outgoing, Sender},
    tap::Tap,
};

/// Most datagrams of a train; kernels before 6.9 cut no more (`UDP_MAX_SEGMENTS`).
const CARS: u32 = 64;
/// Most bytes of a train behind its Ethernet header.
const LONGEST: usize = 65_535;
/// Room for the headers of a datagram, with two VLAN tags.
const HEAD: usize = VIRTIO + 14 + 8 + IPV6 + UDP;
const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP: usize = 8;
/// "More fragments" and the offset of one; "do not fragment" alone may be set.
const DO_NOT_FRAGMENT: u8 = 0x40;

/// Where packets go on to.
pub trait Exit {
    /// Sends some of these frames and says how many were taken; fewer when one was refused.
    ///
    /// # Errors
    /// The first was refused.
    fn send(&self, frames: &[Outgoing<'_>]) -> io::Result<usize>;
}

impl Exit for Sender {
    fn send(&self, frames: &[Outgoing<'_>]) -> io::Result<usize> {
        Self::send(self, frames)
    }
}

/// What goes on there arrives.
impl Exit for Tap {
    fn send(&self, frames: &[Outgoing<'_>]) -> io::Result<usize> {
        let Some(first) = frames.first() else { return Ok(0) };
        // Whatever the reason, it does not wait for room.
        self.write(first.pieces).map_err(io::Error::other)?;
        Ok(1)
    }
}

/// What is known of a datagram that can be part of a train.
#[derive(Clone, Copy, Debug)]
struct Shape {
    v4: bool,
    l3: usize,
    l4: usize,
    /// Its payload.
    size: usize,
}

/// Packets that are handed over together: a train, or one alone.
#[derive(Debug)]
struct Train {
    first: usize,
    last: usize,
    count: u32,
    /// Payload of all.
    payload: usize,
    /// Of the first; `None` when nothing can follow it.
    shape: Option<Shape>,
}

/// Makes trains, again and again in the same memory.
#[derive(Debug, Default)]
pub struct Trains {
    trains: Vec<Train>,
    /// For each packet, the next of its train.
    next: Vec<usize>,
    /// The last train of each flow.
    of_flow: FxHashMap<u64, usize>,
    /// For each packet, its train.
    of_packet: Vec<usize>,
    /// The first train that was not sent, because there was no room for it or for the one before it.
    refused: usize,
    /// Whether there was no room for some train.
    crowded: bool,
}

impl Trains {
    /// Sends packets of one exit, in their order within each flow, and says how many wire packets were lost, which those are not
    /// for which there was no room. `couple`: whether as trains; no longer when the kernel does not know them.
    pub fn send(&mut self, packets: &[Held], exit: &impl Exit, couple: &mut bool) -> u64 {
        self.make(packets, *couple);
        let heads: Vec<[u8; HEAD]> = self
            .trains
            .iter()
            .filter_map(|train| train.head(packets))
            .collect();
        let mut heads = heads.iter();
        let mut pieces = Vec::with_capacity(packets.len() + heads.len());
        let mut ends = Vec::with_capacity(self.trains.len());
        for train in &self.trains {
            match train.shape.filter(|_| train.count > 1) {
                None => pieces.push(IoSlice::new(&packets[train.first].bytes)),
                Some(shape) => {
                    let payload = VIRTIO + shape.l4 + UDP;
                    pieces.extend(heads.next().map(|head| IoSlice::new(&head[..payload])));
                    let mut at = train.first;
                    for _ in 0..train.count {
                        pieces.push(IoSlice::new(&packets[at].bytes[payload..]));
                        at = self.next[at];
                    }
                }
            }
            ends.push(pieces.len());
        }
        let mut from = 0;
        let frames: Vec<Outgoing<'_>> = self
            .trains
            .iter()
            .zip(ends)
            .map(|(train, end)| {
                let pieces = &pieces[from..end];
                from = end;
                let mark = packets[train.first].mark;
                Outgoing { pieces, mark }
            })
            .collect();
        let mut lost = 0;
        let mut sent = 0;
        self.crowded = false;
        while sent < frames.len() && !self.crowded {
            let error = match exit.send(&frames[sent..]) {
                Ok(taken) => {
                    sent += taken.max(1);
                    continue;
                }
                Err(error) => error,
            };
            let train = &self.trains[sent];
            self.crowded = matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS));
            if self.crowded && train.can_try_again(packets, &error) {
                break;
            }
            sent += 1;
            // Of a kernel that cuts no datagrams (before Linux 6.2), or not these.
            if train.count > 1 && !self.crowded {
                tracing::debug!(%error, "datagrams of a line leave one by one");
                *couple = false;
                lost += self.send_apart(train, packets, exit);
            } else {
                tracing::debug!(%error, "a packet could not go on");
                lost += match train.count {
                    1 => frame::wire_packets_of(&packets[train.first].bytes),
                    datagrams => datagrams.into(),
                };
            }
        }
        self.refused = sent;
        lost
    }

    /// Whether there was no room for some of the packets that were sent last.
    pub fn crowded(&self) -> bool {
        self.crowded
    }

    /// Whether some of them were not sent for that reason, and may be later.
    pub fn any_refused(&self) -> bool {
        self.refused < self.trains.len()
    }

    /// Whether this one of them was not.
    pub fn refused(&self, at: usize) -> bool {
        self.of_packet.get(at).is_some_and(|train| *train >= self.refused)
    }

    /// Sends the packets of a train one by one.
    fn send_apart(&self, train: &Train, packets: &[Held], exit: &impl Exit) -> u64 {
        let mut lost = 0;
        let mut at = train.first;
        for _ in 0..train.count {
            let pieces = [IoSlice::new(&packets[at].bytes)];
            let mark = packets[at].mark;
            let alone = Outgoing {
                pieces: &pieces,
                mark,
            };
            if let Err(error) = exit.send(&[alone]) {
                tracing::debug!(%error, "a packet could not go on");
                lost += 1;
            }
            at = self.next[at];
        }
        lost
    }

    /// Finds the trains. What cannot follow the last packet of its flow begins another, behind it.
    fn make(&mut self, packets: &[Held], couple: bool) {
        self.trains.clear();
        self.of_flow.clear();
        self.of_packet.clear();
        self.next.clear();
        self.next.resize(packets.len(), 0);
        for (at, held) in packets.iter().enumerate() {
            let shape = couple.then(|| Shape::of(&held.bytes)).flatten();
            let last = self
                .of_flow
                .get(&held.flow)
                .and_then(|train| self.trains.get_mut(*train));
            if let (Some(train), Some(shape)) = (last, shape)
                && train.takes(packets, at, &shape)
            {
                self.of_packet.extend(self.of_flow.get(&held.flow));
                self.next[train.last] = at;
                train.last = at;
                train.count += 1;
                train.payload += shape.size;
                continue;
            }
            self.of_packet.push(self.trains.len());
            if couple {
                self.of_flow.insert(held.flow, self.trains.len());
            }
            self.trains.push(Train {
                first: at,
                last: at,
                count: 1,
                payload: shape.map_or(0, |shape| shape.size),
                shape,
            });
        }
    }
}

impl Train {
    /// Whether none of it is on its way, so that it may be sent once more. Of what a device without segmentation was given cut
    /// in pieces, some may be.
    fn can_try_again(&self, packets: &[Held], error: &io::Error) -> bool {
        match error.raw_os_error() {
            Some(libc::ENOBUFS) => self.count == 1 && !frame::is_super(&packets[self.first].bytes),
            error => error == Some(libc::EAGAIN),
        }
    }

    /// Whether a packet can be its next.
    fn takes(&self, packets: &[Held], at: usize, shape: &Shape) -> bool {
        let Some(first) = self.shape else { return false };
        let (before, last) = (&packets[self.first], &packets[self.last]);
        // Only the last may be smaller.
        self.count < CARS
            && self.payload == first.size * self.count as usize
            && shape.size <= first.size
            && shape.l4 - shape.l3 + UDP + self.payload + shape.size <= LONGEST
            && before.mark == packets[at].mark
            && first.same(&before.bytes, shape, &packets[at].bytes)
            && shape.follows(&last.bytes, &packets[at].bytes)
    }

    /// Headers of the super-packet, when it is one.
    fn head(&self, packets: &[Held]) -> Option<[u8; HEAD]> {
        let shape = self.shape.filter(|_| self.count > 1)?;
        let mut head = [0; HEAD];
        let length = VIRTIO + shape.l4 + UDP;
        head[..length].copy_from_slice(&packets[self.first].bytes[..length]);
        frame::make_super(&mut head, (shape.l4 + UDP) as u16, shape.size as u16);
        let (l3, l4) = (VIRTIO + shape.l3, VIRTIO + shape.l4);
        let datagram = (UDP + self.payload) as u16;
        // What the checksum still lacks is the payload; the length is in it.
        let [high, low] = [head[l4 + 4], head[l4 + 5]];
        let was = !u16::from_ne_bytes([high, low]);
        let owed = u16::from_ne_bytes([head[l4 + 6], head[l4 + 7]]);
        let owed = Sum::default().word(owed).word(was).word(datagram.to_be()).fold();
        // A sum that `fold` has made ready for a packet is the other way round here.
        head[l4 + 6..l4 + 8].copy_from_slice(&(!owed).to_ne_bytes());
        head[l4 + 4..l4 + 6].copy_from_slice(&datagram.to_be_bytes());
        if shape.v4 {
            let total = datagram + IPV4 as u16;
            head[l3 + 2..l3 + 4].copy_from_slice(&total.to_be_bytes());
            head[l3 + 10..l3 + 12].fill(0);
            let (words, _) = head[l3..l3 + IPV4].as_chunks::<2>();
            let sum = words
                .iter()
                .fold(Sum::default(), |sum, word| sum.word(u16::from_ne_bytes(*word)));
            head[l3 + 10..l3 + 12].copy_from_slice(&sum.fold().to_ne_bytes());
        } else {
            head[l3 + 4..l3 + 6].copy_from_slice(&datagram.to_be_bytes());
        }
        Some(head)
    }
}

impl Shape {
    /// Of a datagram without IP options, whose checksum is still to be made, so that it may be made of what was cut.
    fn of(bytes: &[u8]) -> Option<Self> {
        let packet = frame::headers(bytes)?;
        let Packet { l3, l4, end, .. } = packet;
        let (l3, l4, end) = (l3 as usize, l4 as usize, end as usize);
        let v4 = packet.version == 4;
        let plain = packet.protocol == protocol::UDP
            && packet.fragment as u32 == Fragment::Whole as u32
            && l4 == l3 + if v4 { IPV4 } else { IPV6 }
            && VIRTIO + l4 + UDP <= HEAD
            && VIRTIO + end == bytes.len()
            && end > l4 + UDP
            && frame::owes_checksum(bytes, l4, 6);
        let length = bytes.get(VIRTIO + l4 + 4..VIRTIO + l4 + 6)?;
        let whole = usize::from(u16::from_be_bytes([length[0], length[1]])) == end - l4;
        (plain && whole).then_some(Self {
            v4,
            l3,
            l4,
            size: end.saturating_sub(l4 + UDP),
        })
    }

    /// Whether the headers of another differ in nothing but what cutting makes anew.
    fn same(&self, ours: &[u8], other: &Self, others: &[u8]) -> bool {
        if (self.v4, self.l3, self.l4) != (other.v4, other.l3, other.l4) {
            return false;
        }
        let equal =
            |from: usize, to: usize| ours[VIRTIO + from..VIRTIO + to] == others[VIRTIO + from..VIRTIO + to];
        let (l3, l4) = (self.l3, self.l4);
        let ip = if self.v4 {
            // Length, identification and checksum stand between.
            equal(l3, l3 + 2) && equal(l3 + 6, l3 + 10) && equal(l3 + 12, l4)
        } else {
            equal(l3, l3 + 4) && equal(l3 + 6, l4)
        };
        equal(0, l3) && ip && equal(l4, l4 + 4)
    }

    /// Whether cutting would give it its identification: it counts on. What must not be fragmented needs none (RFC 6864).
    fn follows(&self, last: &[u8], this: &[u8]) -> bool {
        let at = VIRTIO + self.l3;
        let id = |bytes: &[u8]| u16::from_be_bytes([bytes[at + 4], bytes[at + 5]]);
        !self.v4 || this[at + 6] & DO_NOT_FRAGMENT != 0 || id(this) == id(last).wrapping_add(1)
    }
}

#[cfg(test)]
mod tests;
