//! It ends: on time, by budget, by hand, by halt, and whatever dies.

use std::time::{Duration, Instant};

use chaos_tests::workload::{Handle, Probed};
use chaos_tests::{
    Daemon, FaultFile, Pair, Process, Snapshot, Workload, eventually, is_emulated, keep_running_without_tcx,
    monotonic_nanos, need, patience, require_processors, require_tcx, stalled,
};
use serde_json::json;

use crate::bed::{Bed, SOON};

const MILLI: u64 = 1_000_000;

/// A client that asks a UDP echo every half millisecond, and a daemon with a lease of its own choice.
struct Watched {
    client: Workload,
    _server: Workload,
    probe: Handle,
    daemon: Daemon,
    before: Snapshot,
    net: Pair,
}

impl Watched {
    fn new(daemon_args: &[&str]) -> Self {
        let net = Pair::new();
        keep_running_without_tcx(&net.client.device);
        let before = Snapshot::of_devices(&[&net.client.device, &net.server.device]);
        let (client, server) = (
            Workload::start(&net.client.netns, None),
            Workload::start(&net.server.netns, None),
        );
        server.udp_echo(net.server.at(9001));
        let daemon = Daemon::builder().args(daemon_args).start();
        let probe = client.probe(net.server.at(9001), Duration::from_micros(500));
        Self {
            client,
            _server: server,
            probe,
            daemon,
            before,
            net,
        }
    }

    fn report(&self) -> Probed {
        self.client.probe_report(self.probe)
    }

    fn cut(&self, duration: &str) {
        let fault = FaultFile::on_netns("cut", &self.net.client.netns, json!({"partition": {}}));
        self.daemon.ctl().apply(&[fault.lasting(duration)]);
        let now = monotonic_nanos();
        eventually(SOON, "a question stays without an answer", || {
            self.report()
                .between(now, u64::MAX)
                .iter()
                .take(3)
                .filter(|s| s.answered.is_none())
                .count()
                == 3
        });
    }

    /// When the traffic came back after `from`.
    #[track_caller]
    fn whole_again(&self, from: u64, within: Duration) -> u64 {
        whole_again(&self.client, self.probe, from, within)
    }

    fn assert_untouched(&self) {
        Snapshot::of_devices(&[&self.net.client.device, &self.net.server.device])
            .assert_same_as(&self.before);
    }
}

/// When the traffic of a probe came back after `from`: the time of the first answered question, all later ones of the
/// next 300 ms being answered, too.
#[track_caller]
fn whole_again(client: &Workload, probe: Handle, from: u64, within: Duration) -> u64 {
    eventually(within, "the traffic comes back", || {
        let report = client.probe_report(probe);
        report
            .first_answered(from)
            .is_some_and(|first| report.now > first + 300 * MILLI)
    });
    let report = client.probe_report(probe);
    let settling = u64::try_from(patience(Duration::from_millis(50)).as_nanos()).expect("half a second");
    let last_lost = report.last_lost(report.now - settling).unwrap_or(0);
    // One answered question between lost ones would be a fault that flickers.
    report.first_answered(last_lost.max(from)).expect("it came back")
}

/// The time for which the machine stood still is not the product's.
#[track_caller]
fn assert_within(from: u64, to: u64, bound: Duration) {
    let (took, stalled) = (Duration::from_nanos(to.saturating_sub(from)), stalled(from, to));
    assert!(
        took - stalled < patience(bound),
        "{took:?}, of which the machine stood still for {stalled:?}, with a bound of {bound:?}"
    );
}

#[track_caller]
fn assert_three_seconds(from: u64, to: u64) {
    assert!(to >= from + 2950 * MILLI, "{} ms", (to - from) / MILLI);
    assert_within(from + 3000 * MILLI, to, Duration::from_millis(50));
}

fn lost_first(report: &Probed) -> u64 {
    report
        .samples
        .iter()
        .find(|s| s.answered.is_none())
        .map(|s| s.asked)
        .expect("something was lost")
}

