//! The host, as far as files in /proc and /sys tell it to anybody. Only the daemon can try things out; nothing here
//! is concluded from a kernel's version number.

use std::fs;
use std::io::Read;

use super::{Check, Health};

const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Empty where there is no Linux to look at.
pub(super) fn checks() -> Vec<Check> {
    let Ok(release) = fs::read_to_string("/proc/sys/kernel/osrelease") else {
        let advice = "faults are injected by a daemon on Linux; point --socket at one that is forwarded here";
        return vec![Check::new(
            "kernel",
            Health::Missing,
            "this is no Linux host",
            advice,
        )];
    };
    let mut checks = vec![Check::ok(
        "kernel",
        format!("Linux {} {}", release.trim(), std::env::consts::ARCH),
    )];
    checks.push(rights(&read("/proc/self/status"), &read("/etc/group")));
    checks.push(cgroup(&read("/proc/self/mounts")));
    checks.extend(btf());
    checks.extend(jit(&read("/proc/sys/net/core/bpf_jit_enable")));
    checks.extend(lockdown(&read("/sys/kernel/security/lockdown")));
    checks
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Whether this user may talk to the daemon: root, or in its group.
fn rights(status: &str, groups: &str) -> Check {
    let numbers = |field: &str| -> Vec<u32> {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.unwrap_or_default()
            .split_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect()
    };
    // Real, effective, saved, filesystem.
    let uid = numbers("Uid:").get(1).copied();
    if uid == Some(0) {
        return Check::ok("rights", "root may talk to the daemon");
    }
    let chaos = groups.lines().find_map(|line| line.strip_prefix("chaos:"));
    let gid = chaos.and_then(|rest| rest.split(':').nth(1)?.parse::<u32>().ok());
    match gid {
        None => Check::new(
            "rights",
            Health::Warning,
            "there is no group chaos yet; the daemon makes it at its first start",
            "until then use sudo",
        ),
        Some(gid) if numbers("Groups:").contains(&gid) || numbers("Gid:").contains(&gid) => {
            Check::ok("rights", "you are in the group chaos")
        }
        Some(_) => Check::new(
            "rights",
            Health::Missing,
            "you are not in the group chaos, so the daemon's socket is closed to you",
            "`sudo usermod -aG chaos $USER`, then log in again; or use sudo",
        ),
    }
}

/// Where cgroup2 is, in `/proc/self/mounts`.
fn cgroup(mounts: &str) -> Check {
    let of_type = |wanted: &str| {
        mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let point = fields.next()?;
            (fields.next()? == wanted).then(|| point.to_owned())
        })
    };
    match (of_type("cgroup2"), of_type("cgroup")) {
        (Some(point), None) => Check::ok("cgroup2", format!("mounted at {point}")),
        (Some(point), Some(_)) => Check::ok(
            "cgroup2",
            format!("mounted at {point}, beside cgroup v1; paths are below the former"),
        ),
        (None, Some(_)) => Check::new(
            "cgroup2",
            Health::Missing,
            "only cgroup v1 is mounted, so a cgroup cannot be a target",
            "`mount -t cgroup2 none /sys/fs/cgroup/unified`, or name a netns, a pid or an interface",
        ),
        (None, None) => Check::new(
            "cgroup2",
            Health::Missing,
            "no cgroup hierarchy is mounted, so a cgroup cannot be a target",
            "`mount -t cgroup2 none /sys/fs/cgroup`, or name a netns, a pid or an interface",
        ),
    }
}

/// The kernel's own description of its types; it also lists its functions, and so tells whether TCX is built in.
fn btf() -> Vec<Check> {
    let mut types = Vec::new();
    let opened = fs::File::open(BTF).and_then(|mut file| file.read_to_end(&mut types));
    if opened.is_err() {
        let advice = "use a kernel with CONFIG_DEBUG_INFO_BTF (those of the distributions have it)";
        return vec![
            Check::new("BTF", Health::Missing, format!("{BTF} cannot be read"), advice),
            Check::new(
                "TCX",
                Health::Unknown,
                "cannot be told without BTF",
                "the daemon finds out by trying",
            ),
        ];
    }
    let has_tcx = contains(&types, b"\0tcx_prog_attach\0");
    let tcx = if has_tcx {
        Check::ok("TCX", "built in: programs are links that die with the daemon")
    } else {
        let detail = "not built in: clsact filters take its place, which outlive a killed daemon";
        let advice = "nothing to do: the lease ends their effect, and the next start removes them";
        Check::new("TCX", Health::Warning, detail, advice)
    };
    vec![Check::ok("BTF", format!("{BTF}, {} KiB", types.len() >> 10)), tcx]
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn jit(enabled: &str) -> Option<Check> {
    match enabled.trim() {
        "" => None,
        "0" => Some(Check::new(
            "BPF JIT",
            Health::Warning,
            "off: programs are interpreted, and every packet pays several times more",
            "`sysctl net.core.bpf_jit_enable=1`",
        )),
        _ => Some(Check::ok("BPF JIT", "on")),
    }
}

/// `none integrity [confidentiality]`: the mode in brackets is in force.
fn lockdown(modes: &str) -> Option<Check> {
    let (_, rest) = modes.split_once('[')?;
    let (mode, _) = rest.split_once(']')?;
    Some(match mode {
        "confidentiality" => Check::new(
            "lockdown",
            Health::Missing,
            "confidentiality mode forbids what the programs need to read",
            "boot with `lockdown=integrity` or without it",
        ),
        mode => Check::ok("lockdown", mode),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_layout_names_the_place_of_cgroup2() {
        let mounts =
            "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let check = cgroup(mounts);
        assert_eq!(check.health, Health::Ok);
        assert!(
            check.detail.contains("/sys/fs/cgroup/unified"),
            "{}",
            check.detail
        );
    }

    #[test]
    fn a_pure_v1_host_cannot_aim_at_cgroups() {
        let check = cgroup("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n");
        assert_eq!(check.health, Health::Missing);
        assert!(check.advice.contains("netns"));
    }

    #[test]
    fn rights_come_from_root_or_the_group() {
        let user = "Uid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nGroups:\t27 991 \n";
        assert_eq!(rights("Uid:\t0\t0\t0\t0\n", "").health, Health::Ok);
        assert_eq!(rights(user, "chaos:x:991:\n").health, Health::Ok);
        assert_eq!(rights(user, "chaos:x:992:\n").health, Health::Missing);
        assert_eq!(rights(user, "root:x:0:\n").health, Health::Warning);
    }

    #[test]
    fn only_the_mode_in_force_counts() {
        assert!(lockdown("").is_none());
        assert_eq!(
            lockdown("[none] integrity confidentiality")
                .expect("a mode")
                .health,
            Health::Ok
        );
        assert_eq!(
            lockdown("none integrity [confidentiality]")
                .expect("a mode")
                .health,
            Health::Missing
        );
    }
}
