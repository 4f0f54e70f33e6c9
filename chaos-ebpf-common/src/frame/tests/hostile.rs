//! Frames as a network may hand them over, from the first byte to the answer: nothing is read or written beyond the frame.

use chaos_fuzz::{cases, damaged};

use super::*;
use crate::abi::{Hook, Rule};
use crate::corrupt;
use crate::flow::Flow;
use crate::matching::{Subject, matches};
use crate::reply::{self, Numbers};

fn udp(payload: usize) -> Vec<u8> {
    let mut datagram = vec![0x9c, 0x40, 0, 53, 0, 0, 0, 0];
    datagram[4..6].copy_from_slice(&(8 + payload as u16).to_be_bytes());
    datagram.extend(vec![7; payload]);
    datagram
}

/// One frame of each kind that is told apart.
fn frames() -> Vec<Vec<u8>> {
    let hop = (0u8, vec![0u8; 8]);
    let route = (43u8, vec![0u8; 8]);
    let authentication = (51u8, [vec![0, 4], vec![0; 22]].concat());
    let first = (44u8, vec![0, 0, 0, 1, 0, 0, 0, 9]);
    let later = (44u8, vec![0, 0, 0, 8, 0, 0, 0, 9]);
    let segment = [tcp(tcp::ACK), vec![7; 40]].concat();
    let whole = v4(0, 0, 6, &segment);
    vec![
        ethernet(ETH_IPV4, &whole),
        ethernet(ETH_IPV4, &v4(10, 0, 6, &tcp(tcp::SYN))),
        ethernet(ETH_IPV4, &v4(0, 0, 17, &udp(30))),
        ethernet(ETH_IPV4, &v4(0, 0, 1, &[8, 0, 0, 0, 0, 1, 0, 1, 9, 9])),
        ethernet(ETH_IPV4, &v4(0, 0x2000, 17, &udp(8))),
        ethernet(ETH_IPV4, &v4(0, 0x00b9, 17, &udp(8))),
        ethernet(ETH_IPV4, &v4(0, 0, 132, &[0; 12])),
        ethernet(ETH_IPV6, &v6(&[], 6, &segment)),
        ethernet(ETH_IPV6, &v6(&[hop.clone(), route, authentication], 17, &udp(3))),
        ethernet(ETH_IPV6, &v6(&[first], 58, &[128, 0, 0, 0, 0, 0, 0, 0, 1])),
        ethernet(ETH_IPV6, &v6(&[later], 17, &udp(3))),
        ethernet(ETH_IPV6, &v6(&vec![hop; 7], 6, &segment)),
        ethernet(ETH_VLAN, &[&[0, 7, 8, 0][..], &whole].concat()),
        ethernet(ETH_QINQ, &[&[0, 7, 0x81, 0, 0, 8, 8, 0][..], &whole].concat()),
        ethernet(0x0806, &[0; 28]),
        whole,
        v6(&[], 17, &udp(1)),
    ]
}

/// Everything that the programs do with a frame, whatever the kernel says its type is.
fn go_through(frame: &[u8], seed: u64) {
    for ethertype in [0, ETH_IPV4, ETH_IPV6, ETH_VLAN, ETH_QINQ, 0x0806, 0xffff] {
        let ethertype = ethertype.to_be();
        let parsed = parse(frame, ethertype);
        if let Some(packet) = plain(frame, ethertype) {
            assert_eq!(parsed, Parsed::Ip(packet), "the glance and the parser differ");
        }
        if let Parsed::Ip(packet) = parsed {
            go_on(frame, &packet, seed);
        }
    }
}

fn go_on(frame: &[u8], packet: &Packet, seed: u64) {
    let length = frame.len() as u32;
    assert!(packet.l3 <= 22 && packet.l3 < packet.l4, "{packet:?}");
    if packet.has_ports() && packet.fragment != Fragment::Later {
        assert!(packet.l4 + 4 <= length, "{packet:?} of {length} bytes");
    }
    let data_offset = frame.u8(packet.l4 + 12).unwrap_or(0);
    let end = packet.end.min(length);
    for n in 0..4 {
        let Some(flip) = corrupt::flip(packet, data_offset, end, seed, n) else {
            continue;
        };
        assert_eq!(flip.mask.count_ones(), 1);
        assert!(flip.at < end && flip.at > packet.l4, "{flip:?} of {packet:?}");
        assert!(
            flip.checksum > packet.l4 && flip.checksum < flip.at,
            "{flip:?} of {packet:?}"
        );
        let before = frame[flip.at as usize];
        let there = flip.mend(0x1234, before, before ^ flip.mask);
        // And back again: the sum is what it was, in one of its two spellings of zero.
        let back = flip.mend(there, before ^ flip.mask, before);
        assert!(back == 0x1234, "{back:x}");
    }
    for hook in [Hook::Egress, Hook::Ingress] {
        let flow = Flow::of(packet, hook as u32);
        let _ = flow.number();
        let subject = Subject {
            packet,
            flow: &flow,
            ifindex: 1,
            epoch: 1,
        };
        let _ = matches(&Rule::default(), &subject, |_| true);
    }
    let numbers = Numbers {
        sequence: frame.u32(packet.l4 + 4).unwrap_or(u32::MAX),
        acknowledgement: u32::MAX,
        flags: packet.tcp_flags,
    };
    let payload = end.saturating_sub(packet.l4);
    for numbers in [reply::refusal(numbers, payload), reply::teardown(numbers)] {
        for (back, partial) in [(false, false), (true, true)] {
            let _ = reply::reset_header(packet, numbers, back, partial);
        }
    }
    let _ = (
        reply::unreachable_v4(packet, seed as u16),
        reply::unreachable_v6(packet, seed as u16),
        reply::pseudo_seed(packet, payload),
    );
}

#[test]
fn frames_that_end_anywhere_are_gone_through() {
    for frame in frames() {
        for length in 0..=frame.len() {
            go_through(&frame[..length], 7);
        }
    }
}

#[test]
fn every_kind_of_frame_is_understood_as_long_as_it_is_whole() {
    let understood = frames()
        .iter()
        .filter(|frame| parse(&frame[..], 0) != Parsed::Broken)
        .count();
    assert_eq!(understood, frames().len());
}

proptest! {
    #![proptest_config(cases(1000))]
    #[test]
    fn damaged_frames_are_gone_through(frame in damaged(frames()), seed: u64) {
        go_through(&frame.0, seed);
    }
}
