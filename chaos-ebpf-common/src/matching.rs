//! Whether a rule names a packet.

use crate::{
    abi::{COVERED, Ports, RANGES, Rule, connections, protocol, remote},
    flow::Flow,
    frame::{Fragment, Packet, tcp},
    rng::{CERTAIN, Stream, hit},
};

/// Everything a rule looks at but a trie of addresses, which lives in a map.
pub struct Subject<'a> {
    /// The packet.
    pub packet: &'a Packet,
    /// The packet, oriented.
    pub flow: &'a Flow,
    /// Its device, with [`COVERED`] where that is so.
    pub ifindex: u32,
    /// The published epoch.
    pub epoch: u64,
}

/// Whether the rule matches, `in_trie` answering for addresses kept in a trie.
#[inline(always)]
pub fn matches(rule: &Rule, subject: &Subject<'_>, in_trie: impl FnOnce(u32) -> bool) -> bool {
    let flow = subject.flow;
    if subject.epoch < rule.from_epoch || subject.epoch >= rule.until_epoch {
        return false;
    }
    if !device_matches(rule.ifindex, subject.ifindex) {
        return false;
    }
    if !protocol_matches(rule.protocol, flow.protocol) {
        return false;
    }
    if rule.connections != connections::ANY && !connection_matches(rule.connections, subject.packet) {
        return false;
    }
    if !ports_match(rule.local_ranges, &rule.local_ports, flow.local_port) {
        return false;
    }
    if !ports_match(rule.remote_ranges, &rule.remote_ports, flow.remote_port) {
        return false;
    }
    let address = match rule.remote {
        remote::INLINE => in_prefixes(rule, flow),
        remote::TRIE => in_trie(rule.address_set),
        _ => true,
    };
    address && (rule.flows >= CERTAIN || hit(rule.seed, Stream::Flows, flow.number(), rule.flows))
}

/// A rule that names no device means every one but the loopback, whose index is 1 in every namespace
/// (include/net/flow.h, `LOOPBACK_IFINDEX`), and those whose packets pass another one: no packet is hit twice.
#[inline(always)]
fn device_matches(asked: u32, found: u32) -> bool {
    if asked == 0 {
        found != 1 && found & COVERED == 0
    } else {
        asked == found & !COVERED
    }
}

#[inline(always)]
fn protocol_matches(asked: u8, found: u8) -> bool {
    asked == protocol::ANY || asked == found || asked == protocol::ICMP && found == protocol::ICMPV6
}

#[inline(always)]
fn connection_matches(asked: u8, packet: &Packet) -> bool {
    if packet.protocol != protocol::TCP || packet.fragment as u32 == Fragment::Later as u32 {
        return false;
    }
    let syn = packet.tcp_flags & tcp::SYN != 0;
    if asked == connections::NEW { syn } else { !syn }
}

#[inline(always)]
fn ports_match(count: u8, ranges: &[Ports; RANGES], port: u16) -> bool {
    match count {
        0 => true,
        1 => ranges[0].first <= port && port <= ranges[0].last,
        _ => in_ranges(ranges, port),
    }
}

/// Ports are never 0 in a spec, so a packet without ports is in no range. Free of branches, since
/// the verifier walks both sides of each.
#[inline(always)]
fn in_ranges(ranges: &[Ports; RANGES], port: u16) -> bool {
    let port = port as i32;
    let mut outside = u32::MAX;
    let mut i = 0;
    while i < RANGES {
        // Negative when the port lies on the wrong side of either end.
        outside &= ((port - ranges[i].first as i32) | (ranges[i].last as i32 - port)) as u32;
        i += 1;
    }
    outside >> 31 == 0
}

#[inline(always)]
fn in_prefixes(rule: &Rule, flow: &Flow) -> bool {
    let mut i = 0;
    while i < crate::abi::PREFIXES {
        if rule.prefixes[i].contains(&flow.remote) {
            return true;
        }
        i += 1;
    }
    false
}

