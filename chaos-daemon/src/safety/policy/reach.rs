//! What a fault would reach once its target and its hosts are known: cgroups, namespaces, networks.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use chaos_spec::policy::LocatedPolicy;
use chaos_spec::{Cidr, FaultSpec, Target};

use super::{Findings, Violation, dotted};
use crate::target::{self, Identity, Netns, Resolved};

/// Everything that the policy does not allow to be reached. `addresses` are those of the hosts that the fault names.
/// Looks at /proc and cgroupfs: may block.
pub fn check_reach(
    policy: &LocatedPolicy,
    spec: &FaultSpec,
    target: &Resolved,
    addresses: &[IpAddr],
) -> Vec<Violation> {
    let mut findings = Findings::new(policy);
    let cgroup = cgroup_of(&target.identity);
    denied_cgroups(&mut findings, target, cgroup.as_deref());
    denied_netns(&mut findings, target);
    allowed_places(&mut findings, target, cgroup.as_deref());
    networks(&mut findings, spec, addresses);
    findings.found
}

/// The directory below the cgroup2 mount, as a spec writes it. `None`: every socket of a namespace.
fn cgroup_of(identity: &Identity) -> Option<PathBuf> {
    match identity {
        Identity::Whole => None,
        Identity::Cgroup { path, .. } => Some(path.clone()),
        Identity::Process { pid } => target::cgroup_of(*pid),
    }
    .map(|path| below_mount(&path))
}

fn below_mount(path: &Path) -> PathBuf {
    let inner = target::cgroup_root().and_then(|root| path.strip_prefix(root).ok().map(Path::to_owned));
    let inner = inner.unwrap_or_else(|| path.to_owned());
    Path::new("/").join(inner.strip_prefix("/").unwrap_or(&inner))
}

fn denied_cgroups(findings: &mut Findings<'_>, found: &Resolved, cgroup: Option<&Path>) {
    let denied = findings.policy.policy.deny.cgroups.clone();
    for (index, denied) in denied.iter().enumerate() {
        let rule = dotted("deny.cgroups").index(index);
        match cgroup {
            Some(asked) if asked.starts_with(denied) => {
                let message = format!("{} lies in the denied cgroup {denied}", asked.display());
                findings.add("spec.target", rule, message, "aim at another one".to_owned());
            }
            Some(asked) if Path::new(denied).starts_with(asked) => {
                let message = format!("{} holds the denied cgroup {denied}", asked.display());
                findings.add(
                    "spec.target",
                    rule,
                    message,
                    "aim at a cgroup beside it".to_owned(),
                );
            }
            Some(_) => {}
            // A whole namespace, and with it every process in it.
            None => {
                // No such cgroup, or nobody in it: nobody to protect.
                let Ok(theirs) = target::resolve(&Target::cgroup(denied), &[]) else {
                    continue;
                };
                let shared = theirs
                    .places
                    .iter()
                    .find(|place| found.places.iter().any(|ours| ours.netns == place.netns));
                if let Some(place) = shared {
                    let message = format!(
                        "processes of the denied cgroup {denied} are in the network namespace {}",
                        place.netns.label
                    );
                    findings.add(
                        "spec.target",
                        rule,
                        message,
                        "aim at a `cgroup` instead".to_owned(),
                    );
                }
            }
        }
    }
}

/// `None`: there is no such namespace now.
fn netns_of(text: &str) -> Option<Netns> {
    match text {
        "host" => Netns::own(),
        other => Netns::named(other),
    }
    .ok()
}

fn denied_netns(findings: &mut Findings<'_>, found: &Resolved) {
    let denied = findings.policy.policy.deny.netns.clone();
    for (index, text) in denied.iter().enumerate() {
        let Some(denied) = netns_of(text) else { continue };
        if found.places.iter().any(|place| place.netns == denied) {
            let rule = dotted("deny.netns").index(index);
            let message = format!("it acts in the denied network namespace {text}");
            findings.add("spec.target", rule, message, "aim at another one".to_owned());
        }
    }
}

/// With both lists given, either is enough.
fn allowed_places(findings: &mut Findings<'_>, found: &Resolved, cgroup: Option<&Path>) {
    let allow = findings.policy.policy.allow.clone();
    if allow.cgroups.is_empty() && allow.netns.is_empty() {
        return;
    }
    let in_cgroup =
        cgroup.is_some_and(|asked| allow.cgroups.iter().any(|allowed| asked.starts_with(allowed)));
    let namespaces: Vec<Netns> = allow.netns.iter().filter_map(|text| netns_of(text)).collect();
    let in_netns =
        !found.places.is_empty() && found.places.iter().all(|place| namespaces.contains(&place.netns));
    if in_cgroup || in_netns {
        return;
    }
    let (rule, list) = if allow.cgroups.is_empty() {
        ("allow.netns", allow.netns.join(", "))
    } else {
        let both: Vec<_> = allow.cgroups.iter().chain(&allow.netns).cloned().collect();
        ("allow.cgroups", both.join(", "))
    };
    let message = "it is outside of what is allowed".to_owned();
    findings.add(
        "spec.target",
        dotted(rule),
        message,
        format!("aim at something in {list}"),
    );
}

/// Networks that the fault names. One that names none is not refused for denied ones.
fn networks(findings: &mut Findings<'_>, spec: &FaultSpec, addresses: &[IpAddr]) {
    let policy = findings.policy.policy.clone();
    let remote = spec.traffic.remote.as_ref();
    let except = remote.map_or(&[][..], |remote| &remote.except);
    let mut named: Vec<(&str, Cidr)> = Vec::new();
    for cidr in remote.map_or(&[][..], |remote| &remote.cidrs) {
        named.push(("spec.traffic.remote.cidrs", *cidr));
    }
    for address in addresses {
        named.push(("spec.traffic.remote.hosts", Cidr::from(*address)));
    }
    let excepted = |net: &Cidr| except.iter().any(|except| except.contains(*net));
    for (index, denied) in policy.deny.cidrs.iter().enumerate() {
        let hit = named.iter().find(|(_, asked)| {
            // The part that both have is the smaller of the two.
            (denied.contains(*asked) && !excepted(asked)) || (asked.contains(*denied) && !excepted(denied))
        });
        if let Some((field, asked)) = hit {
            let rule = dotted("deny.cidrs").index(index);
            let message = format!("{asked} reaches the denied {denied}");
            findings.add(
                field,
                rule,
                message,
                format!("write `except: [{denied}]`, or name others"),
            );
        }
    }
    let allowed = &policy.allow.cidrs;
    if allowed.is_empty() {
        return;
    }
    let list: Vec<_> = allowed.iter().map(ToString::to_string).collect();
    let remedy = format!("name remote addresses out of {}", list.join(", "));
    let rule = || dotted("allow.cidrs");
    let names_hosts = remote.is_some_and(|remote| !remote.hosts.is_empty());
    if named.is_empty() && !names_hosts {
        let message = "it names no remote addresses, and only some are allowed".to_owned();
        findings.add("spec.traffic.remote", rule(), message, remedy);
        return;
    }
    let outside = named
        .iter()
        .find(|(_, asked)| !excepted(asked) && !allowed.iter().any(|allowed| allowed.contains(*asked)));
    if let Some((field, asked)) = outside {
        let message = format!("{asked} is not among the allowed networks");
        findings.add(field, rule(), message, remedy);
    }
}
