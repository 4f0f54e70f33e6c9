//! Two namespaces, a client that asks an echo twice a millisecond, and a daemon that is hit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chaos_tests::workload::{Handle, Probed, Sample};
use chaos_tests::{
    Api, Daemon, FaultFile, Pair, Snapshot, Workload, eventually, keep_running_without_tcx, monotonic_nanos,
    moved, patience, stalled, until,
};
use serde_json::json;

use crate::draw::Draw;
use crate::load::{acts, carry_out, echo};

/// Of all tests together, when nobody says otherwise, and with `cargo xtask test --all`.
const ROUNDS: u64 = 100;
const ALL_ROUNDS: u64 = 1000;
/// The daemon's lease, short so that a round is.
const LEASE: Duration = Duration::from_millis(500);
/// An answer that took longer was delayed; no fault delays by less.
const LATE: Duration = Duration::from_millis(25);
/// For how long traffic must stay whole to count as whole.
const STEADY: Duration = Duration::from_millis(150);
const SOON: Duration = Duration::from_secs(10);

/// What happens to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// SIGKILL.
    Kill,
    /// SIGABRT: what a failed allocation ends in.
    Abort,
    /// SIGSTOP, and SIGCONT after its lease is over.
    Stop,
    /// SIGTERM.
    Term,
    /// SIGKILL before it is ready, after it was killed at work.
    KillAtStart,
}

impl Blow {
    /// How long the traffic may stay hurt, if the process is not gone later than that.
    fn bound(self) -> Duration {
        match self {
            Self::Kill | Self::Abort | Self::KillAtStart => Duration::from_millis(20),
            Self::Stop => LEASE + Duration::from_millis(50),
            Self::Term => Duration::from_millis(200),
        }
    }
}

/// Rounds of one kind of blow: `share` of a hundred.
pub(crate) fn campaign(blow: Blow, share: u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let usual = if std::env::var_os("CHAOS_TEST_ALL").is_some() {
        ALL_ROUNDS
    } else {
        ROUNDS
    };
    let rounds = (number("CHAOS_CRASH_ROUNDS").unwrap_or(usual) * share).div_ceil(100);
    let first = number("CHAOS_CRASH_SEED").unwrap_or_else(monotonic_nanos);
    let mut bed = Bed::new();
    let mut worst = Duration::ZERO;
    for seed in (0..rounds).map(|round| first.wrapping_add(round)) {
        let round = Named { seed, done: false };
        worst = worst.max(bed.round(blow, seed));
        round.done();
    }
    println!("{blow:?}: {rounds} rounds, whole again within {worst:?} at the latest");
    bed.end();
}

/// Says which round it was when one fails.
struct Named {
    seed: u64,
    done: bool,
}

impl Named {
    fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if !self.done {
            println!(
                "this round again: CHAOS_CRASH_SEED={} CHAOS_CRASH_ROUNDS=1",
                self.seed
            );
        }
    }
}