/// Whether a TCP segment may be reset: not one that sets up, not one that already tears down. The bare
/// acknowledgement that ends a handshake passes as well, so that `connect` succeeds and a connection is
/// there to be torn down; `in_handshake` says so when the socket is known.
#[inline(always)]
pub fn resettable(packet: &Packet, payload: u32, in_handshake: bool) -> bool {
    packet.protocol == protocol::TCP
        && packet.fragment as u32 != Fragment::Later as u32
        && packet.tcp_flags & (tcp::SYN | tcp::RST) == 0
        && !(payload == 0 && packet.tcp_flags & tcp::FIN == 0 && in_handshake)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{Address, Prefix};

    fn rule() -> Rule {
        Rule {
            from_epoch: 1,
            until_epoch: u64::MAX,
            flows: CERTAIN,
            local_ports: [Ports::NONE; RANGES],
            remote_ports: [Ports::NONE; RANGES],
            prefixes: [Prefix::NONE; crate::abi::PREFIXES],
            ..Rule::default()
        }
    }

    fn packet(flags: u8) -> Packet {
        Packet {
            protocol: protocol::TCP,
            tcp_flags: flags,
            ..Packet::default()
        }
    }

    fn flow() -> Flow {
        Flow {
            remote: Address::v4(u32::from_ne_bytes([10, 1, 2, 3])),
            local: Address::v4(u32::from_ne_bytes([10, 0, 0, 1])),
            local_port: 40000,
            remote_port: 5432,
            protocol: protocol::TCP,
        }
    }

    fn says(rule: &Rule) -> bool {
        let (packet, flow) = (packet(0), flow());
        matches(
            rule,
            &Subject {
                packet: &packet,
                flow: &flow,
                ifindex: 2,
                epoch: 5,
            },
            |set| set == 7,
        )
    }

    #[test]
    fn an_empty_filter_matches_and_an_empty_slot_does_not() {
        assert!(says(&rule()));
        assert!(!says(&Rule::default()));
    }

    #[test]
    fn epochs_bound_a_rule() {
        assert!(says(&Rule {
            from_epoch: 5,
            ..rule()
        }));
        assert!(!says(&Rule {
            from_epoch: 6,
            ..rule()
        }));
        assert!(!says(&Rule {
            until_epoch: 5,
            ..rule()
        }));
        assert!(says(&Rule {
            until_epoch: 6,
            ..rule()
        }));
    }

    #[test]
    fn each_field_narrows() {
        assert!(!says(&Rule { ifindex: 3, ..rule() }));
        assert!(says(&Rule { ifindex: 2, ..rule() }));
        assert!(device_matches(1, 1) && device_matches(0, 2) && !device_matches(0, 1));
        assert!(
            !device_matches(0, 2 | COVERED)
                && device_matches(2, 2 | COVERED)
                && !device_matches(3, 2 | COVERED)
        );
        assert!(!says(&Rule {
            protocol: protocol::UDP,
            ..rule()
        }));
        let mut ports = rule();
        ports.remote_ranges = 2;
        ports.remote_ports[0] = Ports { first: 80, last: 80 };
        ports.remote_ports[1] = Ports {
            first: 6000,
            last: 6010,
        };
        ports.remote_ports[2] = Ports {
            first: 1,
            last: 65535,
        };
        assert!(says(&ports));
        ports.remote_ports[2] = Ports::NONE;
        assert!(!says(&ports));
        ports.remote_ports[1] = Ports {
            first: 5432,
            last: 5432,
        };
        assert!(says(&ports));
        ports.local_ranges = 1;
        ports.local_ports[0] = Ports {
            first: 39999,
            last: 40001,
        };
        assert!(says(&ports));
        ports.local_ports[0].last = 39999;
        assert!(!says(&ports));
    }

    #[test]
    fn addresses_inline_and_by_trie() {
        let ten = Address::v4(u32::from_ne_bytes([10, 0, 0, 0]));
        let mut inline = Rule {
            remote: remote::INLINE,
            prefix_count: 1,
            ..rule()
        };
        inline.prefixes[0] = Prefix::new(ten, 96 + 8);
        assert!(says(&inline));
        inline.prefixes[0] = Prefix::new(ten, 96 + 16);
        assert!(!says(&inline));
        assert!(says(&Rule {
            remote: remote::TRIE,
            address_set: 7,
            ..rule()
        }));
        assert!(!says(&Rule {
            remote: remote::TRIE,
            address_set: 8,
            ..rule()
        }));
    }

    #[test]
    fn new_means_syn_and_established_the_rest() {
        let flow = flow();
        for (flags, asked, want) in [
            (tcp::SYN, connections::NEW, true),
            (tcp::SYN | tcp::ACK, connections::NEW, true),
            (tcp::ACK, connections::NEW, false),
            (tcp::SYN, connections::ESTABLISHED, false),
            (tcp::ACK, connections::ESTABLISHED, true),
        ] {
            let packet = packet(flags);
            let subject = Subject {
                packet: &packet,
                flow: &flow,
                ifindex: 2,
                epoch: 5,
            };
            let rule = Rule {
                connections: asked,
                ..rule()
            };
            assert_eq!(
                matches(&rule, &subject, |_| false),
                want,
                "flags {flags:#x} asked {asked}"
            );
        }
    }

    #[test]
    fn a_share_of_flows_is_sticky_and_of_the_asked_size() {
        let share = Rule {
            flows: CERTAIN / 5,
            seed: 42,
            ..rule()
        };
        let packet = packet(0);
        let hits = (0..10_000u32)
            .filter(|n| {
                let flow = Flow {
                    local_port: (*n % 60_000) as u16,
                    ..flow()
                };
                let subject = Subject {
                    packet: &packet,
                    flow: &flow,
                    ifindex: 2,
                    epoch: 5,
                };
                let first = matches(&share, &subject, |_| false);
                assert_eq!(first, matches(&share, &subject, |_| false));
                first
            })
            .count();
        // 99.9 %: 2000 ± 3.29 · sqrt(10000 · 0.2 · 0.8)
        assert!((1868..=2132).contains(&hits), "{hits}");
    }

    #[test]
    fn a_reset_waits_for_the_end_of_the_handshake() {
        assert!(!resettable(&packet(tcp::SYN), 0, false));
        assert!(!resettable(&packet(tcp::RST), 0, false));
        assert!(!resettable(&packet(tcp::ACK), 0, true));
        assert!(resettable(&packet(tcp::ACK), 0, false));
        assert!(resettable(&packet(tcp::ACK), 1, true));
        assert!(resettable(&packet(tcp::FIN | tcp::ACK), 0, true));
    }
}
