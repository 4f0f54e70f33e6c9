//! Clocks that are not what they were, or not what the kernel's are.

use std::fs;
use std::path::Path;
use std::time::Duration;

use chaos_tests::{
    Daemon, FaultFile, Pair, Snapshot, Workload, eventually, monotonic_nanos, need, patience, require_program,
};
use serde_json::json;
use tempfile::TempDir;

use crate::ourselves::{assert_no_panic, said, start};

/// The wall clock as the daemon sees it, which a test can set; the kernel's own is left alone, and its programs never
/// look at it.
pub(crate) struct WallClock {
    folder: TempDir,
    library: &'static str,
}

impl WallClock {
    const LIBRARIES: [&str; 2] = [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    ];

    pub(crate) fn new() -> Result<Self, chaos_tests::Skip> {
        require_program("faketime")?;
        let library = Self::LIBRARIES.into_iter().find(|path| Path::new(path).exists());
        let clock = Self {
            folder: TempDir::new().expect("a temporary folder can be made"),
            library: library.expect("the program comes with its library"),
        };
        clock.step(0);
        Ok(clock)
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("offset")
    }

    /// So many seconds from the real time.
    pub(crate) fn step(&self, seconds: i64) {
        let fresh = self.folder.path().join("offset.new");
        fs::write(&fresh, format!("{seconds:+}s\n")).expect("it can be written");
        fs::rename(fresh, self.file()).expect("it can be replaced");
    }

    pub(crate) fn daemon(&self) -> Daemon {
        let (library, file) = (
            format!("LD_PRELOAD={}", self.library),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file().display()),
        );
        let wrapper = [
            "env",
            &library,
            &file,
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        ];
        Daemon::builder().wrapper(&wrapper).start()
    }
}

/// Kernel programs read the host's clocks; a daemon with shifted ones would give deadlines and leases an hour too much.
#[test]
fn a_daemon_with_shifted_clocks_does_not_start() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    for (clock, seconds) in [("boottime", "3600"), ("monotonic", "-1")] {
        let shift = format!("--{clock}={seconds}");
        let ended = start(
            &["unshare", "--time", &shift, "--fork", "--kill-child"],
            folder.path(),
        );
        assert_eq!(ended.status.code(), Some(1));
        let said = said(&ended);
        assert!(said.contains(clock) && said.contains(seconds), "{said}");
        assert!(said.contains("outside of that namespace"), "{said}");
    }
}

#[test]
fn a_wall_clock_that_jumps_by_an_hour_moves_no_end() {
    let clock = need!(WallClock::new());
    let net = Pair::new();
    let before = Snapshot::of_devices(&[&net.client.device]);
    let (client, server) = (
        Workload::start(&net.client.netns, None),
        Workload::start(&net.server.netns, None),
    );
    let echo = net.server.at(9001);
    server.udp_echo(echo);
    let daemon = clock.daemon();
    let ctl = daemon.ctl();
    for (name, step) in [("ahead", 3600), ("back", -3600)] {
        clock.step(0);
        let probe = client.probe(echo, Duration::from_millis(1));
        let start = monotonic_nanos();
        let cut = FaultFile::on_netns(name, &net.client.netns, json!({"partition": {}}));
        ctl.apply(&[cut.lasting("3s")]);
        let began = monotonic_nanos();
        clock.step(step);
        let view = ctl.fault(name);
        assert_eq!(view.phase(), "Active", "{}", view.0);
        let view = ctl.wait_for_phase(name, "Ended");
        assert_eq!(view.reason(), "Deadline", "{}", view.0);
        eventually(Duration::from_secs(5), "the traffic is back", || {
            client
                .probe_report(probe)
                .samples
                .last()
                .is_some_and(|last| last.asked > began + 3_500_000_000)
        });
        let report = client.probe_report(probe);
        client.close(probe);
        let last = report.last_lost(report.now - 100_000_000).expect("it was cut");
        let (least, most) = (
            Duration::from_nanos(last.saturating_sub(began)),
            Duration::from_nanos(last - start),
        );
        assert!(
            least <= Duration::from_secs(3) + patience(Duration::from_millis(50))
                && most >= Duration::from_millis(2950),
            "{name}: {least:?} {most:?}"
        );
        let ended_at: jiff::Timestamp = view.0["status"]["endedAt"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("a time");
        let off = ended_at.duration_since(jiff::Timestamp::now()).as_secs();
        assert!(
            (off - step).abs() < 60,
            "{name}: the daemon's wall clock has jumped: {off} s"
        );
    }
    Snapshot::of_devices(&[&net.client.device]).assert_same_as(&before);
    let state = daemon.state_dir();
    ctl.ok(&["audit", "verify", state.to_str().expect("it is text")]);
    assert_no_panic(&daemon);
}
