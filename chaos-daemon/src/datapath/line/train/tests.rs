//! Trains against what the kernel does with them (`__udp_gso_segment`), written down once more here.

use std::cell::RefCell;

use chaos_ebpf_common::abi::LINE_RULES;
use proptest::prelude::*;

use super::*;

/// What a train is made of.
#[derive(Clone, Copy, Debug)]
struct Of {
    v6: bool,
    tags: usize,
    flow: u16,
    id: u16,
    may_fragment: bool,
    ttl: u8,
    size: usize,
    owes: bool,
}

const PLAIN: Of = Of {
    v6: false,
    tags: 0,
    flow: 1,
    id: 7,
    may_fragment: false,
    ttl: 64,
    size: 22,
    owes: true,
};

fn sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn put(bytes: &mut [u8], at: usize, number: u16) {
    bytes[at..at + 2].copy_from_slice(&number.to_be_bytes());
}

/// Addresses, protocol and length: what a checksum that is still owed consists of.
fn pseudo(ip: &[u8], v6: bool, length: u16) -> u16 {
    let addresses = if v6 { &ip[8..40] } else { &ip[12..20] };
    sum(&[addresses, &[0, 17], &length.to_be_bytes()].concat())
}

/// Virtio header and frame, as the queue holds them.
fn datagram(of: &Of, number: u8) -> Vec<u8> {
    let mut frame = vec![2; 12];
    for _ in 0..of.tags {
        frame.extend([0x81, 0, 0, 5]);
    }
    frame.extend(if of.v6 { [0x86, 0xdd] } else { [8, 0] });
    let l3 = frame.len();
    let length = (UDP + of.size) as u16;
    if of.v6 {
        frame.extend([0x60, 0, 0, 0, 0, 0, 17, of.ttl]);
        frame.extend([0xfd; 32]);
        put(&mut frame, l3 + 4, length);
    } else {
        frame.extend([
            0x45, 0, 0, 0, 0, 0, 0, 0, of.ttl, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ]);
        put(&mut frame, l3 + 2, length + 20);
        put(&mut frame, l3 + 4, of.id);
        frame[l3 + 6] = if of.may_fragment { 0 } else { DO_NOT_FRAGMENT };
        let made = !sum(&frame[l3..l3 + 20]);
        put(&mut frame, l3 + 10, made);
    }
    let l4 = frame.len();
    frame.extend([0; 8]);
    put(&mut frame, l4, 4000 + of.flow);
    put(&mut frame, l4 + 2, 7000);
    put(&mut frame, l4 + 4, length);
    let owed = pseudo(&frame[l3..], of.v6, length);
    put(&mut frame, l4 + 6, owed);
    frame.extend(vec![number; of.size]);
    let mut bytes = vec![0; VIRTIO];
    if of.owes {
        bytes[0] = 1;
        bytes[6..8].copy_from_slice(&(l4 as u16).to_le_bytes());
        bytes[8] = 6;
    }
    bytes.extend(frame);
    bytes
}

fn held(of: &Of, number: u8) -> Held {
    Held {
        due: 0,
        flow: of.flow.into(),
        ifindex: 1,
        arriving: false,
        mark: 0,
        in_order: true,
        slots: ([0; LINE_RULES], 0),
        bytes: datagram(of, number),
    }
}

/// Takes everything, and notes it; `fussy` takes no super-packets.
#[derive(Default)]
struct Noted {
    frames: RefCell<Vec<Vec<u8>>>,
    fussy: Option<i32>,
}

