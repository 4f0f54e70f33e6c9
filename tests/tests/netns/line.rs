//! The line as such: what it does to packets that no fault means to touch, and how it comes and goes.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use chaos_tests::{
    FaultFile, Netns, Process, Snapshot, Stopwatch, eventually, is_emulated, is_full_run, monotonic_nanos,
    need, require_program, require_tcx, veth,
};
use serde_json::{Value, json};

use crate::bed::{Bed, SOON};

const MILLI: u64 = 1_000_000;

/// Names of all devices of a namespace.
pub(crate) fn devices(netns: &Netns) -> Vec<String> {
    let links: Value = serde_json::from_str(&netns.ip("-j link")).expect("ip -j prints JSON");
    let links = links.as_array().expect("a list").iter();
    links
        .filter_map(|link| Some(link["ifname"].as_str()?.to_owned()))
        .collect()
}

pub(crate) fn lines(netns: &Netns) -> usize {
    devices(netns)
        .iter()
        .filter(|name| name.starts_with("chaos-line"))
        .count()
}

#[test]
fn closing_the_line_of_one_device_touches_no_packet_of_another() {
    // The kernel line lets nothing go before its time.
    let mut bed = Bed::with(&["--line", "user"]);
    let (c1, s1) = veth((&bed.net.client.netns, "c1"), (&bed.net.server.netns, "s1"));
    let (here, there) = (Ipv4Addr::new(10, 78, 0, 1), Ipv4Addr::new(10, 78, 0, 2));
    c1.add_v4(here, 24);
    s1.add_v4(there, 24);
    bed.remember();
    let late = json!({"delay": {"latency": "100ms"}});
    bed.ctl.apply(&[
        FaultFile::on_device("first", &bed.net.client.device, late.clone()),
        FaultFile::on_device("second", &c1, late),
    ]);
    assert_eq!(lines(&bed.net.client.netns), 2);
    let places = [bed.net.server.at(7000), (there, 7001).into()];
    let probes = places.map(|place| {
        bed.server.udp_echo(place);
        let each = if is_emulated() { 5 } else { 1 };
        bed.client.probe(place, Duration::from_millis(each))
    });
    let asked = |at: u64| {
        eventually(Duration::from_secs(5), "questions go on", || {
            probes.iter().all(|probe| {
                let report = bed.client.probe_report(*probe);
                report.samples.last().is_some_and(|sample| sample.asked > at)
            })
        });
    };
    asked(monotonic_nanos() + 300 * MILLI);
    let before = monotonic_nanos();
    bed.ctl.delete("first");
    let after = monotonic_nanos();
    assert_eq!(lines(&bed.net.client.netns), 1);
    asked(after + 300 * MILLI);
    let end = monotonic_nanos() - 200 * MILLI;
    let waits = |probe: usize, from: u64, to: u64| {
        let samples = bed.client.probe_report(probes[probe]).between(from, to);
        let mut waits: Vec<u64> = samples
            .iter()
            .map(|sample| sample.answered.expect("none is lost") - sample.asked)
            .collect();
        waits.sort_unstable();
        waits
    };
    // Those of the other device wait as ever, before, during and after.
    let kept = waits(1, 0, end);
    let (least, middle, most) = (kept[0], kept[kept.len() / 2], kept[kept.len() - 1]);
    let told = format!("{} questions: {least}, {middle}, {most} ns", kept.len());
    println!("{told}");
    let busy = if is_emulated() { 5 } else { 1 };
    assert!(least >= 100 * MILLI && middle < (100 + busy) * MILLI, "{told}");
    // A machine that does other things meanwhile is late, too, but not by what closing a device takes.
    let around = waits(1, before - 100 * MILLI, after + 100 * MILLI);
    let late = around.iter().filter(|wait| **wait > 115 * MILLI).count();
    assert!(
        late * 10 < around.len() * busy as usize,
        "{late} of {} were late",
        around.len()
    );
    // Those of the closed one went on at once, and none was lost.
    let hurried = waits(0, before - 50 * MILLI, after);
    let part_of_it = 5 * MILLI..95 * MILLI;
    assert!(
        hurried.iter().any(|wait| part_of_it.contains(wait)),
        "{hurried:?}"
    );
    let free = waits(0, after, end);
    assert!(free[free.len() / 2] < 2 * MILLI, "{free:?}");
    bed.ctl.delete("second");
    bed.assert_untouched();
}

