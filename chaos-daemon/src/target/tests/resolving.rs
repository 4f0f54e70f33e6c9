use std::os::unix::fs::MetadataExt as _;

use chaos_spec::{Target, WarningKind};

use super::fixture::{Sleeper, TestCgroup, TestNetns, privileged};
use crate::target::{Identity, Netns, Place, Resolved, resolve};

fn find(target: &Target) -> Resolved {
    resolve(target, &[]).unwrap_or_else(|error| panic!("{target}: {error}"))
}

pub(super) fn names(place: &Place) -> Vec<&str> {
    place
        .interfaces
        .iter()
        .map(|interface| interface.name.as_str())
        .collect()
}

#[test]
fn a_namespace_by_name_and_by_path() {
    if !privileged() {
        return;
    }
    let netns = TestNetns::with_veth();
    let found = find(&Target::netns(&netns.name));
    assert_eq!(found.identity, Identity::Whole);
    assert!(found.warnings.is_empty());
    let [place] = found.places.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(place.netns.label, format!("netns:{}", netns.name));
    assert!(!place.netns.is_own);
    let mut interfaces = names(place);
    interfaces.sort_unstable();
    assert_eq!(interfaces, ["a0", "b0"], "no loopback by default");
    for interface in &place.interfaces {
        assert!(interface.up && !interface.loopback && interface.ethernet);
        assert_eq!(interface.kind.as_deref(), Some("veth"));
    }
    let by_path = find(&Target::netns(netns.path().to_str().unwrap()));
    assert_eq!(by_path.places, found.places);
    let inside = place
        .netns
        .run(|| nix::net::if_::if_nametoindex("a0").unwrap())
        .unwrap();
    let a0 = place
        .interfaces
        .iter()
        .find(|interface| interface.name == "a0")
        .unwrap();
    assert_eq!(inside, a0.index);
    assert!(
        nix::net::if_::if_nametoindex("a0").is_err(),
        "the calling thread must have stayed outside"
    );
}

#[test]
fn named_interfaces_narrow_and_lo_must_be_named() {
    if !privileged() {
        return;
    }
    let netns = TestNetns::with_veth();
    netns.ip("link set lo up");
    let found = resolve(&Target::netns(&netns.name), &["a0".to_owned()]).unwrap();
    assert_eq!(names(&found.places[0]), ["a0"]);
    let found = find(&Target::netns(&netns.name).with_interfaces(["lo", "b0"]));
    assert_eq!(names(&found.places[0]).len(), 2);
    assert!(found.places[0].interfaces[0].loopback);
    let found = find(&Target::interface("b0", Some(netns.name.clone())));
    assert_eq!(
        (names(&found.places[0]), &found.identity),
        (vec!["b0"], &Identity::Whole)
    );
}

#[test]
fn a_down_interface_is_in_the_default_set_beside_one_that_is_up() {
    if !privileged() {
        return;
    }
    let netns = TestNetns::with_veth();
    netns.ip("link add d0 type bridge");
    netns.ip("tuntap add t0 mode tun");
    let found = find(&Target::netns(&netns.name));
    let place = &found.places[0];
    let get = |name: &str| {
        place
            .interfaces
            .iter()
            .find(|interface| interface.name == name)
            .unwrap()
    };
    assert!(!get("d0").up);
    assert_eq!(get("d0").kind.as_deref(), Some("bridge"));
    assert!(!get("t0").ethernet);
    assert!(found.warnings.is_empty(), "silently");
}

#[test]
fn a_cgroup_spans_the_namespaces_of_all_below_it() {
    if !privileged() {
        return;
    }
    let (blue, red) = (TestNetns::with_veth(), TestNetns::with_veth());
    let cgroup = TestCgroup::new();
    let child = cgroup.child("inner");
    let one = Sleeper::start(Some(&cgroup), Some(&blue));
    let two = Sleeper::start(Some(&child), Some(&red));
    let three = Sleeper::start(Some(&child), Some(&red));
    let found = find(&Target::cgroup(&cgroup.name));
    let inode = std::fs::metadata(&cgroup.directory).unwrap().ino();
    assert_eq!(
        found.identity,
        Identity::Cgroup {
            id: inode,
            level: 1,
            path: cgroup.directory.clone()
        }
    );
    let mut labels: Vec<_> = found
        .places
        .iter()
        .map(|place| place.netns.label.clone())
        .collect();
    let mut expected = vec![format!("netns:{}", blue.name), format!("netns:{}", red.name)];
    labels.sort();
    expected.sort();
    assert_eq!(labels, expected);
    // The full path below the mount is the same cgroup.
    let full = find(&Target::cgroup(child.directory.to_str().unwrap()));
    assert!(matches!(full.identity, Identity::Cgroup { level: 2, .. }));
    assert_eq!(full.places.len(), 1, "two processes, one namespace");
    drop((one, two, three));
}

#[test]
fn an_empty_cgroup_is_followed() {
    if !privileged() {
        return;
    }
    let cgroup = TestCgroup::new();
    let found = find(&Target::cgroup(&cgroup.name));
    assert!(found.places.is_empty());
    assert_eq!(
        found.warnings,
        [WarningKind::FollowingEmptyCgroup {
            path: cgroup.name.clone()
        }]
    );
}

#[test]
fn a_process_by_pid() {
    if !privileged() {
        return;
    }
    let netns = TestNetns::with_veth();
    let sleeper = Sleeper::start(None, Some(&netns));
    let found = find(&Target::pid(sleeper.pid()));
    assert_eq!(found.identity, Identity::Process { pid: sleeper.pid() });
    assert_eq!(found.places[0].netns, Netns::named(&netns.name).unwrap());
}

#[test]
fn the_host_is_its_own_namespace_without_loopback() {
    if !privileged() {
        return;
    }
    let found = find(&Target::host());
    assert_eq!(found.warnings, [WarningKind::HostTarget]);
    let [place] = found.places.as_slice() else {
        panic!("{found:?}");
    };
    assert!(place.netns.is_own);
    assert_eq!(place.netns.label, "host");
    assert!(place.interfaces.iter().all(|interface| !interface.loopback));
    assert_eq!(place.netns, Netns::named("/proc/self/ns/net").unwrap());
}

#[test]
fn a_namespace_is_found_again_when_its_first_process_is_gone() {
    if !privileged() {
        return;
    }
    let netns = TestNetns::empty();
    let mut first = Sleeper::start(None, Some(&netns));
    let found = Netns::of_pid(first.pid()).unwrap();
    first.end();
    assert!(found.run(|| ()).is_ok(), "through the name");
    let second = Sleeper::start(None, Some(&netns));
    netns.delete();
    assert!(found.run(|| ()).is_ok(), "through the other process");
    drop(second);
    super::fixture::until("the namespace is gone", || found.run(|| ()).is_err());
}
