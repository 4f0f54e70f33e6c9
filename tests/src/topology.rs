//! The networks that tests run on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::{Device, Netns, Since, Skip, require_feature, veth};

/// A namespace with one device, one IPv4 and one IPv6 address.
#[derive(Clone, Debug)]
pub struct Host {
    pub netns: Netns,
    pub device: Device,
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
}

/// Client and server on one cable.
#[derive(Debug)]
pub struct Pair {
    pub client: Host,
    pub server: Host,
}

/// Client, server and a third host, each on a cable of its own to a router.
#[derive(Debug)]
pub struct Router {
    pub client: Host,
    pub server: Host,
    pub third: Host,
    pub router: Netns,
    /// The router's devices towards client, server and third host.
    pub ports: [Device; 3],
}

impl Host {
    /// Both addresses, IPv4 first.
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }

    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.v4.into(), port)
    }

    pub fn at6(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.v6.into(), port)
    }

    /// A further address on the same device.
    pub fn also_v4(&self, address: Ipv4Addr, bits: u8) {
        self.device.add_v4(address, bits);
    }
}

impl Pair {
    /// C (10.77.0.1, fd77::1) and S (10.77.0.2, fd77::2).
    #[allow(clippy::new_without_default, reason = "making namespaces is no default")]
    pub fn new() -> Self {
        crate::stall::watch_for_stalls();
        let (c, s) = (Netns::new(), Netns::new());
        let (c0, s0) = veth((&c, "c0"), (&s, "s0"));
        let host = |netns: Netns, device: Device, n: u8| {
            let (v4, v6) = (
                Ipv4Addr::new(10, 77, 0, n),
                Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, n.into()),
            );
            device.add_v4(v4, 24);
            device.add_v6(v6, 64);
            Host {
                netns,
                device,
                v4,
                v6,
            }
        };
        Self {
            client: host(c, c0, 1),
            server: host(s, s0, 2),
        }
    }
}

impl Router {
    /// Client 10.77.1.2, server 10.77.2.2, third 10.77.3.2, and fd77:N::2 likewise; the router has .1 on each.
    #[allow(clippy::new_without_default, reason = "making namespaces is no default")]
    pub fn new() -> Self {
        let router = Netns::new();
        router.sysctl("ipv4/ip_forward", "1");
        router.sysctl("ipv6/conf/all/forwarding", "1");
        let attach = |name: &str, n: u8| {
            let netns = Netns::new();
            let (device, port) = veth((&netns, &format!("{name}0")), (&router, &format!("r-{name}")));
            let v4 = |host: u8| Ipv4Addr::new(10, 77, n, host);
            let v6 = |host: u16| Ipv6Addr::new(0xfd77, n.into(), 0, 0, 0, 0, 0, host);
            device.add_v4(v4(2), 24);
            device.add_v6(v6(2), 64);
            port.add_v4(v4(1), 24);
            port.add_v6(v6(1), 64);
            netns.ip(&format!("route add default via {}", v4(1)));
            netns.ip(&format!("-6 route add default via {}", v6(1)));
            (
                Host {
                    netns,
                    device,
                    v4: v4(2),
                    v6: v6(2),
                },
                port,
            )
        };
        let (client, c) = attach("c", 1);
        let (server, s) = attach("s", 2);
        let (third, t) = attach("t", 3);
        Self {
            client,
            server,
            third,
            router,
            ports: [c, s, t],
        }
    }
}

/// Whether the kernel has the queue by which the kernel line lets packets wait: asks for one.
///
/// # Errors
/// It has none.
pub fn require_fq() -> Result<(), Skip> {
    static WORKS: OnceLock<bool> = OnceLock::new();
    let works = WORKS.get_or_init(|| {
        Netns::new().enter(|| {
            Command::new("tc")
                .args(["qdisc", "add", "dev", "lo", "root", "fq"])
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
    });
    require_feature("fq", Since::Config("CONFIG_NET_SCH_FQ"), *works)
}
