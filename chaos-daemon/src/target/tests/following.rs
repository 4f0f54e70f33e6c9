use std::time::{Duration, Instant};

use chaos_spec::Target;

use super::fixture::{Sleeper, TestCgroup, TestNetns, privileged, until};
use super::resolving::names;
use crate::target::process::Process;
use crate::target::watch::Anchor;
use crate::target::{Liveness, Resolved, check, resolve};

fn is_alive(target: &Target, last: &Resolved) -> bool {
    matches!(check(target, &[], last), Liveness::Alive)
}

/// What checks say in the end; a device that came or went shows within a moment, all else at once.
fn settled(target: &Target, last: &Resolved) -> Liveness {
    let mut found = Liveness::Alive;
    until("the check sees the change", || {
        found = check(target, &[], last);
        !matches!(found, Liveness::Alive)
    });
    found
}

fn changed(target: &Target, last: &Resolved) -> Resolved {
    match settled(target, last) {
        Liveness::Changed(now) => now,
        other => panic!("{target}: {other:?}"),
    }
}

fn gone(target: &Target, last: &Resolved) -> String {
    match settled(target, last) {
        Liveness::Gone(reason) => reason,
        other => panic!("{target}: {other:?}"),
    }
}

#[test]
fn a_cgroup_is_followed_into_new_namespaces_and_out_of_old_ones() {
    if !privileged() {
        return;
    }
    let (blue, red) = (TestNetns::with_veth(), TestNetns::with_veth());
    let cgroup = TestCgroup::new();
    let target = Target::cgroup(&cgroup.name);
    let empty = resolve(&target, &[]).unwrap();
    assert!(is_alive(&target, &empty));
    let mut one = Sleeper::start(Some(&cgroup), Some(&blue));
    let first = changed(&target, &empty);
    assert_eq!(first.places.len(), 1);
    assert!(first.warnings.is_empty(), "it is not empty any more");
    assert!(is_alive(&target, &first));
    let mut two = Sleeper::start(Some(&cgroup), Some(&red));
    let both = changed(&target, &first);
    assert_eq!(both.places.len(), 2);
    one.end();
    let second = changed(&target, &both);
    assert_eq!(second.places.len(), 1);
    assert_eq!(second.places[0].netns.label, format!("netns:{}", red.name));
    two.end();
    assert!(
        changed(&target, &second).places.is_empty(),
        "empty again, not gone"
    );
    cgroup.remove();
    assert!(gone(&target, &second).contains("removed"));
    std::fs::create_dir(&cgroup.directory).unwrap();
    assert!(
        gone(&target, &second).contains("removed"),
        "a new one under the old path is another one"
    );
}

#[test]
fn a_new_witness_gives_a_new_way_in() {
    if !privileged() {
        return;
    }
    // No name: the only way into this namespace is through its processes.
    let cgroup = TestCgroup::new();
    let netns = TestNetns::with_veth();
    let mut one = Sleeper::start(Some(&cgroup), Some(&netns));
    let two = Sleeper::start(Some(&cgroup), Some(&netns));
    netns.delete();
    let target = Target::cgroup(&cgroup.name);
    let before = resolve(&target, &[]).unwrap();
    assert_eq!(before.places[0].netns.label, format!("pid:{}", one.pid()));
    one.end();
    let after = changed(&target, &before);
    assert_eq!(after.places, before.places, "equal: nothing to attach anew");
    assert_eq!(after.places[0].netns.label, format!("pid:{}", two.pid()));
    assert!(is_alive(&target, &after));
}

#[test]
fn a_process_ends_and_its_pid_is_reused() {
    if !privileged() {
        return;
    }
    let netns = TestNetns::with_veth();
    let mut sleeper = Sleeper::start(None, Some(&netns));
    let target = Target::pid(sleeper.pid());
    let found = resolve(&target, &[]).unwrap();
    assert!(is_alive(&target, &found));
    let mut reused = found.clone();
    let process = Process::find(sleeper.pid()).unwrap();
    reused.watch.anchor = Anchor::Process(Process {
        start: process.start - 1,
        ..process
    });
    assert!(gone(&target, &reused).contains("has ended"));
    sleeper.end();
    assert!(gone(&target, &found).contains("has ended"));
}

#[test]
fn a_deleted_namespace_is_gone_and_not_kept_alive_by_us() {
    if !privileged() {
        return;
    }
    let netns = TestNetns::with_veth();
    let target = Target::netns(&netns.name);
    let found = resolve(&target, &[]).unwrap();
    assert!(is_alive(&target, &found));
    netns.delete();
    assert!(gone(&target, &found).contains("deleted"));
    until("the kernel lets go of it", || {
        found.places[0].netns.run(|| ()).is_err()
    });
    // Made anew at once: the kernel likes to give the same inode number.
    super::fixture::ip(&format!("netns add {}", netns.name));
    assert!(gone(&target, &found).contains("another"));
}

#[test]
fn devices_come_and_go() {
    if !privileged() {
        return;
    }
    let netns = TestNetns::with_veth();
    let all = Target::netns(&netns.name);
    let one = Target::interface("a0", Some(netns.name.clone()));
    let named = all.clone().with_interfaces(["a0"]);
    let (before_all, before_one) = (resolve(&all, &[]).unwrap(), resolve(&one, &[]).unwrap());
    let before_named = resolve(&named, &[]).unwrap();
    netns.add_veth("c0", "d0");
    let now = changed(&all, &before_all);
    assert_eq!(names(&now.places[0]).len(), 4);
    assert!(
        is_alive(&one, &before_one),
        "another device is none of its business"
    );
    netns.ip("link set a0 down");
    assert!(
        is_alive(&one, &before_one),
        "a link that flaps is still the target"
    );
    netns.ip("link del a0");
    let mut left = changed(&all, &now);
    left.places[0]
        .interfaces
        .sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(names(&left.places[0]), ["c0", "d0"]);
    assert!(gone(&one, &before_one).contains("a0 is gone"));
    assert!(gone(&named, &before_named).contains("a0 is gone"));
    netns.add_veth("a0", "b0");
    assert!(
        gone(&one, &before_one).contains("a0 is gone"),
        "a new device under the old name"
    );
}

#[test]
fn a_quiet_check_is_cheap() {
    if !privileged() {
        return;
    }
    let netns = TestNetns::with_veth();
    let cgroup = TestCgroup::new();
    let sleepers: Vec<_> = (0..20)
        .map(|_| Sleeper::start(Some(&cgroup), Some(&netns)))
        .collect();
    for target in [
        Target::netns(&netns.name),
        Target::cgroup(&cgroup.name),
        Target::pid(sleepers[0].pid()),
    ] {
        let found = resolve(&target, &[]).unwrap();
        let (rounds, mut slowest) = (200, Duration::ZERO);
        let begin = Instant::now();
        for _ in 0..rounds {
            let begin = Instant::now();
            assert!(is_alive(&target, &found));
            slowest = slowest.max(begin.elapsed());
        }
        let each = begin.elapsed() / rounds;
        println!("{target}: {each:?} a check, {slowest:?} the slowest");
        // Generous, for a loaded machine: five a second are then still 5 % of one CPU at the very most.
        assert!(each.as_millis() < 10, "{target}: {each:?}");
    }
}
