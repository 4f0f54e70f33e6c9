//! parse → render → parse is the identity, for YAML and for JSON; and no text makes the parser panic.

use std::net::IpAddr;

use chaos_spec::{
    Chance, Checksum, Cidr, Connections, Corrupt, Direction, Dns, DnsAnswer, DnsRecords, DnsTcp, Drop,
    DropSignal, Duplicate, Duration, Fault, FaultSpec, GilbertElliott, Http, HttpHeaders, Local, NetemCompat,
    NetworkFault, Partition, PortRange, Protocol, Reject, RejectWith, Remote, Reset, Safety, Target, Traffic,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

fn chance() -> impl Strategy<Value = Chance> {
    (0..=100_000u64).prop_map(|n| {
        format!("{}.{:03}%", n / 1000, n % 1000)
            .parse()
            .expect("a chance")
    })
}

fn target() -> impl Strategy<Value = Target> {
    let word = "[a-z0-9._-]{1,15}".prop_filter("no path step", |word| word != "." && word != "..");
    let kind = prop_oneof![
        word.clone().prop_map(|name| Target::cgroup(format!("/{name}/x"))),
        (1..=u32::MAX).prop_map(Target::pid),
        word.clone().prop_map(Target::netns),
        "[a-f0-9]{12}".prop_map(Target::container),
        Just(Target::host()),
    ];
    (kind, vec(word, 0..3)).prop_map(|(target, mut interfaces)| {
        interfaces.sort();
        interfaces.dedup();
        target.with_interfaces(interfaces)
    })
}

fn ports() -> impl Strategy<Value = Vec<PortRange>> {
    vec((1..=u16::MAX, 0..100u16), 0..4).prop_map(|ranges| {
        let mut ranges: Vec<_> = ranges
            .into_iter()
            .map(|(first, more)| PortRange::new(first, first.saturating_add(more)).expect("in order"))
            .collect();
        ranges.sort();
        ranges.dedup();
        ranges
    })
}

fn cidrs() -> impl Strategy<Value = Vec<Cidr>> {
    let v4 = (any::<[u8; 4]>(), 0..=32u8).prop_map(|(octets, prefix)| (IpAddr::from(octets), prefix));
    let v6 = (any::<[u8; 16]>(), 0..=128u8).prop_map(|(octets, prefix)| (IpAddr::from(octets), prefix));
    let cidr = prop_oneof![v4, v6].prop_map(|(address, prefix)| {
        Cidr::containing(ipnet::IpNet::new(address, prefix).expect("a prefix"))
    });
    vec(cidr, 0..4)
}

fn traffic() -> impl Strategy<Value = Traffic> {
    let remote =
        (cidrs(), vec("[a-z]{1,8}(\\.[a-z]{2,5}){0,2}", 0..3), ports()).prop_map(|(cidrs, hosts, ports)| {
            let hosts = hosts.iter().map(|host| host.parse().expect("a name")).collect();
            let remote = Remote {
                cidrs,
                except: Vec::new(),
                hosts,
                ports,
            };
            (!remote.is_empty()).then_some(remote)
        });
    let local = ports().prop_map(|ports| (!ports.is_empty()).then_some(Local { ports }));
    (
        select(vec![Direction::Egress, Direction::Ingress, Direction::Both]),
        select(vec![Protocol::Any, Protocol::Tcp]),
        remote,
        local,
        select(vec![Connections::Any, Connections::New, Connections::Established]),
        of(chance()),
    )
        .prop_map(
            |(direction, protocol, remote, local, connections, flows)| Traffic {
                direction,
                protocol,
                remote,
                local,
                connections,
                flows,
            },
        )
}

fn drop() -> impl Strategy<Value = Drop> {
    prop_oneof![
        chance().prop_map(Drop::chance),
        (chance(), 0..100u64).prop_map(
            |(chance, c)| Drop::chance(chance).with_correlation(Chance::percent(c).expect("below 100"))
        ),
        (1..=u32::MAX).prop_map(Drop::every),
        (1..=u32::MAX).prop_map(|n| Drop {
            signal: DropSignal::None,
            ..Drop::every(n)
        }),
        (chance(), chance(), chance(), chance())
            .prop_map(|(p, r, h, k)| Drop::gilbert_elliott(GilbertElliott { p, r, h, k })),
    ]
}

fn correlation() -> impl Strategy<Value = Option<Chance>> {
    of((0..100u64).prop_map(|c| Chance::percent(c).expect("below 100")))
}

fn fault() -> impl Strategy<Value = Fault> {
    let reject =
        (select(vec![RejectWith::Icmp, RejectWith::Reset]), 0..100u64).prop_map(|(with, n)| Reject {
            with,
            chance: Chance::percent(n).expect("below 100"),
        });
    let some = (
        of(reject),
        of(chance().prop_map(|chance| Reset { chance })),
        of(drop()),
        of(
            (chance(), correlation()).prop_map(|(chance, correlation)| Duplicate {
                chance,
                correlation,
                compat: correlation.map(|_| NetemCompat::Netem),
            }),
        ),
        of(
            (chance(), correlation()).prop_map(|(chance, correlation)| Corrupt {
                chance,
                checksum: Checksum::Fix,
                correlation,
                compat: None,
            }),
        ),
    )
        .prop_map(|(reject, reset, drop, duplicate, corrupt)| Fault {
            reject,
            reset,
            drop,
            duplicate,
            corrupt,
            ..Fault::default()
        })
        .prop_map(|fault| {
            if fault.kinds().is_empty() {
                Fault::partition()
            } else {
                fault
            }
        });
    prop_oneof![
        1 => Just(Fault { partition: Some(Partition {}), ..Fault::default() }),
        9 => some,
        3 => http().prop_map(|http| Fault { http: Some(http), ..Fault::default() }),
        3 => dns().prop_map(|dns| Fault { dns: Some(dns), ..Fault::default() }),
    ]
}

fn http() -> impl Strategy<Value = Http> {
    let action = prop_oneof![
        Just(Http {
            abort: Some(true),
            ..Http::default()
        }),
        (0..3_600_000u64).prop_map(|wait| Http {
            delay: Some(Duration::from_millis(wait)),
            ..Http::default()
        }),
        // Texts that YAML would take for something else, and line ends of every kind.
        (
            200..204u16,
            of("[ -~\\r\\n\\tä…]{0,20}"),
            vec(("[A-Za-z!-]{1,9}", "[ -~\\t]{0,9}"), 0..3)
        )
            .prop_map(|(status, body, mut headers)| {
                headers.sort_by_key(|(name, _)| name.to_ascii_lowercase());
                headers.dedup_by_key(|(name, _)| name.to_ascii_lowercase());
                Http {
                    body,
                    headers: HttpHeaders(headers),
                    ..Http::answer(status)
                }
            }),
    ];
    let chosen = (
        chance(),
        of(select(vec!["GET", "POST", "M-SEARCH"])),
        of("[/*][a-z.%/]{0,20}"),
        of(select(vec![
            "a.example",
            "*.a.example",
            "192.0.2.7",
            "[2001:db8::1]",
        ])),
    );
    (action, chosen).prop_map(|(action, (chance, method, path, host))| Http {
        chance,
        method: method
            .map(|method| method.parse().expect("a method"))
            .into_iter()
            .collect(),
        path: path.map(|path| path.parse().expect("a path")),
        host: host.map(|host| host.parse().expect("a host")),
        ..action
    })
}

fn dns() -> impl Strategy<Value = Dns> {
    let records = (
        vec(any::<[u8; 4]>(), 1..=8),
        vec(any::<[u8; 16]>(), 0..=8),
        0..604_800u64,
    )
        .prop_map(|(a, aaaa, ttl)| {
            DnsAnswer::Records(DnsRecords {
                a: a.into_iter().map(Into::into).collect(),
                aaaa: aaaa.into_iter().map(Into::into).collect(),
                ttl: Duration::from_secs(ttl),
            })
        });
    let words = [
        DnsAnswer::Nxdomain,
        DnsAnswer::Servfail,
        DnsAnswer::Refused,
        DnsAnswer::Timeout,
    ];
    let action = prop_oneof![
        prop_oneof![select(words.to_vec()), records].prop_map(Dns::answer),
        (0..3_600_000u64).prop_map(|wait| Dns {
            delay: Some(Duration::from_millis(wait)),
            ..Dns::default()
        }),
    ];
    let name = r"(\*\.)?[a-z_][a-z0-9_-]{0,8}(\.[a-z]{2,5}){0,2}";
    (
        action,
        vec(name, 0..4),
        select(vec!["A", "AAAA", "TXT", "TYPE123"]),
        chance(),
        any::<bool>(),
    )
        .prop_map(|(action, mut names, kind, chance, tcp)| {
            names.sort();
            names.dedup();
            let refuses = !matches!(action.answer, Some(DnsAnswer::Records(_)));
            Dns {
                names: names.iter().map(|name| name.parse().expect("a name")).collect(),
                types: refuses
                    .then(|| kind.parse().expect("a type"))
                    .into_iter()
                    .collect(),
                chance,
                tcp: if tcp { DnsTcp::Reset } else { DnsTcp::Pass },
                ..action
            }
        })
}

/// What cannot hold a request or a look-up is refused beside `http` and `dns`.
fn fitting(mut traffic: Traffic, fault: &Fault) -> Traffic {
    if fault.http.is_some() && traffic.connections == Connections::New {
        traffic.connections = Connections::Established;
    }
    if fault.dns.is_some() {
        traffic.protocol = Protocol::Any;
        traffic.connections = Connections::Any;
    }
    traffic
}

fn network_fault() -> impl Strategy<Value = NetworkFault> {
    let spec = (
        target(),
        traffic(),
        fault(),
        1..2_000_000_000u64,
        of(any::<u64>()),
        of(1..=u64::MAX),
    )
        .prop_map(
            |(target, traffic, fault, milliseconds, seed, max_packets)| FaultSpec {
                traffic: fitting(traffic, &fault),
                target,
                fault,
                duration: Duration::from_millis(milliseconds),
                seed,
                safety: Safety {
                    max_packets,
                    max_flows: None,
                    unguard: Vec::new(),
                    health: Vec::new(),
                },
            },
        );
    // Texts that YAML would take for something else: numbers, booleans, nothing, documents.
    let label = prop_oneof![
        "[ -~]{0,20}",
        select(vec!["true", "null", "~", "1e3", "---", "- a", "# x"]).prop_map(str::to_owned)
    ];
    (
        "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?",
        spec,
        proptest::collection::btree_map("[a-z]{1,8}", label, 0..3),
    )
        .prop_map(|(name, spec, labels)| {
            let mut fault = NetworkFault::new(name, spec);
            fault.metadata.labels = labels;
            fault
        })
}

proptest! {
    #[test]
    fn yaml_and_json_give_the_fault_back(fault in network_fault()) {
        prop_assert_eq!(chaos_spec::validate(&fault), []);
        let yaml = chaos_spec::to_yaml(std::slice::from_ref(&fault)).expect("renders");
        let back = chaos_spec::parse("f.yaml", yaml.as_bytes());
        let back = back.map_err(|error| TestCaseError::fail(format!("{error}\n{yaml}")))?;
        prop_assert_eq!(&back[0].fault, &fault, "{}", yaml);

        let json = serde_json::to_vec_pretty(&fault).expect("JSON");
        prop_assert_eq!(chaos_spec::parse_body(&json).expect("its own JSON"), std::slice::from_ref(&fault));
        prop_assert_eq!(&chaos_spec::parse("f.json", &json).expect("its own JSON")[0].fault, &fault);
        let plain: NetworkFault = serde_json::from_slice(&json).expect("plain serde reads it too");
        prop_assert_eq!(&plain, &fault);
    }

    #[test]
    fn explaining_never_panics(fault in network_fault()) {
        let explanation = chaos_spec::explain(&fault);
        prop_assert!(!explanation.to_string().is_empty());
        prop_assert!(!explanation.summary.contains('\n'));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}|[-a-z0-9:{}\\[\\],&*!#%\"' \n\t]{0,200}") {
        let _ = chaos_spec::parse("f.yaml", text.as_bytes());
        let _ = chaos_spec::parse("f.json", text.as_bytes());
        let _ = chaos_spec::parse_body(text.as_bytes());
    }

    #[test]
    fn no_damage_to_a_good_file_makes_the_parser_panic(
        fault in network_fault(), at in any::<prop::sample::Index>(), length in 0..20usize, with in "\\PC{0,4}",
    ) {
        let yaml = chaos_spec::to_yaml(&[fault]).expect("renders");
        let mut bytes = yaml.into_bytes();
        let start = at.index(bytes.len());
        let end = (start + length).min(bytes.len());
        bytes.splice(start..end, with.bytes());
        if let Err(diagnostics) = chaos_spec::parse("f.yaml", &bytes) {
            for diagnostic in diagnostics.0 {
                prop_assert!(!diagnostic.message.is_empty());
            }
        }
    }
}
