//! Cables between namespaces.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::process::{run, succeeds};
use crate::{Netns, Since, Skip, eventually, require_feature};

/// One end of a cable that a test made. There is no other way to come by one, so no test can name a device of the
/// machine's own namespace.
#[derive(Clone, Debug)]
pub struct Device {
    netns: Netns,
    name: String,
}

impl Device {
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives it an address without duplicate detection, so that it can be used at once.
    pub fn add_v4(&self, address: Ipv4Addr, bits: u8) {
        self.netns
            .ip(&format!("address add {address}/{bits} dev {}", self.name));
    }

    pub fn add_v6(&self, address: Ipv6Addr, bits: u8) {
        self.netns
            .ip(&format!("address add {address}/{bits} dev {} nodad", self.name));
    }

    pub fn mac(&self) -> [u8; 6] {
        let path = format!("/sys/class/net/{}/address", self.name);
        // sysfs shows the namespace it was mounted in, so ask `ip` instead.
        let text = self.netns.ip(&format!("-j link show dev {}", self.name));
        let links: serde_json::Value = serde_json::from_str(&text).expect("ip -j prints JSON");
        let address = links[0]["address"]
            .as_str()
            .unwrap_or_else(|| panic!("{path}: no address"));
        let mut mac = [0; 6];
        for (byte, hex) in mac.iter_mut().zip(address.split(':')) {
            *byte = u8::from_str_radix(hex, 16).expect("ip prints hex");
        }
        mac
    }

    pub fn ifindex(&self) -> u32 {
        let text = self.netns.ip(&format!("-j link show dev {}", self.name));
        let links: serde_json::Value = serde_json::from_str(&text).expect("ip -j prints JSON");
        links[0]["ifindex"]
            .as_u64()
            .and_then(|n| u32::try_from(n).ok())
            .expect("every link has an index")
    }

    /// Has what arrives here received by one processor a flow, whichever processor sent it (RPS). Else a veth swaps what
    /// two processors send for one socket.
    pub fn steer(&self) {
        let cpus = std::thread::available_parallelism()
            .map_or(1, std::num::NonZero::get)
            .min(32);
        let mask = (1_u64 << cpus) - 1;
        let command = format!(
            "for queue in /sys/class/net/{}/queues/rx-*; do echo {mask:x} > $queue/rps_cpus; done",
            self.name
        );
        // There, sysfs shows the namespace.
        run(&["ip", "netns", "exec", self.netns.name(), "sh", "-c", &command]);
    }

    /// Puts a clsact qdisc on it, with an egress filter of somebody else that lets all pass.
    pub fn add_foreign_filter(&self) {
        let name = &self.name;
        self.netns.tc(&format!("qdisc add dev {name} clsact"));
        let filter = "egress pref 7 handle 3 bpf bytecode".split(' ');
        let argv: Vec<&str> = ["tc", "filter", "add", "dev", name]
            .into_iter()
            .chain(filter)
            .chain(["1,6 0 0 0"])
            .collect();
        self.netns.run(&argv);
    }

    /// Makes a device of the same namespace a port of this one.
    pub fn take_in(&self, port: &Device) {
        assert_eq!(
            port.netns.inode(),
            self.netns.inode(),
            "ports are where their master is"
        );
        self.netns
            .ip(&format!("link set {} master {}", port.name, self.name));
    }

    /// Deletes the cable.
    pub fn delete_now(&self) {
        self.netns.ip(&format!("link delete {}", self.name));
    }
}

