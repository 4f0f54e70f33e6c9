//! One boot: QEMU, and what the guest says on its serial console.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::console::{Line, PANIC, classify};
use crate::process::find_program;
use crate::setup::{Emulator, Kernel};

/// From power-on to the first line of init.
const START: Duration = Duration::from_secs(30);
/// A guest that does not end a test by itself in time hangs as a whole.
const GRACE: Duration = Duration::from_secs(30);
/// Between two tests.
const BETWEEN: Duration = Duration::from_secs(30);
/// All that the emulation has, but page tables of five levels and copying by string instructions: with those it
/// takes half as long again.
const CPU: &str = "max,la57=off,erms=off,fsrm=off";
/// The job disk: a whole number of sectors.
const JOB_BYTES: usize = 64 * 1024;

/// What is needed for a boot.
pub(super) struct Machine<'a> {
    pub(super) emulator: &'a Emulator,
    pub(super) kernel: &'a Kernel,
    pub(super) processors: u32,
    /// The program that the guest runs, once for each test.
    pub(super) program: &'static str,
    pub(super) disk: &'a Path,
    pub(super) initrd: &'a Path,
    /// Folder of job disk and console log.
    pub(super) dir: &'a Path,
    /// The guest ends a test by itself after so long.
    pub(super) limit: Duration,
}

/// A test that came to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) test: String,
    /// Exit code of the test program.
    pub(super) code: i32,
    pub(super) output: Vec<String>,
    pub(super) took: Duration,
}

/// What came of a boot.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) ended: Vec<Ended>,
    /// The test during which the guest died.
    pub(super) during: Option<String>,
    /// Why it died; none when it came to its orderly end.
    pub(super) died: Option<String>,
}

impl Machine<'_> {
    /// Boots, runs `tests`, and calls `seen` for each as it ends.
    pub(super) fn run(&self, tests: &[String], mut seen: impl FnMut(&Ended)) -> Result<Report> {
        let job = self.dir.join("job");
        fs::write(&job, job_text(self.program, self.limit, tests))
            .with_context(|| format!("cannot write {}", job.display()))?;
        let log_path = self.dir.join(format!("console-{}.log", self.kernel.release()));
        let log = File::options().create(true).append(true).open(&log_path);
        let mut log = log.with_context(|| format!("cannot open {}", log_path.display()))?;

        let mut command = self.qemu(&job);
        let mut guest = Guest(command.spawn().context("cannot start QEMU")?);
        let output = guest.0.stdout.take().context("the child's stdout is a pipe")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(output);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(text).is_err() {
                    break;
                }
                line.clear();
            }
        });

        let mut watch = Watch::new(self.limit);
        loop {
            match lines.recv_timeout(watch.patience()) {
                Ok(line) => {
                    writeln!(log, "{line}").context("cannot write the console's log")?;
                    if let Some(ended) = watch.read(&line) {
                        seen(ended);
                    }
                    // Not left to its own end: a reset sometimes starts it all over, whatever QEMU was told.
                    if watch.state == State::Done {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    watch.die("it hung");
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    watch.die("it ended before its tests did");
                    break;
                }
            }
        }
        Ok(watch.report)
    }

    fn qemu(&self, job: &Path) -> Command {
        let mut emulator = self.emulator.qemu();
        emulator
            // No PCI and no firmware's option ROMs: it boots in seconds.
            .args(["-M", "microvm,x-option-roms=off,isa-serial=on,rtc=on"])
            .args(["-accel", "tcg", "-cpu", CPU, "-m", "2048"])
            .args(["-smp", &self.processors.to_string()])
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            .args(["-serial", "stdio"])
            .arg("-kernel")
            .arg(self.kernel.image())
            .arg("-initrd")
            .arg(self.initrd)
            .args(["-append", &kernel_arguments()]);
        for (id, file, options) in [
            // What the guest writes is forgotten at its end.
            ("root", self.disk, "snapshot=on"),
            ("job", job, "readonly=on"),
        ] {
            let drive = format!("id={id},format=raw,if=none,{options},file={}", file.display());
            emulator.args(["-drive", &drive]);
            emulator.args(["-device", &format!("virtio-blk-device,drive={id}")]);
        }
        let mut command = politely(&emulator);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        command
    }
}

/// The same command behind `nice`, since an emulated machine takes all it gets, and ended with us, whatever way that is.
fn politely(command: &Command) -> Command {
    let mut words: Vec<OsString> = Vec::new();
    for (wrapper, arguments) in [("setpriv", ["--pdeathsig", "KILL"]), ("nice", ["-n", "5"])] {
        if let Some(program) = find_program(wrapper) {
            words.push(program.into());
            words.extend(arguments.map(OsString::from));
        }
    }
    words.push(command.get_program().to_owned());
    let mut behind = Command::new(&words[0]);
    behind.args(&words[1..]).args(command.get_args()).envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    behind
}

/// Ended with its handle, whatever happens.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn kernel_arguments() -> String {
    let mut arguments = String::from(
        "console=ttyS0 earlyprintk=serial,ttyS0,115200 rdinit=/init loglevel=4 panic=-1 nokaslr edd=off mitigations=off init_on_alloc=0",
    );
    // This machine has no timer to calibrate the time stamp counter by but one that the emulation makes late;
    // a kernel that fails at it has a clock of 4 ms steps, or hangs. The counter is this host's own.
    if let Some(khz) = tsc_khz(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()) {
        arguments += &format!(" tsc_early_khz={khz} tsc=reliable");
    }
    arguments
}

