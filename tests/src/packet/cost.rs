//! What packets are measured for their cost: nanoseconds of a program over one that does nothing, or over what it takes
//! for another packet, in the same run of the kernel.

use chaos_daemon::sys::bpf::TestPacket;

use super::{At, Family, Injection, Lab, Packet, Settings, Transport};
use crate::{Cgroup, Skip};

/// A packet at the program of a hook, and what it is compared with.
pub struct Case<'a> {
    pub name: String,
    pub lab: &'a Lab,
    pub at: At,
    /// Several, where one could be lucky: a sample is the mean over them.
    pub frames: &'a [Vec<u8>],
    /// Another packet at the same program; none: the same packet at an empty program.
    pub beside: Option<&'a [u8]>,
}

impl Case<'_> {
    /// Mean nanoseconds of a run; so many runs, shared among the packets.
    pub fn ours(&self, repeat: u32) -> f64 {
        let count = self.frames.len() as u32;
        let one = |frame: &Vec<u8>| self.lab.nanoseconds(self.at, &packet(frame), repeat / count);
        f64::from(self.frames.iter().map(one).sum::<u32>()) / f64::from(count)
    }

    /// The same of what it is compared with.
    pub fn theirs(&self, repeat: u32) -> f64 {
        f64::from(match self.beside {
            Some(other) => self.lab.nanoseconds(self.at, &packet(other), repeat),
            None => self.lab.nanoseconds_of_nothing(&packet(&self.frames[0]), repeat),
        })
    }
}

fn packet(frame: &[u8]) -> TestPacket<'_> {
    TestPacket {
        frame,
        ..TestPacket::default()
    }
}