/// Fields are dropped in this order.
pub(crate) struct Bed {
    client: Workload,
    _server: Workload,
    daemon: Daemon,
    before: Snapshot,
    net: Pair,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let net = Pair::new();
        for device in [&net.client.device, &net.server.device] {
            keep_running_without_tcx(device);
        }
        let before = Snapshot::of_devices(&[&net.client.device, &net.server.device]);
        let (client, server) = (
            Workload::start(&net.client.netns, None),
            Workload::start(&net.server.netns, None),
        );
        server.udp_echo(echo(&net));
        let lease = format!("{}ms", LEASE.as_millis());
        let daemon = Daemon::builder().args(&["--lease", &lease]).start();
        Self {
            client,
            _server: server,
            daemon,
            before,
            net,
        }
    }

    /// One round; how long the traffic stayed hurt.
    fn round(&mut self, blow: Blow, seed: u64) -> Duration {
        let mut draw = Draw::new(seed);
        let acts = acts(&mut draw, &self.net);
        let api = Api::of(&self.daemon);
        let objects = self.daemon.bpf_objects();
        // From before the first request arrives to when all are over; early moments are as likely as late ones.
        let moment = Duration::from_micros((1 << (8 + draw.below(12))) + draw.below(1 << 10));
        let over = AtomicBool::new(false);
        let (probe, took) = std::thread::scope(|scope| {
            let probe = self.client.probe(echo(&self.net), Duration::from_micros(500));
            let start = monotonic_nanos();
            scope.spawn(|| {
                for act in &acts {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    carry_out(&api, act);
                }
            });
            until(start + nanos(moment));
            let hit = match blow {
                Blow::Kill | Blow::KillAtStart => self.daemon.sigkill(),
                Blow::Abort => self.daemon.sigabrt(),
                Blow::Stop => self.daemon.sigstop(),
                Blow::Term => {
                    let hit = monotonic_nanos();
                    let status = self.daemon.stop();
                    assert!(status.success(), "it exits 0 on SIGTERM, not {status}");
                    hit
                }
            };
            over.store(true, Ordering::Relaxed);
            // On a crowded machine even SIGKILL waits for its turn.
            let gone = Duration::from_nanos(monotonic_nanos() - hit);
            let bound = match blow {
                Blow::Stop => patience(blow.bound()),
                _ => patience(blow.bound()).max(gone),
            };
            // Requests to a daemon that stands still hang until it goes on, so the traffic is looked at first.
            let took = self.assert_whole(probe, hit, bound);
            if blow == Blow::Stop {
                self.daemon.sigcont();
            }
            (probe, took)
        });
        self.client.close(probe);
        if blow == Blow::Stop {
            // Those that ran are over, and what the queue still held is ended as a user would.
            eventually(SOON, "the daemon answers again", || {
                api.try_get("/v1/faults").is_some()
            });
            self.daemon.stop();
        }
        if blow == Blow::KillAtStart {
            self.daemon.begin_again();
            until(monotonic_nanos() + nanos(Duration::from_micros(1 << (8 + draw.below(10)))));
            self.daemon.sigkill();
        }
        eventually(SOON, "all BPF objects are gone", || {
            objects.left() == Default::default()
        });
        self.daemon.start_again();
        self.assert_quiet(&api);
        self.assert_untouched();
        took
    }

    /// When the traffic was whole again after `hit`.
    fn assert_whole(&self, probe: Handle, hit: u64, bound: Duration) -> Duration {
        let report = self.observe(probe, hit, bound);
        judge(&report, hit, bound).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The probe's report once it can be judged.
    fn observe(&self, probe: Handle, hit: u64, bound: Duration) -> Probed {
        let enough = hit + nanos(bound + STEADY + 2 * LATE);
        eventually(SOON, "the client goes on asking", || {
            self.client
                .probe_report(probe)
                .samples
                .last()
                .is_some_and(|last| last.asked > enough)
        });
        self.client.probe_report(probe)
    }

    /// Whether the traffic is whole within a bound, watched by a probe of its own.
    pub(crate) fn whole_after(&self, from: u64, bound: Duration) -> Result<Duration, String> {
        let probe = self.client.probe(echo(&self.net), Duration::from_micros(500));
        let report = self.observe(probe, from, bound);
        self.client.close(probe);
        judge(&report, from, bound)
    }

    /// No fault acts, and none is kept back: a daemon never takes up what another has left.
    fn assert_quiet(&self, api: &Api) {
        let list = api.try_get("/v1/faults").expect("the daemon answers");
        let acting: Vec<&serde_json::Value> = list["items"]
            .as_array()
            .expect("a list of faults")
            .iter()
            .filter(|fault| fault["status"]["phase"] != "Ended")
            .collect();
        assert!(acting.is_empty(), "{acting:?}");
        api.try_send("DELETE", "/v1/halt", "");
    }

    fn assert_untouched(&self) {
        if !self.is_untouched() {
            // The kernel lets go of a device a moment later.
            eventually(Duration::from_secs(2), "devices are as they were", || {
                self.is_untouched()
            });
        }
    }

    pub(crate) fn is_untouched(&self) -> bool {
        Snapshot::of_devices(&[&self.net.client.device, &self.net.server.device]) == self.before
    }

    /// What the campaign looks for.
    pub(crate) fn leave_a_rule_behind(&self) {
        let fault = FaultFile::on_netns("stays", &self.net.client.netns, json!({"drop": {"every": 20}}));
        self.daemon.ctl().apply(&[fault]);
    }

    pub(crate) fn clear_up(&self) {
        self.daemon.ctl().delete("stays");
    }

    fn end(mut self) {
        let status = self.daemon.stop();
        assert!(status.success(), "{status}");
        self.assert_untouched();
    }
}

/// How long after `hit` the last question was hurt: lost, or answered late. The time for which the machine stood still
/// is not the product's.
fn judge(report: &Probed, hit: u64, bound: Duration) -> Result<Duration, String> {
    let samples = report.between(hit, report.now);
    // The answers to the last questions may still be on their way.
    let hurt = |s: &Sample| match s.answered {
        Some(answered) => moved(s.asked, answered) > LATE,
        None => moved(s.asked, report.now) > 2 * LATE,
    };
    let last = samples.iter().rev().find(|s| hurt(s)).map_or(hit, |s| s.asked);
    let took = Duration::from_nanos(last - hit);
    let stalled = stalled(hit, last);
    if took <= bound + stalled {
        Ok(took)
    } else {
        let hurt: Vec<String> = samples.iter().filter(|s| hurt(s)).map(|s| told(s, hit)).collect();
        let few = hurt.len().saturating_sub(10);
        Err(format!(
            "hurt until {took:?} after the blow, with a bound of {bound:?}; {} of {} questions, the machine stood \
             still for {stalled:?} of it; the last ones: {}",
            hurt.len(),
            samples.len(),
            hurt[few..].join(", "),
        ))
    }
}

/// When a question was asked, counted from `hit`, and what became of it.
fn told(sample: &Sample, hit: u64) -> String {
    let asked = Duration::from_nanos(sample.asked - hit);
    match sample.answered {
        Some(answered) => format!(
            "{asked:?} took {:?}",
            Duration::from_nanos(answered - sample.asked)
        ),
        None => format!("{asked:?} lost"),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("a short time")
}
