//! The real daemon, in a namespace of its own.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::{BpfObjects, Chaosctl, Netns, eventually, monotonic_nanos, within};

/// How the daemon is started.
#[derive(Debug)]
pub struct DaemonBuilder {
    netns: Option<Netns>,
    resolv_conf: Option<String>,
    wrapper: Vec<String>,
    args: Vec<String>,
}

/// A running daemon. Dropped, it gets SIGTERM and must exit 0, having undone everything.
#[derive(Debug)]
pub struct Daemon {
    folder: TempDir,
    netns: Netns,
    resolv_conf: Option<PathBuf>,
    wrapper: Vec<String>,
    args: Vec<String>,
    child: Child,
    /// Ended on purpose: nothing is expected of it any more.
    killed: bool,
}

/// A binary of the product: from `$CHAOS_BIN_DIR`, else from the release build.
pub fn binary(name: &str) -> PathBuf {
    let dir = std::env::var_os("CHAOS_BIN_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release"),
        PathBuf::from,
    );
    let path = dir.join(name);
    assert!(
        path.is_file(),
        "{} is missing (cargo xtask build)",
        path.display()
    );
    path
}

impl DaemonBuilder {
    /// A namespace that exists already, instead of a fresh one without any link.
    #[must_use]
    pub fn netns(mut self, netns: &Netns) -> Self {
        self.netns = Some(netns.clone());
        self
    }

    /// What the daemon reads in place of /etc/resolv.conf.
    #[must_use]
    pub fn resolv_conf(mut self, text: &str) -> Self {
        self.resolv_conf = Some(text.to_owned());
        self
    }

    /// A command that runs the daemon, such as `setpriv --no-new-privs`.
    #[must_use]
    pub fn wrapper(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Further arguments.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Starts it and waits for its ready line.
    pub fn start(self) -> Daemon {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let resolv_conf = self.resolv_conf.map(|text| {
            let path = folder.path().join("resolv.conf");
            std::fs::write(&path, text).expect("a file in the temporary folder can be written");
            path
        });
        let netns = self.netns.unwrap_or_else(Netns::new);
        let command = command(folder.path(), resolv_conf.as_deref(), &self.wrapper, &self.args);
        let child = launch(folder.path(), &netns, command);
        let mut daemon = Daemon {
            folder,
            netns,
            resolv_conf,
            wrapper: self.wrapper,
            args: self.args,
            child,
            killed: false,
        };
        daemon.wait_until_ready();
        daemon
    }
}

impl Daemon {
    pub fn start() -> Self {
        Self::builder().start()
    }

    pub fn builder() -> DaemonBuilder {
        DaemonBuilder {
            netns: None,
            resolv_conf: None,
            wrapper: Vec::new(),
            args: Vec::new(),
        }
    }

    pub fn ctl(&self) -> Chaosctl {
        Chaosctl::new(&self.socket())
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("api.sock")
    }

    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The namespace it runs in, which stands for the host.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The programs, maps and links that it holds open.
    pub fn bpf_objects(&self) -> BpfObjects {
        BpfObjects::of(self.pid())
    }

    /// Ends it without a chance to clean up. Returns the monotonic time just before.
    pub fn sigkill(&mut self) -> u64 {
        self.killed = true;
        let before = monotonic_nanos();
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
        before
    }

    /// Ends it as a failed allocation would. Returns the monotonic time just before.
    pub fn sigabrt(&mut self) -> u64 {
        self.killed = true;
        let before = monotonic_nanos();
        self.signal(Signal::SIGABRT);
        let _ = self.child.wait();
        before
    }

    /// Hangs it. Returns the monotonic time at which it stood still.
    pub fn sigstop(&mut self) -> u64 {
        self.signal(Signal::SIGSTOP);
        let status = format!("/proc/{}/status", self.pid());
        eventually(Duration::from_secs(5), "the daemon stands still", || {
            std::fs::read_to_string(&status).is_ok_and(|text| text.contains("State:\tT"))
        });
        monotonic_nanos()
    }

    pub fn sigcont(&mut self) {
        self.signal(Signal::SIGCONT);
    }

