use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use chaos_spec::{Target, WarningKind};

use super::fixture::{Sleeper, TestCgroup, TestNetns, privileged};
use crate::target::container::{Roots, find};
use crate::target::process::Process;
use crate::target::watch::Anchor;
use crate::target::{Identity, Liveness, TargetError, check, resolve};

fn roots(folder: &Path) -> Roots {
    Roots {
        run: folder.join("run"),
        lib: folder.join("lib"),
    }
}

/// 64 hex digits that begin with the process id, so that parallel runs of the tests do not meet.
fn id(tail: &str) -> String {
    format!("{:08x}{tail:0>56}", std::process::id())
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn state(folder: &Path, runtime: &str, id: &str, process: Process) {
    let path = folder.join("run").join(runtime).join(id);
    let (pid, start) = (process.pid, process.start);
    if runtime == "crun" {
        let text =
            format!(r#"{{"pid": {pid}, "process-start-time": {start}, "cgroup-path": "", "bundle": "/b"}}"#);
        write(&path.join("status"), &text);
    } else {
        let text = format!(r#"{{"id": "{id}", "init_process_pid": {pid}, "init_process_start": {start}}}"#);
        write(&path.join("state.json"), &text);
    }
}

#[test]
fn by_the_name_of_its_scope() {
    if !privileged() {
        return;
    }
    let netns = TestNetns::with_veth();
    let (one, other) = (id("a1"), id("a2"));
    let scope = TestCgroup::named(&format!("docker-{one}.scope"));
    let monitor = TestCgroup::named(&format!("libpod-conmon-{one}.scope"));
    let second = TestCgroup::named(&format!("libpod-{other}.scope"));
    assert!(matches!(
        resolve(&Target::container(&one), &[]),
        Err(TargetError::ContainerNotRunning(_))
    ));
    let sleeper = Sleeper::start(Some(&scope), Some(&netns));
    let inner = scope.child("container");
    let found = resolve(&Target::container(&one), &[]).unwrap();
    let Identity::Cgroup { path, level, .. } = &found.identity else {
        panic!("{found:?}");
    };
    assert_eq!((path, *level), (&scope.directory, 1));
    assert_eq!(found.places.len(), 1);
    let error = resolve(&Target::container(&one[..8]), &[]).unwrap_err();
    assert!(
        matches!(&error, TargetError::AmbiguousContainer { matches, .. } if matches.len() == 2),
        "{error}"
    );
    let short = resolve(&Target::container(&one[..5]), &[]).unwrap_err();
    assert!(matches!(short, TargetError::NoSuchContainer { .. }), "{short}");
    drop((sleeper, inner, monitor, second));
}

#[test]
fn by_runtime_state_with_a_cgroup_of_its_own() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let netns = TestNetns::with_veth();
    // Any path may be given to a runtime: own pid namespace and nobody else in the cgroup make it the container's.
    let cgroup = TestCgroup::new();
    let sleeper = Sleeper::wrapped(Some(&cgroup), Some(&netns), "unshare --pid");
    let init = Process::find(sleeper.pid()).unwrap();
    state(folder.path(), "runc", "shop", init);
    // `unshare --pid` moves the children only: the process itself is still of the host's, so this is no container.
    let found = find("shop", &roots(folder.path())).unwrap();
    assert_eq!(found.identity, Identity::Whole);
    let named = cgroup.child("shop");
    fs::write(named.directory.join("cgroup.procs"), sleeper.pid().to_string()).unwrap();
    let found = find("shop", &roots(folder.path())).unwrap();
    assert!(matches!(found.identity, Identity::Cgroup { level: 2, .. }));
    drop(sleeper);
    let error = find("shop", &roots(folder.path())).err().unwrap();
    assert!(matches!(error, TargetError::ContainerNotRunning(_)), "{error}");
    drop(named);
}

#[test]
fn without_a_cgroup_its_namespace_stands_for_it() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let netns = TestNetns::with_veth();
    let sleeper = Sleeper::start(None, Some(&netns));
    let id = id("b1");
    let init = Process::find(sleeper.pid()).unwrap();
    state(folder.path(), "crun", &id, init);
    let list = format!(r#"[{{"id": "{id}", "names": ["till"], "image": "i"}}]"#);
    write(
        &folder
            .path()
            .join("lib/containers/storage/overlay-containers/containers.json"),
        &list,
    );
    for text in [&id, "till", &id[..10], &format!("containerd://{id}")] {
        let found = find(text, &roots(folder.path())).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(found.identity, Identity::Whole);
        assert!(matches!(found.anchor, Anchor::Process(process) if process == init));
        assert_eq!(
            found.warnings,
            [WarningKind::ContainerWithoutCgroup {
                container: id.clone()
            }]
        );
    }
    // A pid that was used again is nobody's container.
    let stale = Process {
        start: init.start - 1,
        ..init
    };
    state(folder.path(), "crun", &id, stale);
    let error = find(&id, &roots(folder.path())).err().unwrap();
    assert!(matches!(error, TargetError::ContainerNotRunning(_)), "{error}");
}

#[test]
fn with_nothing_of_its_own_it_is_refused() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sleeper = Sleeper::start(None, None);
    state(
        folder.path(),
        "runc",
        "bare-metal",
        Process::find(sleeper.pid()).unwrap(),
    );
    let error = find("bare-metal", &roots(folder.path())).err().unwrap();
    assert!(matches!(error, TargetError::ContainerIndistinct(_)), "{error}");
    let docker = format!(
        r#"{{"ID": "{}", "Name": "/web", "State": {{"Pid": 1}}}}"#,
        id("c1")
    );
    write(
        &folder.path().join("lib/docker/containers/x/config.v2.json"),
        &docker,
    );
    let error = find("web", &roots(folder.path())).err().unwrap();
    assert!(matches!(error, TargetError::ContainerNotRunning(_)), "{error}");
    let error = find("nobody", &roots(folder.path())).err().unwrap();
    assert!(error.to_string().contains("(web)"), "{error}");
}

/// A container of the real crun, which ends with this.
struct Crun {
    id: String,
    bundle: tempfile::TempDir,
}

impl Crun {
    /// `None`: there is no crun on this machine.
    ///
    /// crun refuses hybrid hosts, so it starts in a mount namespace that shows cgroup2 alone; what it makes there is in
    /// the host's one cgroup2 hierarchy all the same.
    fn run(manager: &str, netns: &TestNetns) -> Option<Self> {
        let bundle = tempfile::tempdir().unwrap();
        let id = format!("chaos-{}-{manager}", std::process::id());
        let crun = Self { id, bundle };
        if crun
            .command()
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_err()
        {
            eprintln!("skipped: NoCrun");
            return None;
        }
        for folder in ["dev", "proc", "sys"] {
            fs::create_dir_all(crun.bundle.path().join("rootfs").join(folder)).unwrap();
        }
        let system = ["/bin", "/lib", "/lib64", "/usr"].map(|path| {
            serde_json::json!({"destination": path, "source": path, "type": "bind", "options": ["rbind", "ro"]})
        });
        let config = serde_json::json!({
            "ociVersion": "1.0.0",
            "root": {"path": "rootfs"},
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["/bin/sleep", "600"],
                "env": ["PATH=/usr/bin:/bin"],
                "cwd": "/"
            },
            "mounts": system,
            "linux": {
                "namespaces": [
                    {"type": "pid"},
                    {"type": "mount"},
                    {"type": "network", "path": netns.path()}
                ]
            }
        });
        fs::write(crun.bundle.path().join("config.json"), config.to_string()).unwrap();
        let script =
            "mount -t tmpfs none /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec crun \"$@\"";
        let status = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
            .args([
                &format!("--cgroup-manager={manager}"),
                "run",
                "--detach",
                "--bundle",
            ])
            .args([crun.bundle.path().as_os_str(), crun.id.as_ref()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(crun.bundle.path().join("log")).unwrap())
            .status()
            .unwrap();
        let log = fs::read_to_string(crun.bundle.path().join("log")).unwrap();
        assert!(status.success(), "crun: {log}");
        Some(crun)
    }

    fn command(&self) -> Command {
        Command::new("crun")
    }

    fn delete(&self) {
        let arguments = ["delete", "--force", &self.id];
        let _ = self
            .command()
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Crun {
    fn drop(&mut self) {
        self.delete();
    }
}

#[test]
fn a_container_of_a_real_runtime() {
    if !privileged() {
        return;
    }
    for manager in ["cgroupfs", "disabled"] {
        let netns = TestNetns::with_veth();
        let Some(crun) = Crun::run(manager, &netns) else {
            continue;
        };
        let target = Target::container(&crun.id);
        let found = resolve(&target, &[]).unwrap();
        println!("{manager}: {:?} {:?}", found.identity, found.warnings);
        if manager == "disabled" {
            assert_eq!(found.identity, Identity::Whole);
            assert!(matches!(
                found.warnings.as_slice(),
                [WarningKind::ContainerWithoutCgroup { .. }]
            ));
        } else {
            assert!(matches!(&found.identity, Identity::Cgroup { path, .. } if path.ends_with(&crun.id)));
            assert!(found.warnings.is_empty());
        }
        let [place] = found.places.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(place.netns.label, format!("netns:{}", netns.name));
        assert!(matches!(check(&target, &[], &found), Liveness::Alive));
        crun.delete();
        assert!(matches!(check(&target, &[], &found), Liveness::Gone(_)));
    }
}
