//! A real container of crun's, with our helper as its only program.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use tempfile::TempDir;

use crate::workload::traffic_binary;
use crate::{Netns, Workload};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A running container; deleted when dropped.
#[derive(Debug)]
pub struct Container {
    /// The helper inside.
    pub inside: Workload,
    id: String,
    _bundle: TempDir,
}

/// crun refuses hybrid hosts, so it gets to see the cgroup2 hierarchy alone, in a mount namespace of its own.
const ONLY_CGROUP2: &str = r#"
grep -q ' /sys/fs/cgroup cgroup2 ' /proc/mounts || mount -t cgroup2 none /sys/fs/cgroup
exec crun --cgroup-manager=cgroupfs "$@""#;

impl Container {
    /// In `netns`, which other containers may share, as they do in a pod.
    pub fn start(netns: &Netns) -> Self {
        let id = format!(
            "chaos-t-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let bundle = TempDir::new().expect("a temporary folder can be made");
        std::fs::create_dir(bundle.path().join("rootfs")).expect("a folder in it, too");
        let bind = |what: &str, at: &str| json!({"destination": at, "type": "bind", "source": what, "options": ["rbind", "ro"]});
        let helper = traffic_binary();
        let mut mounts = vec![
            json!({"destination": "/proc", "type": "proc", "source": "proc"}),
            json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}),
            bind(helper.to_str().expect("a path of cargo's is text"), "/helper"),
        ];
        mounts.extend(
            ["/usr", "/lib", "/lib64"]
                .into_iter()
                .filter(|p| std::fs::exists(p).is_ok_and(|e| e))
                .map(|p| bind(p, p)),
        );
        let namespaces = json!([{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"},
            {"type": "network", "path": netns.path()}]);
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {"terminal": false, "user": {"uid": 0, "gid": 0}, "args": ["/helper"], "cwd": "/"},
            "root": {"path": "rootfs"},
            "mounts": mounts,
            "linux": {"cgroupsPath": format!("/{id}"), "namespaces": namespaces},
        });
        std::fs::write(bundle.path().join("config.json"), config.to_string()).expect("a file in it, too");
        let mut command = crun(&[
            "run",
            "--bundle",
            bundle.path().to_str().expect("a temporary path is text"),
            &id,
        ]);
        let inside = Workload::from_command(netns, &mut command);
        Self {
            inside,
            id,
            _bundle: bundle,
        }
    }

    /// What a fault names as `container`.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = crun(&["delete", "--force", &self.id]).output();
    }
}

fn crun(args: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "/bin/sh", "-c", ONLY_CGROUP2, "crun"])
        .args(args);
    command
}