/// What a stream came to.
#[derive(Debug)]
pub(crate) struct Saturated {
    pub(crate) mbit: f64,
    /// The share of the time for which the machine did not stand still.
    pub(crate) awake: f64,
    /// Segments sent again, beyond [`Saturated::probes`] and [`Saturated::refused`].
    pub(crate) again: u64,
    /// Segments that TCP sent again after two round-trip times of silence, to see whether one was lost: the thread of a
    /// line that has to wait for a busy CPU looks like that.
    probes: u64,
    /// Segments that came out of order.
    pub(crate) swapped: u64,
    /// Packets that a receiving CPU had no room for (`netdev_max_backlog`), wherever they came from: behind the line.
    pub(crate) refused: u64,
}

impl Saturated {
    /// Whether nothing was lost or swapped on the way. What comes after a refused packet is out of order, too.
    pub(crate) fn is_whole(&self) -> bool {
        self.again == 0 && (self.swapped == 0 || self.refused > 0)
    }
}

/// Packets that CPUs have had no room for so far. Only behind emulated processors does a line lose them: Linux 6.1 does not tell it.
fn refused() -> u64 {
    if !is_emulated() {
        return 0;
    }
    let table = std::fs::read_to_string("/proc/net/softnet_stat").expect("every kernel has it");
    let drops = |cpu: &str| u64::from_str_radix(cpu.split(' ').nth(1)?, 16).ok();
    table.lines().filter_map(drops).sum()
}

pub(crate) fn seconds() -> u64 {
    if is_full_run() { 60 } else { 8 }
}

/// Where the two ends of a stream run, as iperf3 takes it.
pub(crate) mod cpus {
    /// Both on one CPU. Each CPU has a queue of its own for what a veth receives, so a sender overtakes itself, with or
    /// without a daemon, when it moves, or when an acknowledgement has it send from the receiver's CPU: not here.
    pub(crate) const ONE: &str = "0,0";
    /// The receiver wherever there is room: what two CPUs come to.
    pub(crate) const ANY: &str = "0";
}

/// Streams as fast as the machine can, for as long as the promise says in a full run.
pub(crate) fn saturate(bed: &Bed, streams: u32, cpus: &str) -> Saturated {
    saturate_to(bed, bed.net.server.v4.into(), "cubic", streams, cpus)
}

/// The same to an address of the server, under some congestion control.
pub(crate) fn saturate_to(bed: &Bed, to: IpAddr, control: &str, streams: u32, cpus: &str) -> Saturated {
    let (client, server) = (&bed.net.client.netns, &bed.net.server.netns);
    let counts = || {
        [
            client.tcp_count("RetransSegs"),
            client.tcp_count("TCPLossProbes"),
            server.tcp_count("TCPOFOQueue"),
            refused(),
        ]
    };
    let (seconds, streams) = (seconds().to_string(), streams.to_string());
    let address = to.to_string();
    let before = counts();
    let argv = [
        "iperf3", "-c", &address, "-A", cpus, "-C", control, "-t", &seconds, "-P", &streams, "-J",
    ];
    let (start, watch) = (Instant::now(), Stopwatch::start());
    let done = Process::spawn(&bed.net.client.netns, None, &argv).finish(Duration::from_secs(90));
    let awake = watch.took().as_secs_f64() / start.elapsed().as_secs_f64();
    let report: Value =
        serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", done.stdout, done.stderr));
    let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
    let after = counts();
    let [sent_again, probes, swapped, refused] = std::array::from_fn(|i| after[i] - before[i]);
    Saturated {
        mbit: rate.expect("a rate") / 1e6,
        awake,
        // A probe may also be a segment that was new.
        again: sent_again.saturating_sub(probes + refused),
        probes,
        swapped,
        refused,
    }
}