#[test]
fn three_seconds_are_three_seconds() {
    let bed = Watched::new(&[]);
    bed.cut("3s");
    let started = lost_first(&bed.report());
    let ended = bed.whole_again(started, Duration::from_secs(5));
    assert_three_seconds(started, ended);
    let view = bed.daemon.ctl().wait_for_phase("cut", "Ended");
    assert_eq!(view.reason(), "Deadline");
    bed.assert_untouched();
}

#[test]
fn three_seconds_are_three_seconds_also_while_the_daemon_is_stopped() {
    let mut bed = Watched::new(&["--lease", "20s"]);
    bed.cut("3s");
    bed.daemon.sigstop();
    let started = lost_first(&bed.report());
    let ended = bed.whole_again(started, Duration::from_secs(5));
    assert_three_seconds(started, ended);
    bed.daemon.sigcont();
    let view = bed.daemon.ctl().wait_for_phase("cut", "Ended");
    assert_eq!(view.reason(), "Deadline");
    bed.assert_untouched();
}

#[test]
fn a_killed_daemon_lets_go_within_twenty_milliseconds_and_leaves_nothing() {
    // Without TCX the filters stay, and the lease ends the fault: see `clsact`.
    need!(require_tcx());
    let mut bed = Watched::new(&[]);
    bed.cut("60s");
    let objects = bed.daemon.bpf_objects();
    assert_eq!(objects.left(), objects, "they are loaded");
    let killed = bed.daemon.sigkill();
    let whole = bed.whole_again(killed, SOON);
    assert_within(killed, whole, Duration::from_millis(20));
    objects.assert_gone();
    bed.assert_untouched();
    bed.daemon.start_again();
    assert!(
        bed.daemon
            .ctl()
            .find("cut")
            .is_none_or(|view| view.phase() == "Ended"),
        "it does not come back"
    );
    let now = monotonic_nanos();
    eventually(SOON, "traffic flows", || {
        bed.report().first_answered(now).is_some()
    });
}

/// The kernel lets go of one link after the other, each for tens of milliseconds; nobody waits for that.
#[test]
fn a_killed_daemon_lets_go_of_ten_namespaces_within_twenty_milliseconds() {
    let mut daemon = Daemon::builder().args(&["--lease", "20s"]).start();
    // An emulated verifier takes its time over each.
    let cables: Vec<_> = (0..if is_emulated() { 3 } else { 10 })
        .map(|_| {
            let net = Pair::new();
            let (client, server) = (
                Workload::start(&net.client.netns, None),
                Workload::start(&net.server.netns, None),
            );
            server.udp_echo(net.server.at(9001));
            let probe = client.probe(net.server.at(9001), Duration::from_millis(2));
            (net, client, server, probe)
        })
        .collect();
    let faults: Vec<_> = (0..)
        .zip(&cables)
        .map(|(n, (net, ..))| {
            let spec = json!({"partition": {}});
            FaultFile::on_netns(&format!("cut{n}"), &net.client.netns, spec).lasting("60s")
        })
        .collect();
    daemon.ctl().apply(&faults);
    let cut = monotonic_nanos();
    for (_, client, _, probe) in &cables {
        eventually(SOON, "questions stay without an answer", || {
            let report = client.probe_report(*probe);
            let asked = report.between(cut, u64::MAX);
            asked.len() > 3 && asked.iter().all(|sample| sample.answered.is_none())
        });
    }
    let objects = daemon.bpf_objects();
    let killed = daemon.sigkill();
    let whole: Vec<u64> = cables
        .iter()
        .map(|(_, client, _, probe)| whole_again(client, *probe, killed, SOON))
        .collect();
    let took: Vec<u64> = whole.iter().map(|whole| (whole - killed) / 1000).collect();
    println!("whole after {took:?} µs");
    for whole in whole {
        assert_within(killed, whole, Duration::from_millis(20));
    }
    if require_tcx().is_err() {
        // Its filters do nothing, and stay until then.
        daemon.start_again();
    }
    objects.assert_gone();
}

