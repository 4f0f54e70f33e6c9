//! What a packet pays: nanoseconds of a program over one that does nothing, in the same run of the kernel.

use std::fmt::Write as _;

use chaos_daemon::sys::bpf::TestPacket;
use serde::Serialize;

use super::{At, Family, Injection, Lab, Packet, Settings, Transport, fixtures};
use crate::{Cgroup, Skip};

/// What the programs may cost when nothing matches.
pub const BOUND_PASSING: f64 = 30.0;
/// What a drop may cost.
pub const BOUND_DROP: f64 = 50.0;

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Runs of a program in one sample.
    pub repeat: u32,
    /// Samples of the program and of the empty one, in turns.
    pub samples: usize,
}

impl Effort {
    /// For figures to be published. Many short samples: the best of them is then one that nobody disturbed, also on
    /// a machine that others share.
    pub const FULL: Self = Self {
        repeat: 50_000,
        samples: 150,
    };
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    pub group: &'static str,
    pub name: String,
    /// The best sample of the program less the best of the empty one: what it costs undisturbed.
    pub over_empty_ns: f64,
    /// The median of the differences between neighbouring samples: what it cost on this machine, now.
    pub median_over_empty_ns: f64,
    /// The best sample of the empty program.
    pub empty_ns: f64,
    /// What it may cost, if anybody promised.
    pub bound_ns: Option<f64>,
}

impl Cost {
    /// Whether the promise is kept.
    pub fn holds(&self) -> bool {
        self.bound_ns.is_none_or(|bound| self.over_empty_ns <= bound)
    }
}

/// Measures the program of a hook over one packet.
pub fn measure(lab: &Lab, at: At, frame: &[u8], effort: Effort) -> Cost {
    let packet = TestPacket {
        frame,
        ..TestPacket::default()
    };
    let (mut best, mut best_empty) = (f64::MAX, f64::MAX);
    let mut differences = Vec::new();
    for _ in 0..effort.samples {
        let empty = f64::from(lab.nanoseconds_of_nothing(&packet, effort.repeat));
        let full = f64::from(lab.nanoseconds(at, &packet, effort.repeat));
        (best, best_empty) = (best.min(full), best_empty.min(empty));
        differences.push(full - empty);
    }
    differences.sort_by(f64::total_cmp);
    Cost {
        group: "",
        name: String::new(),
        over_empty_ns: best - best_empty,
        median_over_empty_ns: differences[differences.len() / 2],
        empty_ns: best_empty,
        bound_ns: None,
    }
}

/// How the faults of a crowd differ from one another; the packet that is measured is none of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apart {
    RemotePorts,
    RemoteHosts,
    LocalPorts,
    Cgroups,
}

impl Apart {
    pub const ALL: [Self; 4] = [
        Self::RemotePorts,
        Self::RemoteHosts,
        Self::LocalPorts,
        Self::Cgroups,
    ];

    pub const fn words(self) -> &'static str {
        match self {
            Self::RemotePorts => "on different remote ports",
            Self::RemoteHosts => "on different remote hosts",
            Self::LocalPorts => "on different local ports",
            Self::Cgroups => "on different cgroups",
        }
    }

    fn traffic(self, n: u32) -> String {
        match self {
            Self::RemotePorts => format!("{{direction: both, remote: {{ports: [{}]}}}}", 10_000 + n),
            Self::RemoteHosts => {
                format!(
                    "{{direction: both, remote: {{cidrs: [10.200.{}.{}]}}}}",
                    n >> 8,
                    n & 255
                )
            }
            Self::LocalPorts => format!("{{direction: both, local: {{ports: [{}]}}}}", 10_000 + n),
            Self::Cgroups => "{}".to_owned(),
        }
    }
}

/// A lab with so many faults that lose everything of others.
///
/// # Errors
/// Without root.
pub fn crowded(apart: Apart, faults: u32) -> Result<Crowd, Skip> {
    let mut lab = Lab::with(Settings {
        max_faults: faults + 64,
        ..Settings::default()
    })?;
    let injections: Vec<Injection> = (0..faults)
        .map(|n| Injection::new(apart.traffic(n), "{partition: {}}"))
        .collect();
    if apart != Apart::Cgroups {
        lab.inject_all(&injections);
        return Ok(Crowd {
            lab,
            inside: None,
            _cgroup: None,
        });
    }
    // The measured packet's own cgroup stands beside the crowd's, at their level.
    let cgroup = Cgroup::new();
    lab.inject_for_others(&cgroup, &injections);
    let inside = super::Inside::enter(&cgroup);
    Ok(Crowd {
        lab,
        inside: Some(inside),
        _cgroup: Some(cgroup),
    })
}

