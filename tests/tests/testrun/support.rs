//! What every test here begins with.

use chaos_tests::Skip;
use chaos_tests::packet::{At, Expect, Family, Lab, Packet, Settings, Transport, flag};

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