/// What real-time work keeps is a processor, not the engine: faults come and go beside it.
#[test]
fn a_fault_ends_at_once_beside_a_processor_that_real_time_work_keeps() {
    need!(require_processors(2));
    const ROUNDS: u32 = 5;
    let bed = Bed::new();
    let cut = |n: u32| {
        FaultFile::on_netns(
            &format!("cut-{n}"),
            &bed.net.client.netns,
            json!({"partition": {}}),
        )
    };
    let round = |n: u32| {
        bed.ctl.apply(&[cut(n)]);
        let asked = Instant::now();
        bed.ctl.delete(&format!("cut-{n}"));
        asked.elapsed()
    };
    let usual = (0..ROUNDS).map(round).max().expect("some rounds");

    let keep = "echo kept; while :; do :; done";
    // It ends even if this test does not get to.
    let real_time = "timeout -s KILL 20 chrt -f 1 taskset -c 1 sh -c".split(' ');
    let argv: Vec<&str> = real_time.chain([keep]).collect();
    let hog = Process::spawn(&bed.net.server.netns, None, &argv);
    eventually(SOON, "real-time work keeps a processor", || {
        hog.stdout().contains("kept")
    });
    let beside = (ROUNDS..2 * ROUNDS).map(round).max().expect("some rounds");
    drop(hog);
    println!("a delete took {usual:?}, and {beside:?} beside real-time work");
    assert!(beside < usual + patience(Duration::from_millis(250)));
}

/// A line, its device and the packets on it end with the process.
#[test]
fn a_killed_daemon_takes_its_lines_along() {
    need!(require_tcx());
    let mut bed = Watched::new(&[]);
    let slow =
        |name: &str| FaultFile::on_netns(name, &bed.net.client.netns, json!({"delay": {"latency": "40ms"}}));
    bed.daemon.ctl().apply(&[slow("late")]);
    let devices = |bed: &Watched| bed.net.client.netns.ip("-br link show");
    assert!(devices(&bed).contains("chaos-line"), "{}", devices(&bed));
    let objects = bed.daemon.bpf_objects();
    let killed = bed.daemon.sigkill();
    let whole = bed.whole_again(killed, SOON);
    assert_within(killed, whole, Duration::from_millis(20));
    eventually(SOON, "the device is gone", || {
        !devices(&bed).contains("chaos-line")
    });
    objects.assert_gone();
    bed.assert_untouched();
}

#[test]
fn a_hung_daemon_loses_its_lease() {
    let mut bed = Watched::new(&[]);
    bed.cut("60s");
    let stopped = bed.daemon.sigstop();
    let whole = bed.whole_again(stopped, Duration::from_secs(5));
    let lease = Duration::from_secs(2);
    assert_within(stopped, whole, lease + Duration::from_millis(50));
    bed.daemon.sigcont();
    // Awake again it must not take up where it left: nobody knows what happened meanwhile.
    let view = bed.daemon.ctl().wait_for_phase("cut", "Ended");
    assert_eq!(view.reason(), "Lease");
    let report = bed.report();
    assert_eq!(
        report
            .last_lost(report.now - 50 * MILLI)
            .filter(|lost| *lost > whole),
        None,
        "it did not flicker"
    );
    bed.assert_untouched();
    bed.cut("60s");
}

#[test]
fn delete_and_sigterm_end_at_once() {
    let mut bed = Watched::new(&[]);
    bed.cut("60s");
    let deleted = monotonic_nanos();
    bed.daemon.ctl().delete("cut");
    let whole = bed.whole_again(deleted, SOON);
    assert_within(deleted, whole, Duration::from_millis(100));
    bed.assert_untouched();
    bed.cut("60s");
    let objects = bed.daemon.bpf_objects();
    let ended = monotonic_nanos();
    assert!(bed.daemon.stop().success());
    let whole = bed.whole_again(ended, SOON);
    assert_within(ended, whole, Duration::from_millis(500));
    objects.assert_gone();
    bed.assert_untouched();
}

