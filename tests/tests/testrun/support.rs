//! What every test here begins with.

use chaos_tests::Skip;
use chaos_tests::packet::{At, Expect, Family, Lab, Packet, Settings, Transport, flag};
use etherparse::checksum::Sum16BitWords;

pub const BOTH: [Family; 2] = [Family::V4, Family::V6];

/// A SYN with sequence number 77.
pub const SYN: Transport = tcp(flag::SYN);
/// A segment with data.
pub const DATA: Transport = tcp(flag::ACK | flag::PSH);

pub const fn tcp(flags: u8) -> Transport {
    Transport::Tcp {
        flags,
        sequence: 77,
        acknowledgement: if flags & flag::ACK == 0 { 0 } else { 5_000 },
    }
}

/// A lab, or the skip reported.
pub fn lab(test: &str) -> Option<Lab> {
    lab_with(test, Settings::default())
}

pub fn lab_with(test: &str, settings: Settings) -> Option<Lab> {
    Lab::with(settings).map_err(|skip: Skip| skip.report(test)).ok()
}

/// Shows a packet to a hook and compares.
#[track_caller]
pub fn check(lab: &Lab, at: At, packet: &Packet, expect: &Expect, what: &str) {
    if let Err(wrong) = expect.check(packet, &lab.run(at, &packet.frame())) {
        panic!("{what}: {wrong}");
    }
}

/// A UDP datagram that leaves.
pub fn datagram(family: Family) -> Packet {
    Packet::leaving(family, Transport::Udp)
}

/// The frame with what its checksum field holds while the device still has to compute it: the sum over the
/// pseudo header, not complemented (include/linux/skbuff.h, CHECKSUM_PARTIAL).
pub fn owing(packet: &Packet, mut frame: Vec<u8>) -> Vec<u8> {
    let (l3, l4) = (packet.l3(), packet.l4());
    let length = (frame.len() - l4) as u16;
    let (number, field) = if packet.is_tcp() { (6, 16) } else { (17, 6) };
    let addresses = if frame[l3] >> 4 == 4 {
        &frame[l3 + 12..l3 + 20]
    } else {
        &frame[l3 + 8..l3 + 40]
    };
    let sum = Sum16BitWords::new()
        .add_slice(addresses)
        .add_2bytes(length.to_be_bytes())
        .add_2bytes([0, number]);
    let seed = !sum.ones_complement();
    frame[l4 + field..l4 + field + 2].copy_from_slice(&seed.to_ne_bytes());
    frame
}