impl Exit for Noted {
    fn send(&self, frames: &[Outgoing<'_>]) -> io::Result<usize> {
        let frame: Vec<u8> = frames[0].pieces.iter().flat_map(|piece| piece.to_vec()).collect();
        match self.fussy {
            Some(error) if frame[1] != 0 => Err(io::Error::from_raw_os_error(error)),
            _ => {
                self.frames.borrow_mut().push(frame);
                Ok(1)
            }
        }
    }
}

/// The datagrams that the kernel makes of a frame, each again as the queue would hold it.
fn cut(frame: &[u8], of: &Of) -> Vec<Vec<u8>> {
    if frame[1] == 0 {
        return vec![frame.to_vec()];
    }
    assert_eq!((frame[0], frame[1]), (1, 5));
    let l3 = VIRTIO + 14 + 4 * of.tags;
    let l4 = l3 + if of.v6 { 40 } else { 20 };
    let number = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let size = usize::from(u16::from_le_bytes([frame[4], frame[5]]));
    assert_eq!(
        usize::from(u16::from_le_bytes([frame[2], frame[3]])),
        l4 + 8 - VIRTIO
    );
    let length = number(l4 + 4);
    assert_eq!(usize::from(length), frame.len() - l4);
    assert_eq!(
        number(l4 + 6) % 0xffff,
        pseudo(&frame[l3..], of.v6, length) % 0xffff
    );
    if !of.v6 {
        assert_eq!(
            sum(&frame[l3..l3 + 20]),
            0xffff,
            "the header of the whole is right, too"
        );
    }
    let first = number(l3 + 4);
    frame[l4 + 8..]
        .chunks(size)
        .enumerate()
        .map(|(n, payload)| {
            let id = if of.may_fragment {
                first.wrapping_add(n as u16)
            } else {
                of.id
            };
            let one = Of {
                id,
                size: payload.len(),
                ..*of
            };
            datagram(&one, payload[0])
        })
        .collect()
}

/// What goes out for these, cut again, and in how many frames.
fn sent(packets: &[Of]) -> (Vec<Vec<u8>>, usize) {
    let held: Vec<Held> = packets.iter().zip(0..).map(|(of, n)| held(of, n)).collect();
    let (exit, mut couple) = (Noted::default(), true);
    assert_eq!(Trains::default().send(&held, &exit, &mut couple), 0);
    assert!(couple);
    let frames = exit.frames.into_inner();
    let of = |frame: &Vec<u8>| packets[usize::from(*frame.last().expect("a payload"))];
    let cut = frames.iter().flat_map(|frame| cut(frame, &of(frame))).collect();
    (cut, frames.len())
}

#[test]
fn neighbours_are_one_frame_and_others_are_not() {
    let few = |change: &dyn Fn(usize, &mut Of)| {
        let mut packets = [PLAIN; 4];
        for (n, of) in packets.iter_mut().enumerate() {
            change(n, of);
        }
        sent(&packets).1
    };
    assert_eq!(few(&|_, _| {}), 1);
    assert_eq!(few(&|_, of| of.v6 = true), 1);
    assert_eq!(few(&|_, of| of.tags = 2), 1);
    assert_eq!(few(&|n, of| of.id = n as u16), 1);
    assert_eq!(few(&|n, of| of.flow = n as u16 % 2), 2);
    assert_eq!(few(&|n, of| of.size = if n == 3 { 5 } else { 22 }), 1);
    assert_eq!(few(&|n, of| of.size = if n == 1 { 5 } else { 22 }), 2);
    assert_eq!(few(&|n, of| of.size = 10 + n), 4);
    assert_eq!(few(&|n, of| of.ttl = 60 + n as u8), 4);
    assert_eq!(few(&|_, of| of.owes = false), 4);
    // Where it may be fragmented, the identification has to count on.
    let counting = |step: u16| {
        move |n: usize, of: &mut Of| {
            of.may_fragment = true;
            of.id = 9 + n as u16 * step;
        }
    };
    assert_eq!(few(&counting(1)), 1);
    assert_eq!(few(&counting(0)), 4);
    assert_eq!(sent(&[PLAIN; 200]).1, 200usize.div_ceil(CARS as usize));
    // No longer than an IP packet can be.
    let large = Of { size: 1400, ..PLAIN };
    assert_eq!(sent(&[large; 60]).1, 2);
}

#[test]
fn what_cannot_go_as_a_train_goes_one_by_one_and_a_queue_without_room_loses_all_of_it_or_none() {
    let packets: Vec<Held> = (0..3).map(|n| held(&PLAIN, n)).collect();
    for (error, lost, refused, frames, still) in [
        (libc::EINVAL, 0, false, 3, false),
        (libc::ENOBUFS, 3, false, 0, true),
        (libc::EAGAIN, 0, true, 0, true),
    ] {
        let mut couple = true;
        let exit = Noted {
            fussy: Some(error),
            ..Noted::default()
        };
        let mut trains = Trains::default();
        assert_eq!(trains.send(&packets, &exit, &mut couple), lost);
        assert_eq!(trains.crowded(), error != libc::EINVAL);
        assert_eq!(trains.any_refused(), refused);
        assert!((0..3).all(|at| trains.refused(at) == refused));
        assert_eq!((exit.frames.borrow().len(), couple), (frames, still));
    }
}

#[test]
fn what_stands_behind_a_train_for_which_there_was_no_room_waits() {
    let two = |n: usize| Of {
        flow: n as u16 / 3,
        ..PLAIN
    };
    let packets: Vec<Held> = (0..6).map(|n| held(&two(n), n as u8)).collect();
    let exit = Noted {
        fussy: Some(libc::ENOBUFS),
        ..Noted::default()
    };
    let mut trains = Trains::default();
    assert_eq!(trains.send(&packets, &exit, &mut true), 3);
    let refused: Vec<usize> = (0..6).filter(|at| trains.refused(*at)).collect();
    assert_eq!((refused, exit.frames.borrow().len()), (vec![3, 4, 5], 0));
}

#[test]
fn a_super_packet_for_which_there_is_no_room_is_lost_with_all_its_wire_packets() {
    let mut large = held(&Of { size: 1000, ..PLAIN }, 0);
    let headers = 14 + 20 + UDP as u16;
    large.bytes[1] = 5;
    large.bytes[2..4].copy_from_slice(&headers.to_le_bytes());
    large.bytes[4..6].copy_from_slice(&100_u16.to_le_bytes());
    let exit = Noted {
        fussy: Some(libc::ENOBUFS),
        ..Noted::default()
    };
    let mut trains = Trains::default();
    assert_eq!(trains.send(&[large], &exit, &mut true), 10);
    assert!(!trains.any_refused());
}

fn datagrams() -> impl Strategy<Value = Of> {
    (
        (any::<bool>(), 0..=2usize, 0..3u16, 0..4u16),
        (any::<bool>(), 63..=64u8, 20..24usize, prop::bool::weighted(0.9)),
    )
        .prop_map(|((v6, tags, flow, id), (may_fragment, ttl, size, owes))| Of {
            v6,
            tags,
            flow,
            id,
            may_fragment,
            ttl,
            size,
            owes,
        })
}

proptest! {
    /// Every datagram comes out as it went in, in the order of its flow.
    #[test]
    fn wire_packets_are_the_same(mut packets in prop::collection::vec(datagrams(), 0..60), alike in 1..20usize) {
        for n in 0..packets.len() {
            let id = packets[n].id;
            packets[n] = packets[n / alike * alike];
            // Of what must not be fragmented, nobody asks for it.
            packets[n].id = if packets[n].may_fragment { id } else { 7 };
        }
        let (out, _) = sent(&packets);
        prop_assert_eq!(out.len(), packets.len());
        for flow in 0..3 {
            let of_flow = |of: &&Of| of.flow == flow;
            let numbers: Vec<u8> = (0..).zip(&packets).filter(|(_, of)| of_flow(of)).map(|(n, _)| n).collect();
            let got: Vec<&Vec<u8>> = out.iter().filter(|bytes| {
                of_flow(&&packets[usize::from(*bytes.last().expect("a payload"))])
            }).collect();
            prop_assert_eq!(got.len(), numbers.len());
            for (bytes, number) in got.iter().zip(numbers) {
                prop_assert_eq!(*bytes, &datagram(&packets[usize::from(number)], number));
            }
        }
    }
}
