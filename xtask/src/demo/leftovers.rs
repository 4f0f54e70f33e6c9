//! What a demo that was killed could not remove: found by its process number, removed by the next one.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::stage::ip;
use crate::process::note;

/// Removes namespaces and cgroups of demos whose process is gone.
pub(super) fn sweep(cgroup_mount: &Path) -> Result<()> {
    for name in entries(Path::new("/run/netns"))?
        .iter()
        .filter(|name| is_orphan(name))
    {
        note(format_args!(
            "removing the namespace {name}, which a killed demo left"
        ));
        ip(&["netns", "delete", name])?;
    }
    for name in entries(cgroup_mount)?.iter().filter(|name| is_orphan(name)) {
        note(format_args!(
            "removing the cgroup {name}, which a killed demo left"
        ));
        let parent = cgroup_mount.join(name);
        for child in ["victim", "neighbour"] {
            // A demo that was killed early has not made both.
            if parent.join(child).is_dir() {
                fs::remove_dir(parent.join(child))
                    .with_context(|| format!("cannot remove {name}/{child}"))?;
            }
        }
        fs::remove_dir(&parent).with_context(|| format!("cannot remove {name}"))?;
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<String>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    fs::read_dir(dir)
        .and_then(|entries| {
            entries
                .map(|e| Ok(e?.file_name().to_string_lossy().into_owned()))
                .collect()
        })
        .with_context(|| format!("cannot list {}", dir.display()))
}

/// Was this made by a demo that no longer runs?
fn is_orphan(name: &str) -> bool {
    owner(name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

/// The process number in `chaos-demo-<pid>`, `chaos-demo-<pid>-client` and `chaos-demo-<pid>-server`.
fn owner(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("chaos-demo-")?;
    let pid = rest
        .strip_suffix("-client")
        .or_else(|| rest.strip_suffix("-server"))
        .unwrap_or(rest);
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_demo_makes_have_an_owner() {
        assert_eq!(owner("chaos-demo-12-client"), Some(12));
        assert_eq!(owner("chaos-demo-12"), Some(12));
        assert_eq!(owner("chaos-demo-"), None);
        assert_eq!(owner("chaos-demo-12-blue"), None);
        assert_eq!(owner("blue"), None);
    }

    #[test]
    fn a_demo_that_runs_keeps_what_is_its_own() {
        assert!(!is_orphan(&format!("chaos-demo-{}-client", std::process::id())));
        assert!(is_orphan("chaos-demo-4294967295-client"));
    }
}