/// Who measures a case.
pub type Show<'a> = &'a mut dyn FnMut(&Case<'_>);

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

    /// So many faults can be told apart.
    pub const fn most(self) -> u32 {
        match self {
            Self::RemotePorts | Self::LocalPorts => 50_000,
            Self::RemoteHosts | Self::Cgroups => 65_536,
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

/// Packets that no fault names, beside crowds of so many.
///
/// # Errors
/// Without root.
pub fn passing(crowds: &[u32], show: Show<'_>) -> Result<(), Skip> {
    for apart in Apart::ALL {
        for &faults in crowds.iter().filter(|faults| **faults <= apart.most()) {
            let crowd = crowded(apart, faults)?;
            for family in [Family::V4, Family::V6] {
                for at in [At::Egress, At::Ingress] {
                    if apart == Apart::Cgroups && at == At::Ingress {
                        continue;
                    }
                    show(&Case {
                        name: format!("{faults} faults {}, IP{family:?}, {at:?}", apart.words()),
                        lab: &crowd.lab,
                        at,
                        frames: &strangers(family, at),
                        beside: None,
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
pub fn dropping(show: Show<'_>) -> Result<(), Skip> {
    for others in [0, 4_095] {
        let mut crowd = crowded(Apart::RemotePorts, others.max(1))?;
        let drop = Injection::new(
            "{direction: both, remote: {ports: [7777]}}",
            "{drop: {chance: 100%}}",
        );
        crowd.lab.inject(&drop);
        for family in [Family::V4, Family::V6] {
            for at in [At::Egress, At::Ingress] {
                show(&Case {
                    name: format!("drop, beside {others} other faults, IP{family:?}, {at:?}"),
                    lab: &crowd.lab,
                    at,
                    frames: &[stranger(family, at)],
                    beside: None,
                });
            }
        }
    }
    Ok(())
}

/// Different packets that no fault of a crowd names.
fn strangers(family: Family, at: At) -> Vec<Vec<u8>> {
    (0..8)
        .map(|n| {
            let packet = match at {
                At::Egress => Packet::leaving(family, Transport::Udp),
                _ => Packet::arriving(family, Transport::Udp),
            };
            match family {
                Family::V4 => packet.with_far([10, 150, n, 7].into()),
                Family::V6 => packet.with_far([0xfd42, 0, 0, 0, 0, 0, n.into(), 7].into()),
            }
            .frame()
        })
        .collect()
}

/// Requests and look-ups that a rule asks about and does not name: over a packet of the same flow, and as long, that is
/// no request.
///
/// # Errors
/// Without root.
pub fn looking(show: Show<'_>) -> Result<(), Skip> {
    let mut lab = Lab::new()?;
    lab.inject(&Injection::new("{direction: ingress}", "{partition: {}}"));
    let browser = "Host: shop.example.com\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n";
    let late = "User-Agent: curl/7.88.1\r\nAccept: */*\r\nHost: shop.example.com\r\n\r\n";
    let http = |rule: &str| format!("{{http: {{status: 503, {rule}}}}}");
    let request = |line: &str, headers: &str| format!("{line}\r\n{headers}").into_bytes();
    let segment = Transport::Tcp {
        flags: super::flag::ACK | super::flag::PSH,
        sequence: 1_000_000,
        acknowledgement: 2_000_000,
    };
    let get = "GET /shop/items/1234?page=2 HTTP/1.1";
    let look_up = crate::dns::Query::new("shop.internal.example.com", crate::dns::kind::A)
        .with_edns()
        .bytes();
    let dns = |rule: &str| format!("{{dns: {{answer: nxdomain, {rule}}}}}");
    let rows = [
        (
            "another method",
            http("method: POST"),
            segment,
            request(get, browser),
        ),
        ("another path", http("path: /pay"), segment, request(get, browser)),
        (
            "another path, by its begin",
            http("path: '/pay/*'"),
            segment,
            request(get, browser),
        ),
        (
            "another path, by its end",
            http("path: '*.json'"),
            segment,
            request(get, browser),
        ),
        (
            "another host",
            http("host: payments.example.com"),
            segment,
            request(get, browser),
        ),
        (
            "another host, in the fourth line",
            http("host: payments.example.com"),
            segment,
            request(get, late),
        ),
        (
            "another name",
            dns("names: db.example.com"),
            Transport::Udp,
            look_up.clone(),
        ),
        (
            "another name, by its end",
            dns("names: '*.example.org'"),
            Transport::Udp,
            look_up.clone(),
        ),
        ("another type", dns("types: AAAA"), Transport::Udp, look_up),
    ];
    for (name, fault, transport, payload) in rows {
        let id = lab.inject(&Injection::new("{remote: {ports: [7777]}}", fault));
        for family in [Family::V4, Family::V6] {
            let packet = Packet::leaving(family, transport);
            let asks = packet.clone().with_bytes(&payload).frame();
            let none = packet.with_bytes(&vec![b'x'; payload.len()]).frame();
            show(&Case {
                name: format!("{name}, IP{family:?}"),
                lab: &lab,
                at: At::Egress,
                frames: &[asks],
                beside: Some(&none),
            });
        }
        assert_eq!(lab.counters(id).matched, 0, "{name}");
        lab.end(&[id]);
    }
    Ok(())
}

/// How the cost of a packet that no fault names adds up: each line goes one step further.
///
/// # Errors
/// Without root.
pub fn steps(show: Show<'_>) -> Result<(), Skip> {
    let mut lab = Lab::new()?;
    let mut arp = [super::FAR_MAC, super::NEAR_MAC].concat();
    arp.extend([0x08, 0x06]);
    arp.extend([0; 46]);
    let udp = stranger(Family::V4, At::Egress);
    let mut say = |name: &str, lab: &Lab, frame: &[u8]| {
        show(&Case {
            name: name.to_owned(),
            lab,
            at: At::Egress,
            frames: &[frame.to_vec()],
            beside: None,
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
pub fn addresses(show: Show<'_>) -> Result<(), Skip> {
    let mut lab = Lab::new()?;
    for count in [1, 65_534_u32] {
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
                show(&Case {
                    name: format!("{count} {what}, {verb}"),
                    lab: &lab,
                    at: At::Egress,
                    frames: &[packet.frame()],
                    beside: None,
                });
            }
            lab.end(&[id]);
        }
    }
    Ok(())
}
