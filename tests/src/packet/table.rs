//! The table: every fault × IPv4/IPv6 × tcp/udp/icmp × direction.

use super::{At, Expect, Family, Injection, Packet, Transport, flag};

/// One row: a fault, a packet in, what must come out.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// For people: `drop 100 %, IPv6 udp, egress`.
    pub description: String,
    pub injection: Injection,
    pub at: At,
    pub packet: Packet,
    pub expect: Expect,
    /// A frame that must also be seen on its way, in the direction of the packet.
    pub copy: Option<Vec<u8>>,
    /// Whether a second run over the same buffer does the same again, so that it can be measured by repetition.
    pub repeats: bool,
}

/// A TCP segment in the middle of a connection.
const SEGMENT: Transport = Transport::Tcp {
    flags: flag::ACK | flag::PSH,
    sequence: 1_000_000,
    acknowledgement: 2_000_000,
};

const TRANSPORTS: [(&str, Transport); 3] = [
    ("tcp", SEGMENT),
    ("udp", Transport::Udp),
    ("icmp", Transport::EchoRequest),
];

/// What a row's fault does to a packet at tc.
enum Does {
    Nothing,
    Lose,
    LoseLoudly,
    RefuseByReset,
    RefuseByIcmp,
    Reset,
    Duplicate,
    Corrupt,
}

const FAULTS: [(&str, &str, Does); 14] = [
    ("partition", "{partition: {}}", Does::Lose),
    ("drop 100%", "{drop: {chance: 100%}}", Does::Lose),
    ("drop 0%", "{drop: {chance: 0%}}", Does::Nothing),
    ("drop every 1", "{drop: {every: 1}}", Does::Lose),
    (
        "drop Gilbert-Elliott",
        "{drop: {gilbertElliott: {p: 100%, r: 0%}}}",
        Does::Lose,
    ),
    (
        "drop, sender told",
        "{drop: {chance: 100%, signal: local}}",
        Does::LoseLoudly,
    ),
    ("reject by reset", "{reject: {with: reset}}", Does::RefuseByReset),
    ("reject by icmp", "{reject: {with: icmp}}", Does::RefuseByIcmp),
    ("reject 0%", "{reject: {with: icmp, chance: 0%}}", Does::Nothing),
    ("reset", "{reset: {}}", Does::Reset),
    ("reset 0%", "{reset: {chance: 0%}}", Does::Nothing),
    ("duplicate", "{duplicate: {}}", Does::Duplicate),
    ("corrupt", "{corrupt: {checksum: fix}}", Does::Corrupt),
    (
        "corrupt 0%",
        "{corrupt: {chance: 0%, checksum: fix}}",
        Does::Nothing,
    ),
];

/// All rows.
pub fn fixtures() -> Vec<Fixture> {
    let mut rows = Vec::new();
    for (name, fault, does) in &FAULTS {
        for family in [Family::V4, Family::V6] {
            for (protocol, transport) in TRANSPORTS {
                for at in [At::Egress, At::Ingress] {
                    if matches!(does, Does::LoseLoudly) && at == At::Ingress {
                        // Refused: nobody on this side has sent it.
                        continue;
                    }
                    let packet = match at {
                        At::Egress => Packet::leaving(family, transport),
                        _ => Packet::arriving(family, transport),
                    };
                    rows.push(row(name, fault, does, protocol, at, packet));
                }
                if matches!(does, Does::Lose) || *name == "drop 0%" {
                    rows.push(at_xdp(
                        name,
                        fault,
                        does,
                        protocol,
                        Packet::arriving(family, transport),
                    ));
                }
            }
        }
    }
    rows
}

fn row(name: &str, fault: &str, does: &Does, protocol: &str, at: At, packet: Packet) -> Fixture {
    let is_tcp = protocol == "tcp";
    let lost = if at == At::Egress {
        Expect::Vanished
    } else {
        Expect::Shot
    };
    let (mut copy, mut repeats) = (None, true);
    let expect = match does {
        Does::Nothing => Expect::Untouched,
        Does::Lose => lost,
        Does::LoseLoudly => Expect::Shot,
        Does::RefuseByReset | Does::Reset if is_tcp => {
            copy = Some(packet.reset_onward());
            repeats = false;
            Expect::Answered(packet.reset_back())
        }
        Does::Reset => Expect::Untouched,
        Does::RefuseByReset | Does::RefuseByIcmp => {
            repeats = false;
            Expect::Answered(packet.unreachable())
        }
        Does::Duplicate => {
            copy = Some(packet.frame());
            Expect::Untouched
        }
        Does::Corrupt => Expect::Corrupted,
    };
    Fixture {
        description: describe(name, protocol, at, &packet),
        injection: injection(fault, protocol, at),
        at,
        packet,
        expect,
        copy,
        repeats,
    }
}

fn at_xdp(name: &str, fault: &str, does: &Does, protocol: &str, packet: Packet) -> Fixture {
    let expect = if matches!(does, Does::Lose) {
        Expect::XdpDrop
    } else {
        Expect::XdpPass
    };
    Fixture {
        description: describe(name, protocol, At::Xdp, &packet),
        injection: injection(fault, protocol, At::Xdp),
        at: At::Xdp,
        packet,
        expect,
        copy: None,
        repeats: true,
    }
}

fn injection(fault: &str, protocol: &str, at: At) -> Injection {
    // A fault of connections alone refuses to be aimed at what has none; it must leave it alone all the same.
    let protocol = if fault.contains("reset:") && protocol != "tcp" {
        "any"
    } else {
        protocol
    };
    let direction = if at == At::Egress { "egress" } else { "ingress" };
    Injection::new(format!("{{direction: {direction}, protocol: {protocol}}}"), fault)
}

fn describe(name: &str, protocol: &str, at: At, packet: &Packet) -> String {
    let (family, at) = (packet.family, format!("{at:?}").to_lowercase());
    format!("{name}, IP{family:?} {protocol}, {at}").replace("IPV", "IPv")
}
