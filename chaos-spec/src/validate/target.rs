use std::collections::HashSet;

use super::Errors;
use crate::path::SpecPath;
use crate::{Target, TargetKind};

/// IFNAMSIZ without its terminating zero.
const MOST_NAME_BYTES: usize = 15;

pub(super) fn check(target: &Target, errors: &mut Errors) {
    match &target.kind {
        TargetKind::Cgroup(path) => check_cgroup(path, errors),
        TargetKind::Pid(0) => {
            errors.add(
                "spec.target.pid",
                "0 is the kernel's own process id",
                "write the id of a process",
            );
        }
        TargetKind::Netns(netns) => check_netns(SpecPath::of("spec.target.netns"), netns, errors),
        TargetKind::Container(id) if id.trim().is_empty() => {
            errors.add(
                "spec.target.container",
                "the id is empty",
                "write a container's id or name",
            );
        }
        TargetKind::Interface(interface) => {
            check_interface(
                SpecPath::of("spec.target.interface.name"),
                &interface.name,
                errors,
            );
            if let Some(netns) = &interface.netns {
                check_netns(SpecPath::of("spec.target.interface.netns"), netns, errors);
            }
            if !target.interfaces.is_empty() {
                errors.add(
                    "spec.target.interfaces",
                    "the target is one interface already",
                    "leave `interfaces` out, or name a `netns` target instead of `interface`",
                );
            }
        }
        TargetKind::Pid(_) | TargetKind::Container(_) | TargetKind::Host | TargetKind::Pods(_) => {}
    }
    let mut seen = HashSet::new();
    for (place, name) in target.interfaces.iter().enumerate() {
        let path = SpecPath::of("spec.target.interfaces").index(place);
        if seen.insert(name) {
            check_interface(path, name, errors);
        } else {
            errors.at(path, format!("`{name}` is named twice"), "name it once");
        }
    }
}

fn check_cgroup(path: &str, errors: &mut Errors) {
    const FIELD: &str = "spec.target.cgroup";
    // Where cgroup2 is mounted differs from host to host; a path below it does not.
    let mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    let mounted = mounts.iter().find_map(|mount| path.strip_prefix(mount));
    if let Some(below) = mounted.filter(|below| below.is_empty() || below.starts_with('/')) {
        let below = if below.is_empty() { "/" } else { below };
        let message = format!("`{path}` begins with the place where cgroups are mounted");
        errors.add(FIELD, message, format!("write the path below it: `{below}`"));
    } else if !path.starts_with('/') {
        errors.add(
            FIELD,
            format!("`{path}` does not begin with a slash"),
            format!("write `/{path}`"),
        );
    } else if path.split('/').any(|part| part == ".." || part == ".") {
        errors.add(
            FIELD,
            format!("`{path}` goes up or in place"),
            "write the path without `.` and `..`",
        );
    } else if path.chars().any(char::is_control) {
        errors.add(
            FIELD,
            "the path holds a control character",
            "write the path as `cat /proc/PID/cgroup` shows it",
        );
    }
}

fn check_netns(path: SpecPath, netns: &str, errors: &mut Errors) {
    if netns.trim().is_empty() {
        errors.at(
            path,
            "the namespace is empty",
            "write a path such as `/run/netns/blue`, or a name such as `blue`",
        );
    } else if !netns.starts_with('/') && netns.contains('/') {
        let remedy = format!("write `/{netns}`, or the name alone");
        errors.at(
            path,
            format!("`{netns}` is neither a whole path nor a name"),
            remedy,
        );
    } else if netns.chars().any(char::is_control) || netns == "." || netns == ".." {
        errors.at(
            path,
            "this is not a path or a name",
            "write a path such as `/run/netns/blue`",
        );
    }
}

fn check_interface(path: SpecPath, name: &str, errors: &mut Errors) {
    if name.is_empty() {
        errors.at(path, "the name is empty", "write a name such as `eth0`");
    } else if name.len() > MOST_NAME_BYTES {
        let message = format!(
            "`{name}` has {} characters; interface names end at 15",
            name.len()
        );
        errors.at(path, message, "write the name as `ip link` shows it");
    } else if name == "." || name == ".." || name.contains(['/', ':']) || name.contains(char::is_whitespace) {
        let message = format!("`{name}` cannot be the name of an interface");
        errors.at(
            path,
            message,
            "write the name as `ip link` shows it, without `@…`",
        );
    } else if name.contains('@') {
        let (before, _) = name.split_once('@').unwrap_or((name, ""));
        errors.at(
            path,
            format!("`{name}` names the peer as well"),
            format!("write `{before}`"),
        );
    }
}
