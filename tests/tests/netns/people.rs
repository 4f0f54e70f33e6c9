//! Other people than root, and what the daemon takes down of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use chaos_tests::{Daemon, FaultFile, Output, binary};
use serde_json::Value;
use tempfile::TempDir;

/// Unprivileged users with numbers that no host has: nobody is any of them.
pub(crate) const VIEWER: u32 = 61_001;
pub(crate) const OPERATOR: u32 = 61_002;
pub(crate) const APPROVER: u32 = 61_003;
pub(crate) const STRANGER: u32 = 61_004;

/// A policy in which they have the roles of their names.
pub(crate) fn roles() -> String {
    format!(
        "roles:\n  viewer:\n    users: [{VIEWER}]\n  operator:\n    users: [{OPERATOR}]\n  approver:\n    users: \
         [{APPROVER}]\n"
    )
}

/// `chaosctl` where everybody can run it, for one daemon whose socket everybody can reach.
pub(crate) struct People {
    folder: TempDir,
    socket: std::path::PathBuf,
}

impl People {
    pub(crate) fn of(daemon: &Daemon) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let open = |path: &Path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its owner may");
        };
        let program = folder.path().join("chaosctl");
        fs::copy(binary("chaosctl"), &program).expect("it can be copied");
        open(&program);
        open(folder.path());
        let socket = daemon.socket();
        open(socket.parent().expect("it is in a folder"));
        Self { folder, socket }
    }

    pub(crate) fn run(&self, uid: u32, args: &[&str]) -> Output {
        let id = uid.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
        command.arg(self.folder.path().join("chaosctl")).args(args);
        command.env("CHAOS_SOCKET", &self.socket).env("NO_COLOR", "1");
        output(&mut command)
    }

    /// Somebody who connects and says nothing.
    pub(crate) fn idle(&self, uid: u32) -> Child {
        let id = uid.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "nc", "-U"]);
        command
            .arg(&self.socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        command.spawn().expect("it can be started")
    }

    pub(crate) fn apply(&self, uid: u32, fault: &FaultFile) -> Output {
        let file = self.folder.path().join("fault.yaml");
        fs::write(&file, fault.to_string()).expect("it can be written");
        self.run(uid, &["apply", "-f", file.to_str().expect("it is text")])
    }
}

pub(crate) fn output(command: &mut Command) -> Output {
    let ran = command.output().expect("it can be started");
    Output {
        code: ran.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&ran.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&ran.stderr).into_owned(),
    }
}

/// All records in the audit log, which must be whole.
#[track_caller]
pub(crate) fn audit(daemon: &Daemon) -> Vec<Value> {
    let state = daemon.state_dir();
    daemon
        .ctl()
        .ok(&["audit", "verify", state.to_str().expect("it is text")]);
    let text = fs::read_to_string(state.join("audit/audit.jsonl")).expect("there is a log");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

/// The refusals among them.
#[track_caller]
pub(crate) fn refusals(daemon: &Daemon) -> Vec<Value> {
    let mut records = audit(daemon);
    records.retain(|record| record["kind"] == "refused");
    records
}