/// The speed of the time stamp counter: Linux derives its bogomips from it, two for each MHz.
fn tsc_khz(cpuinfo: &str) -> Option<u64> {
    let line = cpuinfo.lines().find(|line| line.starts_with("bogomips"))?;
    let bogomips: f64 = line.split_once(':')?.1.trim().parse().ok()?;
    Some((bogomips * 500.0).round() as u64)
}

fn job_text(program: &str, limit: Duration, tests: &[String]) -> Vec<u8> {
    let mut text = format!("limit {}\nprogram {program}\n", limit.as_secs());
    for test in tests {
        text += &format!("test {test}\n");
    }
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(JOB_BYTES), 0);
    bytes
}

/// Follows the console.
struct Watch {
    limit: Duration,
    report: Report,
    started: Instant,
    output: Vec<String>,
    state: State,
    /// The first line of a kernel's complaint.
    oops: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Idle,
    Testing,
    /// It has said that it will go on no more; as a rule it ends then.
    Panicked,
    Done,
}

impl Watch {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            report: Report::default(),
            started: Instant::now(),
            output: Vec::new(),
            state: State::Starting,
            oops: None,
        }
    }

    /// How long the next line may take.
    fn patience(&self) -> Duration {
        let whole = match self.state {
            State::Starting => START,
            State::Idle | State::Done => BETWEEN,
            State::Testing => self.limit + GRACE,
            State::Panicked => GRACE,
        };
        whole.saturating_sub(self.started.elapsed())
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.started = Instant::now();
    }

    /// Takes a line in. Gives the test that has ended with it.
    fn read(&mut self, line: &str) -> Option<&Ended> {
        match classify(line) {
            Line::Up => self.turn(State::Idle),
            Line::Begin(test) => {
                self.output.clear();
                self.report.during = Some(test.to_owned());
                self.turn(State::Testing);
            }
            Line::Output(text) => self.output.push(text.to_owned()),
            Line::End(test, code) => {
                let took = self.started.elapsed();
                self.turn(State::Idle);
                self.report.during = None;
                self.report.ended.push(Ended {
                    test: test.to_owned(),
                    code,
                    output: std::mem::take(&mut self.output),
                    took,
                });
                return self.report.ended.last();
            }
            Line::Done => self.turn(State::Done),
            Line::Broken(why) | Line::Oops(why) => {
                if why.contains(PANIC) {
                    self.turn(State::Panicked);
                }
                self.oops.get_or_insert_with(|| why.to_owned());
            }
            Line::Other => {}
        }
        None
    }

    /// The guest is no more.
    fn die(&mut self, how: &str) {
        if self.state != State::Done {
            self.report.died = Some(self.oops.take().unwrap_or_else(|| how.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(lines: &[&str]) -> Watch {
        let mut watch = Watch::new(Duration::from_secs(240));
        for line in lines {
            watch.read(line);
        }
        watch.die("it ended before its tests did");
        watch
    }

    #[test]
    fn a_boot_that_comes_to_its_end_reports_each_test() {
        let watch = watch(&[
            "@vm up 6.1.0",
            "@vm begin drop::half",
            "@| running 1 test",
            "@vm end drop::half 0",
            "@vm begin drop::all",
            "@vm end drop::all 101",
            "@vm done",
            "[    9.0] reboot: Restarting system",
        ]);
        let report = &watch.report;
        assert_eq!((&report.died, &report.during), (&None, &None));
        let codes: Vec<_> = report.ended.iter().map(|e| (e.test.as_str(), e.code)).collect();
        assert_eq!(codes, [("drop::half", 0), ("drop::all", 101)]);
        assert_eq!(report.ended[0].output, ["running 1 test"]);
    }

    #[test]
    fn a_guest_that_dies_names_the_test_and_the_kernels_first_complaint() {
        let watch = watch(&[
            "@vm up 6.1.0",
            "@vm begin drop::half",
            "[   12.1] BUG: kernel NULL pointer dereference, address: 0000000000000010",
            "[   12.2] Kernel panic - not syncing: Fatal exception",
        ]);
        assert_eq!(watch.report.during.as_deref(), Some("drop::half"));
        assert!(watch.report.died.is_some_and(|why| why.contains("NULL pointer")));
    }

    #[test]
    fn nobody_waits_for_a_kernel_that_has_panicked() {
        let limit = Duration::from_mins(30);
        let mut watch = Watch::new(limit);
        for line in [
            "@vm up 6.12.0",
            "@vm begin bandwidth",
            "[  3.0] kernel BUG at net/core/skbuff.c:2612!",
        ] {
            watch.read(line);
        }
        assert!(watch.patience() > limit);
        watch.read("[  3.1] Kernel panic - not syncing: Fatal exception in interrupt");
        assert!(watch.patience() <= GRACE);
    }

    #[test]
    fn the_job_fills_whole_sectors() {
        let job = job_text("netns", Duration::from_secs(240), &["a::b".to_owned()]);
        assert_eq!(job.len() % 512, 0);
        assert!(job.starts_with(b"limit 240\nprogram netns\ntest a::b\n\0"));
    }

    #[test]
    fn the_counters_speed_is_read_from_cpuinfo() {
        assert_eq!(tsc_khz("model\t: x\nbogomips\t: 4890.86\n"), Some(2_445_430));
        assert_eq!(tsc_khz(""), None);
    }
}
