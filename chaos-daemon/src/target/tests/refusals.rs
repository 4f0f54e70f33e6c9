use chaos_spec::{PodsTarget, Target, TargetKind};

use super::fixture::{Sleeper, TestCgroup, TestNetns, privileged};
use crate::target::{TargetError, resolve};

/// The refusal, which must also be a whole message: what, why, and what to do.
fn refusal(target: &Target) -> TargetError {
    let error = resolve(target, &[]).expect_err("must be refused");
    let text = error.to_string();
    assert!(text.contains(" – "), "no advice: {text}");
    println!("{target}: {text}");
    error
}

#[test]
fn a_cgroup_that_does_not_exist_names_its_neighbours() {
    if !privileged() {
        return;
    }
    let cgroup = TestCgroup::new();
    let child = cgroup.child("web.service");
    let error = refusal(&Target::cgroup(format!("{}/wbe.service/x", cgroup.name)));
    let TargetError::NoSuchCgroup { parent, siblings, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((parent, siblings.as_str()), (cgroup.name.clone(), "web.service"));
    drop(child);
    assert!(matches!(
        refusal(&Target::cgroup("relative/path")),
        TargetError::BadCgroupPath(_)
    ));
}

#[test]
fn a_v1_path_is_told_apart() {
    if !privileged() || !std::path::Path::new("/sys/fs/cgroup/memory").is_dir() {
        return;
    }
    let Some(child) = std::fs::read_dir("/sys/fs/cgroup/memory")
        .unwrap()
        .flatten()
        .find(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
    else {
        return;
    };
    let error = refusal(&Target::cgroup(child.path().to_str().unwrap()));
    assert!(matches!(error, TargetError::CgroupV1Path { .. }));
}

#[test]
fn processes_that_cannot_be_hit() {
    if !privileged() {
        return;
    }
    assert!(matches!(
        refusal(&Target::pid(4_194_303)),
        TargetError::NoSuchProcess(_)
    ));
    // A thread of this very process, which is not its first.
    let thread = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|&tid| tid != std::process::id())
        .unwrap();
    assert!(matches!(
        refusal(&Target::pid(thread)),
        TargetError::IsAThread { .. }
    ));
}

#[test]
fn paths_that_are_no_network_namespace() {
    if !privileged() {
        return;
    }
    assert!(matches!(
        refusal(&Target::netns("chaos-none")),
        TargetError::NoSuchNetns { .. }
    ));
    assert!(matches!(
        refusal(&Target::netns("/run/netns/chaos-none")),
        TargetError::NoSuchNetns { .. }
    ));
    assert!(matches!(
        refusal(&Target::netns("/etc/hostname")),
        TargetError::NotANetns(_)
    ));
    // A namespace, but of another kind; a process with its own, else the id would be that of the test.
    let sleeper = Sleeper::wrapped(None, None, "unshare --uts");
    let uts = format!("/proc/{}/ns/uts", sleeper.pid());
    assert!(matches!(refusal(&Target::netns(uts)), TargetError::NotANetns(_)));
}

#[test]
fn interfaces_that_cannot_be_used() {
    if !privileged() {
        return;
    }
    let netns = TestNetns::empty();
    let target = Target::netns(&netns.name);
    assert!(matches!(refusal(&target), TargetError::NoInterfaceUp { .. }));
    netns.ip("link add d0 type bridge");
    assert!(
        matches!(refusal(&target), TargetError::NoInterfaceUp { .. }),
        "d0 is down"
    );
    let down = refusal(&Target::interface("d0", Some(netns.name.clone())));
    let TargetError::InterfaceDown { remedy, .. } = down else {
        panic!("{down}");
    };
    assert_eq!(remedy, format!("ip -n {} link set d0 up", netns.name));
    let missing = refusal(&target.with_interfaces(["eth7"]));
    assert!(missing.to_string().contains("d0 (down), lo (down)"), "{missing}");
}

#[test]
fn the_hosts_own_loopback_is_spared() {
    if !privileged() {
        return;
    }
    assert!(matches!(
        refusal(&Target::interface("lo", None)),
        TargetError::OwnLoopback
    ));
    assert!(matches!(
        refusal(&Target::host().with_interfaces(["lo"])),
        TargetError::OwnLoopback
    ));
    let own = format!("/proc/{}/ns/net", std::process::id());
    assert!(matches!(
        refusal(&Target::interface("lo", Some(own))),
        TargetError::OwnLoopback
    ));
}

#[test]
fn contradictions_and_strangers() {
    let target = Target::interface("a0", None).with_interfaces(["b0"]);
    assert!(matches!(
        refusal(&target),
        TargetError::InterfacesContradict { .. }
    ));
    let pods = Target::from(TargetKind::Pods(PodsTarget {
        namespace: "shop".to_owned(),
        label_selector: "app=orders".to_owned(),
        select: None,
        follow: None,
    }));
    assert!(matches!(refusal(&pods), TargetError::NeedsOperator));
}