/// A [`crowded`] lab.
pub struct Crowd {
    pub lab: Lab,
    // Left before the cgroup is removed, with everything in it.
    inside: Option<super::Inside>,
    _cgroup: Option<Cgroup>,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.inside = None;
    }
}

/// A packet that no fault of a crowd names.
pub fn stranger(family: Family, at: At) -> Vec<u8> {
    match at {
        At::Egress => Packet::leaving(family, Transport::Udp).frame(),
        _ => Packet::arriving(family, Transport::Udp).frame(),
    }
}

/// Packets that no fault names, with few and with many faults loaded.
///
/// # Errors
/// Without root.
pub fn passing(effort: Effort, report: &mut dyn FnMut(Cost)) -> Result<(), Skip> {
    for apart in Apart::ALL {
        for faults in [1, 4_096] {
            let crowd = crowded(apart, faults)?;
            for family in [Family::V4, Family::V6] {
                for at in [At::Egress, At::Ingress] {
                    if apart == Apart::Cgroups && at == At::Ingress {
                        continue;
                    }
                    report(Cost {
                        group: "no fault matches",
                        name: format!("{faults} faults {}, IP{family:?} udp, {at:?}", apart.words()),
                        bound_ns: Some(BOUND_PASSING),
                        ..measure(&crowd.lab, at, &stranger(family, at), effort)
                    });
                }
            }
        }
    }
    Ok(())
}

/// A drop of everything, alone and beside 4,095 others.
///
/// # Errors
/// Without root.
pub fn dropping(effort: Effort, report: &mut dyn FnMut(Cost)) -> Result<(), Skip> {
    for others in [0, 4_095] {
        let mut crowd = crowded(Apart::RemotePorts, others.max(1))?;
        let drop = Injection::new(
            "{direction: both, remote: {ports: [7777]}}",
            "{drop: {chance: 100%}}",
        );
        crowd.lab.inject(&drop);
        for family in [Family::V4, Family::V6] {
            for at in [At::Egress, At::Ingress] {
                report(Cost {
                    group: "a drop",
                    name: format!("beside {others} other faults, IP{family:?} udp, {at:?}"),
                    bound_ns: Some(BOUND_DROP),
                    ..measure(&crowd.lab, at, &stranger(family, at), effort)
                });
            }
        }
    }
    Ok(())
}

/// Every row of the table of fixtures. What rewrites a packet cannot be repeated over the same buffer: such rows are
/// run one by one and cost more, because every run begins cold.
///
/// # Errors
/// Without root.
pub fn table(effort: Effort, report: &mut dyn FnMut(Cost)) -> Result<(), Skip> {
    let mut lab = Lab::new()?;
    let mut at_xdp = Lab::with_xdp_beside(&lab)?;
    // One that names none of the packets: the programs stay loaded from row to row.
    let resident = Injection::new(
        "{direction: both, remote: {cidrs: [192.0.2.1]}}",
        "{partition: {}}",
    );
    lab.inject(&resident);
    at_xdp.inject(&resident);
    for row in fixtures() {
        let lab = if row.at == At::Xdp { &mut at_xdp } else { &mut lab };
        let id = lab.inject(&row.injection);
        let effort = match (row.repeats, &row.copy) {
            (false, _) => Effort {
                repeat: 1,
                samples: 2_000,
            },
            // Every run sends a packet.
            (true, Some(_)) => Effort {
                repeat: effort.repeat / 2,
                samples: 3,
            },
            (true, None) => Effort {
                samples: effort.samples.div_ceil(3),
                ..effort
            },
        };
        let measured = measure(lab, row.at, &row.packet.frame(), effort);
        let over_empty_ns = if row.repeats {
            measured.over_empty_ns
        } else {
            measured.median_over_empty_ns
        };
        let group = if row.repeats {
            "each fault"
        } else {
            "each fault, single cold runs"
        };
        report(Cost {
            group,
            name: row.description,
            over_empty_ns,
            ..measured
        });
        lab.end(&[id]);
    }
    Ok(())
}

