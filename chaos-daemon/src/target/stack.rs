//! Interfaces that stand on others. A packet that passes a bridge passes one of its ports as well; a fault that names no
//! interface means the packets of a namespace, each once, so of such interfaces it means one.

use std::collections::{HashMap, HashSet};

use chaos_spec::WarningKind;

use super::link::Link;

/// Kinds whose ports see all of their packets, and more: what is switched passes ports alone.
const SWITCHES: [&str; 2] = ["bridge", "openvswitch"];
/// The same of what is routed.
const ROUTERS: [&str; 1] = ["vrf"];
/// Kinds that see all packets of their ports. So does a master without a kind: Hyper-V's and virtio's adapters, of which
/// a port may take some packets and leave others.
const BUNDLES: [&str; 2] = ["bond", "team"];
/// Kinds whose frames are those of the interface below, with a tag.
const TAGGED: [&str; 1] = ["vlan"];
/// Kinds of which some packets pass the interface below, and others do not.
const SIBLINGS: [&str; 4] = ["macvlan", "macvtap", "ipvlan", "ipvtap"];
/// Kinds that wrap packets, which then leave by another interface: two packets, of which a fault may name either.
const TUNNELS: [&str; 18] = [
    "batadv",
    "erspan",
    "geneve",
    "gre",
    "gretap",
    "hsr",
    "ip6erspan",
    "ip6gre",
    "ip6gretap",
    "ip6tnl",
    "ipip",
    "macsec",
    "sit",
    "vti",
    "vti6",
    "vxlan",
    "wireguard",
    "xfrm",
];

/// Notes which of all interfaces of a namespace are covered by others, and which are ports of a switch.
pub(super) fn cover(links: &mut [Link]) {
    let usable: HashMap<u32, &Link> = links
        .iter()
        .filter(|link| is_usable(link))
        .map(|link| (link.interface.index, link))
        .collect();
    let (mut covered, mut switched) = (HashSet::new(), HashSet::new());
    for link in usable.values() {
        let index = link.interface.index;
        if is(link, &TAGGED) && link.below.is_some_and(|below| usable.contains_key(&below)) {
            covered.insert(index);
        }
        if let Some(master) = link.master.and_then(|master| usable.get(&master)) {
            if is(master, &SWITCHES) {
                switched.insert(index);
            }
            if is(master, &SWITCHES) || is(master, &ROUTERS) {
                covered.insert(master.interface.index);
            } else if is(master, &BUNDLES) || master.interface.kind.is_none() {
                covered.insert(index);
            }
        }
    }
    for link in links {
        let interface = &mut link.interface;
        interface.covered = covered.contains(&interface.index);
        interface.switched = switched.contains(&interface.index);
    }
}

/// What to say of the interfaces of a namespace that are meant, by these names or by default, when some stand on others.
pub(super) fn warning(links: &[Link], names: &[String]) -> Option<WarningKind> {
    let is_meant = |link: &&Link| {
        let interface = &link.interface;
        let by_default = names.is_empty() && !interface.covered;
        is_usable(link) && (names.contains(&interface.name) || by_default)
    };
    let meant: Vec<&Link> = links.iter().filter(is_meant).collect();
    let is_below = |link: &Link| {
        meant
            .iter()
            .any(|other| link.below == Some(other.interface.index))
    };
    let stands_on_others =
        |link: &&&Link| link.interface.covered || is(link, &TUNNELS) || is(link, &SIBLINGS) && is_below(link);
    let stacked = meant.iter().find(stands_on_others)?;
    (meant.len() > 1).then(|| WarningKind::StackedInterfaces {
        interface: stacked.interface.name.clone(),
    })
}

fn is_usable(link: &Link) -> bool {
    !link.interface.loopback && link.link_type.can_be_parsed()
}

