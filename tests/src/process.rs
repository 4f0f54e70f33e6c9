//! Programs, started inside a namespace and a cgroup, ended by their own process id only.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::{Cgroup, Netns, eventually, eventually_some};

/// A running program; killed when dropped. Its stdout and stderr are kept.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    /// End when both pipes are closed.
    readers: Vec<JoinHandle<()>>,
}

/// A program to its end, with what it wrote.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Process {
    /// Starts `argv` in `netns`, and in `cgroup` if one is given: a shell moves itself there and then becomes the
    /// program, so that even its first socket is opened in the cgroup.
    pub fn spawn(netns: &Netns, cgroup: Option<&Cgroup>, argv: &[&str]) -> Self {
        let process = Self::start(netns, in_cgroup(cgroup, argv), argv[0]);
        if let Some(cgroup) = cgroup {
            let proc = |name: &str| {
                fs::read_to_string(format!("/proc/{}/{name}", process.pid())).unwrap_or_default()
            };
            let wanted = format!("0::{}", cgroup.path());
            eventually(
                Duration::from_secs(5),
                &format!("{} is in its cgroup", argv[0]),
                || {
                    // One that is over so soon was in it.
                    proc("cgroup").lines().any(|line| line == wanted) || proc("status").contains("State:\tZ")
                },
            );
        }
        process
    }

    pub(crate) fn start(netns: &Netns, mut command: Command, name: &str) -> Self {
        // A group of its own, so that what it starts can be ended with it.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = netns
            .enter(|| command.spawn())
            .unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        let (stdout, reader) = collect(child.stdout.take());
        let mut readers = vec![reader];
        let (stderr, reader) = collect(child.stderr.take());
        readers.push(reader);
        Self {
            child,
            name: name.to_owned(),
            stdout,
            stderr,
            readers,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    pub fn signal(&self, signal: Signal) {
        // ESRCH: it has just ended by itself.
        let _ = kill(self.process_id(), signal);
    }

    fn process_id(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid fits"))
    }

    /// Its exit status, when it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("waiting for one's own child works")
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it still runs after `timeout`.
    pub fn finish(mut self, timeout: Duration) -> Finished {
        let name = self.name.clone();
        let status = eventually_some(timeout, &format!("{name} ends"), || self.ended());
        for reader in self.readers.drain(..) {
            // What it wrote last may still have been in the pipe.
            let _ = reader.join();
        }
        Finished {
            status,
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }

    /// Waits until a TCP socket of its namespace listens on `port`.
    pub fn listens(self, netns: &Netns, port: u16) -> Self {
        let hex = format!(":{port:04X}");
        eventually(
            Duration::from_secs(10),
            &format!("{} listens on {port}: {}", self.name, self.stderr()),
            || {
                netns.enter(|| {
                    ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"]
                        .iter()
                        .any(|table| {
                            fs::read_to_string(table).is_ok_and(|text| {
                                text.lines().any(|line| {
                                    let mut words = line.split_whitespace().skip(1);
                                    words.next().is_some_and(|local| local.ends_with(&hex))
                                        && words.nth(1).is_some_and(|state| state == "0A")
                                })
                            })
                        })
                })
            },
        );
        self
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            // The group is still its own: it has not been waited for, so nobody else can have its number.
            let _ = killpg(self.process_id(), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// A command that runs `argv` in `cgroup`.
pub(crate) fn in_cgroup(cgroup: Option<&Cgroup>, argv: &[&str]) -> Command {
    match cgroup {
        None => {
            let mut command = Command::new(argv[0]);
            command.args(&argv[1..]);
            command
        }
        Some(cgroup) => {
            let mut command = Command::new("/bin/sh");
            // $0 is the file that takes the pid; 0 means the writer itself.
            command
                .args(["-c", r#"echo 0 > "$0" && exec "$@""#])
                .arg(cgroup.procs_file())
                .args(argv);
            command
        }
    }
}

/// Runs a program to its end where the calling thread is.
///
/// # Panics
/// When it cannot be started or fails.
pub fn run(argv: &[&str]) -> String {
    let output = Command::new(argv[0])
        .args(&argv[1..])
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("cannot start {}: {e}", argv[0]));
    assert!(
        output.status.success(),
        "`{}` failed ({}): {}{}",
        argv.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether a program runs to a good end.
pub(crate) fn succeeds(argv: &[&str]) -> bool {
    Command::new(argv[0])
        .args(&argv[1..])
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Where a program is, looked for in PATH and in the system folders that a user's PATH leaves out.
pub(crate) fn find_program(name: impl AsRef<OsStr>) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin"].map(Into::into))
        .map(|dir| dir.join(Path::new(name.as_ref())))
        .find(|path| path.is_file())
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let text = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&text);
    let reader = thread::spawn(move || {
        let Some(pipe) = pipe else { return };
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            sink.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    (text, reader)
}

fn read(text: &Mutex<String>) -> String {
    text.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