/// A veth pair, both ends up. It ends with either namespace.
pub fn veth(a: (&Netns, &str), b: (&Netns, &str)) -> (Device, Device) {
    let ((a_ns, a_name), (b_ns, b_name)) = (a, b);
    // Made inside: not for an instant is there a new device in the machine's namespace.
    a_ns.ip(&format!(
        "link add {a_name} type veth peer name {b_name} netns {}",
        b_ns.name()
    ));
    let ends = (
        Device {
            netns: a_ns.clone(),
            name: a_name.to_owned(),
        },
        Device {
            netns: b_ns.clone(),
            name: b_name.to_owned(),
        },
    );
    for end in [&ends.0, &ends.1] {
        // Router advertisements and address detection would be packets that no test sent.
        end.netns.sysctl("ipv6/conf/all/accept_dad", "0");
        end.netns
            .sysctl(&format!("ipv6/conf/{}/accept_dad", end.name), "0");
        end.netns
            .sysctl(&format!("ipv6/conf/{}/router_solicitations", end.name), "0");
        end.netns.ip(&format!("link set {} up", end.name));
    }
    for end in [&ends.0, &ends.1] {
        eventually(std::time::Duration::from_secs(5), "the cable is up", || {
            end.netns
                .ip(&format!("link show dev {}", end.name))
                .contains("state UP")
        });
    }
    ends
}

/// A VLAN device `<name>.<id>` on a device, up.
///
/// # Errors
/// This kernel has none.
pub fn vlan(parent: &Device, id: u16) -> Result<Device, Skip> {
    let name = format!("{}.{id}", parent.name);
    let how = format!("link {} name {name} type vlan id {id}", parent.name);
    another(&parent.netns, &name, &how, "CONFIG_VLAN_8021Q")
}

/// A VXLAN tunnel `<name>` from a device to an address behind it, up.
///
/// # Errors
/// This kernel has none.
pub fn vxlan(parent: &Device, name: &str, remote: Ipv4Addr) -> Result<Device, Skip> {
    let how = format!(
        "{name} type vxlan id 7 dev {} remote {remote} dstport 4789",
        parent.name
    );
    another(&parent.netns, name, &how, "CONFIG_VXLAN")
}

/// A bridge with these ports, up.
///
/// # Errors
/// This kernel has none.
pub fn bridge(netns: &Netns, name: &str, ports: &[&Device]) -> Result<Device, Skip> {
    let bridge = another(netns, name, &format!("{name} type bridge"), "CONFIG_BRIDGE")?;
    for port in ports {
        bridge.take_in(port);
    }
    Ok(bridge)
}

/// A bond, of whose ports one is used, up.
///
/// # Errors
/// This kernel has none.
pub fn bond(netns: &Netns, name: &str, ports: &[&Device]) -> Result<Device, Skip> {
    let how = format!("{name} type bond mode active-backup miimon 50");
    let bond = another(netns, name, &how, "CONFIG_BONDING")?;
    for port in ports {
        netns.ip(&format!("link set {} down", port.name));
        bond.take_in(port);
        netns.ip(&format!("link set {} up", port.name));
    }
    Ok(bond)
}

/// A macvlan beside others on a device, up.
///
/// # Errors
/// This kernel has none.
pub fn macvlan(parent: &Device, name: &str) -> Result<Device, Skip> {
    let how = format!("link {} name {name} type macvlan mode bridge", parent.name);
    another(&parent.netns, name, &how, "CONFIG_MACVLAN")
}

/// An ipvlan on a device, up, in mode `l2`, `l3` or `l3s`.
///
/// # Errors
/// This kernel has none.
pub fn ipvlan(parent: &Device, name: &str, mode: &str) -> Result<Device, Skip> {
    let how = format!("link {} name {name} type ipvlan mode {mode}", parent.name);
    another(&parent.netns, name, &how, "CONFIG_IPVLAN")
}

/// One more device, made by `ip link add <how>`, up.
fn another(netns: &Netns, name: &str, how: &str, config: &'static str) -> Result<Device, Skip> {
    let argv: Vec<&str> = ["ip", "link", "add"].into_iter().chain(how.split(' ')).collect();
    let made = netns.enter(|| succeeds(&argv));
    let kind = how.split(' ').skip_while(|word| *word != "type").nth(1);
    require_feature(
        &format!("{} device", kind.unwrap_or(how)),
        Since::Config(config),
        made,
    )?;
    netns.sysctl(&format!("ipv6/conf/{name}/accept_dad"), "0");
    netns.ip(&format!("link set {name} up"));
    Ok(Device {
        netns: netns.clone(),
        name: name.to_owned(),
    })
}