/// How the cost of a packet that no fault names adds up: each line goes one step further.
///
/// # Errors
/// Without root.
pub fn steps(effort: Effort, report: &mut dyn FnMut(Cost)) -> Result<(), Skip> {
    let mut lab = Lab::new()?;
    let mut arp = [super::FAR_MAC, super::NEAR_MAC].concat();
    arp.extend([0x08, 0x06]);
    arp.extend([0; 46]);
    let udp = stranger(Family::V4, At::Egress);
    let mut say = |name: &str, lab: &Lab, frame: &[u8]| {
        report(Cost {
            group: "step by step, egress",
            name: name.to_owned(),
            ..measure(lab, At::Egress, frame, effort)
        });
    };
    let other = lab.inject(&Injection::new("{direction: ingress}", "{partition: {}}"));
    say("nothing is armed at this hook", &lab, &udp);
    lab.end(&[other]);
    lab.inject(&Injection::new("{remote: {ports: [1001]}}", "{partition: {}}"));
    say("no IP", &lab, &arp);
    say("IP, one index cell asked", &lab, &udp);
    lab.inject(&Injection::new("{local: {ports: [1001]}}", "{partition: {}}"));
    say("IP, two index cells asked", &lab, &udp);
    lab.inject(&Injection::new(
        "{local: {ports: [1001]}, remote: {ports: [1001]}}",
        "{partition: {}}",
    ));
    lab.inject(&Injection::new(
        "{remote: {cidrs: [10.1.2.3]}}",
        "{partition: {}}",
    ));
    say("IP, four index cells asked", &lab, &udp);
    lab.inject(&Injection::new("{protocol: tcp}", "{partition: {}}"));
    say("IP, and one rule looked at in vain", &lab, &udp);
    Ok(())
}

/// Long lists of addresses.
///
/// # Errors
/// Without root.
pub fn addresses(effort: Effort, report: &mut dyn FnMut(Cost)) -> Result<(), Skip> {
    let mut lab = Lab::new()?;
    for count in [1, 65_536_u32] {
        let host = |n: u32| format!("10.{}.{}.1", n >> 8, n & 255);
        // Beginning where 10.99.0.2 is not: the list must not name the stranger.
        let net = |n: u32| format!("10.{}.{}.128/25", n >> 8, n & 255);
        let lists = [
            ("exact addresses", (0..count).map(host).collect::<Vec<_>>()),
            ("prefixes", (0..count).map(net).collect()),
        ];
        for (what, list) in lists {
            let except = if what == "prefixes" {
                ", except: [10.0.0.129]"
            } else {
                ""
            };
            let traffic = format!("{{remote: {{cidrs: [{}]{except}}}}}", list.join(","));
            let id = lab.inject(&Injection::new(traffic, "{drop: {chance: 100%}}"));
            let hit = Packet::leaving(Family::V4, Transport::Udp).with_far(if what == "prefixes" {
                [10, 0, 0, 200].into()
            } else {
                [10, 0, 0, 1].into()
            });
            for (verb, packet) in [
                ("lost", hit),
                ("passing", Packet::leaving(Family::V4, Transport::Udp)),
            ] {
                let measured = measure(&lab, At::Egress, &packet.frame(), effort);
                report(Cost {
                    group: "addresses",
                    name: format!("{count} {what}, {verb}"),
                    ..measured
                });
            }
            lab.end(&[id]);
        }
    }
    Ok(())
}

/// The costs as a table for people.
pub fn text(costs: &[Cost]) -> String {
    let mut out = String::new();
    let mut group = "";
    for cost in costs {
        if cost.group != group {
            group = cost.group;
            let _ = writeln!(out, "\n{group}: ns over an empty program (best, median), bound");
        }
        let bound = cost.bound_ns.map_or(String::new(), |bound| {
            format!("  <= {bound:.0}{}", if cost.holds() { "" } else { "  MISSED" })
        });
        let _ = writeln!(
            out,
            "  {:<62} {:>6.0} {:>6.0}{bound}",
            cost.name, cost.over_empty_ns, cost.median_over_empty_ns
        );
    }
    out
}