    /// Halts it by signal.
    pub fn usr1(&self) {
        self.signal(Signal::SIGUSR1);
    }

    /// Somebody else has ended it, or is about to: waits for that.
    pub fn was_ended(&mut self) {
        self.killed = true;
        self.wait_for_exit(Duration::from_secs(10))
            .expect("somebody has ended it");
    }

    /// Has it read its policy again.
    pub fn hangup(&self) {
        self.signal(Signal::SIGHUP);
    }

    /// Ends it in order and returns its status.
    pub fn stop(&mut self) -> ExitStatus {
        self.killed = true;
        self.signal(Signal::SIGCONT);
        self.signal(Signal::SIGTERM);
        self.wait_for_exit(Duration::from_secs(10))
            .unwrap_or_else(|| panic!("no end after SIGTERM: {}", self.log()))
    }

    /// Ends it in order.
    ///
    /// # Panics
    /// When its status is not 0.
    pub fn stop_well(&mut self) {
        let status = self.stop();
        self.assert_ended_well(status);
    }

    /// Starts it again with the same socket, state and arguments.
    pub fn start_again(&mut self) {
        self.begin_again();
        self.wait_until_ready();
    }

    /// The same, without waiting until it is ready.
    pub fn begin_again(&mut self) {
        assert!(self.killed, "the daemon still runs");
        let command = self.second();
        self.child = launch(self.folder.path(), &self.netns, command);
        self.killed = false;
    }

    /// The command line of a second daemon beside this one, on its socket and state.
    pub fn second(&self) -> Command {
        command(
            self.folder.path(),
            self.resolv_conf.as_deref(),
            &self.wrapper,
            &self.args,
        )
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid fits"));
        let _ = kill(pid, signal);
    }

    fn wait_for_exit(&mut self, timeout: Duration) -> Option<ExitStatus> {
        within(timeout, || {
            self.child.try_wait().expect("waiting for one's own child works")
        })
    }

    fn wait_until_ready(&mut self) {
        let stdout = self.child.stdout.take().expect("stdout is a pipe");
        let (lines, first) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        match first.recv_timeout(Duration::from_secs(30)) {
            Ok(line) => assert!(
                line.contains("ready"),
                "the first line says that it is ready: {line}"
            ),
            Err(_) => {
                let _ = self.child.kill();
                self.killed = true;
                panic!(
                    "the daemon did not become ready ({:?}): {}",
                    self.child.wait(),
                    self.log()
                );
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.killed && self.child.try_wait().is_ok_and(|status| status.is_some()) {
            self.print_log_of_a_failed_test();
            return;
        }
        self.signal(Signal::SIGCONT);
        self.signal(Signal::SIGTERM);
        let status = self.wait_for_exit(Duration::from_secs(10));
        if status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        self.print_log_of_a_failed_test();
        if !thread::panicking() && !self.killed {
            self.assert_ended_well(status.expect("the daemon ends within 10 s of SIGTERM"));
        }
    }
}

impl Daemon {
    fn assert_ended_well(&self, status: ExitStatus) {
        assert!(
            status.success(),
            "the daemon exits 0 on SIGTERM, not {status}: {}",
            self.log()
        );
    }

    fn print_log_of_a_failed_test(&self) {
        if thread::panicking() {
            println!("--- the daemon's log ---\n{}--- end of the log ---", self.log());
        }
    }
}

fn launch(folder: &Path, netns: &Netns, mut command: Command) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.expect("a log file can be opened"));
    netns
        .enter(|| command.spawn())
        .expect("the daemon can be started")
}

fn command(folder: &Path, resolv_conf: Option<&Path>, wrapper: &[String], args: &[String]) -> Command {
    let binary = binary("chaos-daemon");
    let mut command = match wrapper {
        [] => Command::new(binary),
        [program, words @ ..] => {
            let mut command = Command::new(program);
            command.args(words).arg(binary);
            command
        }
    };
    if let Some(file) = resolv_conf {
        command.arg("--resolv-conf").arg(file);
    }
    command.arg("--socket").arg(folder.join("api.sock"));
    command.arg("--state-dir").arg(folder.join("state"));
    command.args(args).env_remove("NOTIFY_SOCKET");
    command
}