#[test]
fn a_budget_is_spent_to_the_packet() {
    let bed = Bed::new();
    for (n, fault) in [
        json!({"partition": {}}),
        json!({"drop": {"chance": "40%"}}),
        json!({"duplicate": {}}),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("hundred-{n}");
        bed.ctl.apply(&[bed
            .on_client(&name, fault)
            .traffic(json!({"protocol": "udp"}))
            .max_packets(100)]);
        let report = bed.send(bed.net.server.at(9000 + n as u16), 2000);
        let hit = report.lost(2000).len() as u64 + report.duplicates();
        assert_eq!(hit, 100, "{name}");
        let view = bed.ctl.wait_for_phase(&name, "Ended");
        assert_eq!(view.reason(), "Budget");
        assert_eq!(view.packets("dropped") + view.packets("duplicated"), 100);
        bed.assert_untouched();
    }
}

/// Also where several processors meet many flows at once; and those that it has, it keeps.
#[test]
fn a_budget_of_flows_is_exact_and_the_fault_goes_on_with_those_it_has() {
    /// An answer that comes later counts as lost, so it is longer than a shared machine stands still.
    const WAIT: Duration = Duration::from_millis(600);
    let bed = Bed::new();
    let to = bed.net.server.at(9000);
    bed.server.udp_echo(to);
    let cut = |name: &str, flows: u64| {
        let cut = bed.on_client(name, json!({"partition": {}}));
        cut.traffic(json!({"protocol": "udp", "remote": {"ports": [9000]}}))
            .max_flows(flows)
    };
    let is_lost = |client: &Workload, socket: Handle| client.udp_ask(socket, WAIT).result.is_err();
    bed.ctl.apply(&[cut("few", 7)]);
    let sockets: Vec<Handle> = (0..20).map(|_| bed.client.udp_open(None, Some(to))).collect();
    for round in 0..2 {
        let lost: Vec<bool> = sockets
            .iter()
            .map(|socket| is_lost(&bed.client, *socket))
            .collect();
        assert_eq!(lost, [vec![true; 7], vec![false; 13]].concat(), "round {round}");
    }
    let view = bed.delete("few");
    assert_eq!((view.packets("matched"), view.packets("dropped")), (14, 14));

    bed.ctl.apply(&[cut("some", 50)]);
    let lost: usize = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let client = Workload::start(&bed.net.client.netns, None);
                    (0..25)
                        .filter(|_| is_lost(&client, client.udp_open(None, Some(to))))
                        .count()
                })
            })
            .collect();
        asking
            .into_iter()
            .map(|thread| thread.join().expect("it asks"))
            .sum()
    });
    assert_eq!(lost, 50);
    bed.delete("some");
}

#[test]
fn a_seed_replays_its_sequence_and_another_seed_does_not() {
    let bed = Bed::new();
    let mut port = 9000;
    let mut losses = |seed: Option<u64>| {
        port += 1;
        let name = format!("half-{port}");
        let fault = FaultFile::on_netns(&name, &bed.net.client.netns, json!({"drop": {"chance": "50%"}}))
            .traffic(json!({"protocol": "udp"}));
        bed.ctl.apply(&[match seed {
            Some(seed) => fault.seed(seed),
            None => fault,
        }]);
        let lost = bed.send(bed.net.server.at(port), 500).lost(500);
        let seed = bed.ctl.fault(&name).seed();
        bed.ctl.delete(&name);
        (lost, seed)
    };
    let (seven, seed) = losses(Some(7));
    assert_eq!(seed, 7);
    assert_eq!(losses(Some(7)).0, seven, "the same seed");
    assert_ne!(losses(Some(8)).0, seven, "another seed");
    let (drawn, seed) = losses(None);
    assert_eq!(losses(Some(seed)).0, drawn, "the seed that was recorded");
}