#[test]
fn a_line_with_nothing_to_do_loses_and_swaps_nothing_on_a_saturated_link() {
    need!(require_program("iperf3"));
    let bed = Bed::with(&["--line", "user"]);
    let server = &bed.net.server.netns;
    // What is swapped then, the veth has not.
    for end in [&bed.net.client, &bed.net.server] {
        end.device.steer();
    }
    let _iperf = Process::spawn(server, None, &["iperf3", "-s"]).listens(server, 5201);
    bed.ctl.apply(&[bed
        .on_client("never", json!({"drop": {"chance": "0%"}}))
        .lasting("5m")]);
    let found = saturate(&bed, 1, cpus::ONE);
    println!("{found:?}");
    assert!(found.is_whole(), "{found:?}");
    // Two dozen in eight seconds come without a line as well, when the machine is busy.
    let segments = found.mbit * 1e6 / 8.0 / 1448.0 * seconds() as f64;
    assert!((found.probes as f64) < segments / 5_000.0, "{found:?}");
    assert!(found.mbit > 300.0, "{found:?}");
    let view = bed.delete("never");
    assert_eq!(view.packets("dropped"), 0);
    assert!(view.packets("matched") as f64 > segments * 0.9, "{segments}");
    let mut warnings = view.own_warnings();
    // What the receiver refuses, the device gives back to the line.
    warnings.retain(|code| found.refused == 0 || *code != "LineLost");
    assert_eq!(warnings, ["NeverActs"]);
}

/// What the veth does to 20 Gbit/s is its own affair; the line has no part in it.
#[test]
fn packets_that_no_fault_names_do_not_see_an_idle_line() {
    need!(require_program("iperf3"));
    let bed = Bed::new();
    let (client, server) = (&bed.net.client.netns, &bed.net.server.netns);
    let _iperf = Process::spawn(server, None, &["iperf3", "-s"]).listens(server, 5201);
    let healthy = saturate(&bed, 1, cpus::ANY);
    bed.ctl.apply(&[bed
        .on_client("idle", json!({"delay": {"latency": "10ms"}}))
        .traffic(json!({"direction": "both", "protocol": "udp", "remote": {"ports": [9]}}))
        .lasting("5m")]);
    let found = saturate(&bed, 1, cpus::ANY);
    println!("{found:?}, without: {healthy:?}");
    assert!(found.mbit > healthy.mbit / 2.0, "{found:?}, without: {healthy:?}");
    let line: Value =
        serde_json::from_str(&client.ip("-j -s link show dev chaos-line0")).expect("ip prints JSON");
    for way in ["rx", "tx"] {
        assert_eq!(line[0]["stats64"][way]["packets"], 0, "{line}");
    }
    let view = bed.delete("idle");
    assert_eq!(view.packets("matched"), 0);
    assert!(view.own_warnings().is_empty(), "{:?}", view.own_warnings());
}

#[test]
fn a_killed_daemon_leaves_nothing_of_its_lines() {
    need!(require_tcx());
    let mut bed = Bed::new();
    let netns = bed.net.client.netns.clone();
    let look = || Snapshot::of_devices(&[&bed.net.client.device]);
    let (before, sysctls) = (look(), netns.sysctls());
    bed.ctl.apply(&[
        bed.on_client("late", json!({"delay": {"latency": "50ms"}}))
            .traffic(json!({"direction": "both"})),
        bed.on_client("slow", json!({"bandwidth": {"rate": "1mbit"}}))
            .traffic(json!({"protocol": "tcp"})),
        bed.on_client("lossy", json!({"drop": {"chance": "1%"}})),
    ]);
    assert!(lines(&netns) > 0);
    let to = bed.net.server.at(9000);
    assert!(bed.reaches(to));
    bed.daemon.sigkill();
    // The kernel takes its time to let devices go.
    eventually(SOON, "the devices are gone", || lines(&netns) == 0);
    assert!(bed.reaches(to));
    look().assert_same_as(&before);
    assert_eq!(netns.sysctls(), sysctls);
    bed.daemon.start_again();
    assert!(bed.ctl.faults().is_empty(), "nothing comes back by itself");
    look().assert_same_as(&before);
}

#[test]
fn what_stays_in_its_namespace_is_spared() {
    let bed = Bed::new();
    bed.ctl.apply(&[bed
        .on_client("late", json!({"delay": {"latency": "100ms"}}))
        .traffic(json!({"direction": "both", "protocol": "tcp"}))]);
    // From the namespace to its own address: by the loopback, which no default means.
    let own = bed.net.client.at(8080);
    bed.client.tcp_serve(own);
    let opened = bed.client.tcp_open(None, own, SOON);
    let exchanged = bed.client.tcp_exchange(opened.stream(), 1000, SOON);
    assert_eq!(exchanged.result, Ok(0));
    assert!(
        opened.micros + exchanged.micros < 100_000,
        "{opened:?} {exchanged:?}"
    );
    let view = bed.delete("late");
    assert_eq!(view.packets("matched"), 0);
}