fn is(link: &Link, kinds: &[&str]) -> bool {
    link.interface
        .kind
        .as_deref()
        .is_some_and(|kind| kinds.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Interface;
    use crate::target::link::LinkType;

    /// Index, name, kind, master, below.
    type Row = (u32, &'static str, Option<&'static str>, Option<u32>, Option<u32>);

    fn links(rows: &[Row]) -> Vec<Link> {
        let link = |&(index, name, kind, master, below): &Row| Link {
            interface: Interface {
                index,
                name: name.to_owned(),
                up: true,
                loopback: name == "lo",
                kind: kind.map(str::to_owned),
                ethernet: true,
                covered: false,
                switched: false,
            },
            link_type: LinkType(if name == "can0" { 280 } else { 1 }),
            master,
            below,
        };
        let mut links: Vec<Link> = rows.iter().map(link).collect();
        cover(&mut links);
        links
    }

    fn meant(rows: &[Row]) -> Vec<String> {
        let all = links(rows);
        let open = all.into_iter().filter(|link| !link.interface.covered);
        open.map(|link| link.interface.name).collect()
    }

    fn warned(rows: &[Row], names: &[&str]) -> Option<String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        warning(&links(rows), &names).map(|kind| match kind {
            WarningKind::StackedInterfaces { interface } => interface,
            other => panic!("{other:?}"),
        })
    }

    const VETH: Option<&str> = Some("veth");
    const CONTAINER_HOST: [Row; 5] = [
        (1, "lo", None, None, None),
        (2, "eth0", None, None, None),
        (3, "docker0", Some("bridge"), None, None),
        (4, "veth1", VETH, Some(3), Some(2)),
        (5, "docker1", Some("bridge"), None, None),
    ];

    #[test]
    fn of_a_bridge_the_ports_are_meant_and_without_ports_the_bridge() {
        assert_eq!(meant(&CONTAINER_HOST), ["lo", "eth0", "veth1", "docker1"]);
        let all = links(&CONTAINER_HOST);
        let ports = all.iter().filter(|link| link.interface.switched);
        assert_eq!(
            ports.map(|link| link.interface.name.as_str()).collect::<Vec<_>>(),
            ["veth1"]
        );
        assert_eq!(warned(&CONTAINER_HOST, &[]), None);
        assert_eq!(warned(&CONTAINER_HOST, &["docker0"]), None);
        assert_eq!(
            warned(&CONTAINER_HOST, &["docker0", "veth1"]).as_deref(),
            Some("docker0")
        );
    }

    #[test]
    fn of_a_bond_the_bond_is_meant_whatever_stands_on_it() {
        let rows: [Row; 6] = [
            (2, "eth0", None, Some(4), None),
            (3, "eth1", None, Some(4), None),
            (4, "bond0", Some("bond"), Some(6), None),
            (5, "bond0.7", Some("vlan"), None, Some(4)),
            (6, "br0", Some("bridge"), None, None),
            (7, "br0.9", Some("vlan"), None, Some(6)),
        ];
        assert_eq!(meant(&rows), ["bond0"]);
        assert_eq!(warned(&rows, &[]), None);
    }

    #[test]
    fn a_vlan_is_meant_by_itself_where_what_is_below_is_not_here_or_cannot_be_used() {
        let rows: [Row; 4] = [
            (2, "eth0.7", Some("vlan"), None, None),
            (3, "can0", None, None, None),
            (4, "odd.7", Some("vlan"), None, Some(3)),
            (5, "gone.7", Some("vlan"), None, Some(99)),
        ];
        assert_eq!(meant(&rows), ["eth0.7", "can0", "odd.7", "gone.7"]);
    }

    #[test]
    fn an_accelerated_adapter_is_meant_without_its_helper() {
        let rows: [Row; 2] = [(2, "eth0", None, None, None), (3, "enP1", None, Some(2), None)];
        assert_eq!(meant(&rows), ["eth0"]);
    }

    #[test]
    fn what_may_pass_two_is_said() {
        let macvlan: [Row; 2] = [
            (2, "eth0", None, None, None),
            (3, "shim", Some("macvlan"), None, Some(2)),
        ];
        assert_eq!(meant(&macvlan), ["eth0", "shim"]);
        assert_eq!(warned(&macvlan, &[]).as_deref(), Some("shim"));
        assert_eq!(warned(&macvlan, &["shim"]), None);
        let tunnel: [Row; 2] = [
            (2, "eth0", None, None, None),
            (3, "wg0", Some("wireguard"), None, None),
        ];
        assert_eq!(warned(&tunnel, &[]).as_deref(), Some("wg0"));
        assert_eq!(warned(&tunnel[1..], &[]), None);
        // The peer of a veth is no interface below it.
        let cable: [Row; 2] = [(2, "a", VETH, None, Some(3)), (3, "b", VETH, None, Some(2))];
        assert_eq!(warned(&cable, &[]), None);
    }
}
