//! Without TCX: filters in clsact qdiscs, which outlive a daemon that is killed. Kernels before 6.6 have no other way;
//! newer ones take it when they are told to.

use std::time::Duration;

use chaos_tests::{Daemon, Device, FaultFile, Pair, Snapshot, Workload, eventually, patience};
use serde_json::{Value, json};

use crate::bed::BRIEF;

/// The lease of a daemon that is not told another; and what a busy machine may need to be seen after it.
const LEASE: Duration = Duration::from_secs(2);
const MARGIN: Duration = Duration::from_millis(500);
/// Until a machine that is slow has asked its questions.
const LATER: Duration = Duration::from_secs(20);

/// A client that asks echoes on ports 9000 and 9001 of a server, and a daemon without TCX and XDP.
struct Bed {
    client: Workload,
    _server: Workload,
    daemon: Daemon,
    before: Snapshot,
    net: Pair,
}

impl Bed {
    fn new() -> Self {
        let net = Pair::new();
        let (client, server) = (
            Workload::start(&net.client.netns, None),
            Workload::start(&net.server.netns, None),
        );
        for port in [9000, 9001] {
            server.udp_echo(net.server.at(port));
        }
        Self {
            before: Snapshot::of_devices(&[&net.client.device, &net.server.device]),
            daemon: Daemon::builder()
                .args(&["--attach", "clsact", "--xdp", "never"])
                .start(),
            client,
            _server: server,
            net,
        }
    }

    /// Milliseconds that a question takes.
    fn takes(&self, port: u16) -> f64 {
        let socket = self.client.udp_open(None, Some(self.net.server.at(port)));
        let asked = self.client.udp_ask(socket, LATER);
        self.client.close(socket);
        assert_eq!(asked.result, Ok(()), "{port}");
        asked.nanos as f64 / 1e6
    }

    fn asks(&self, port: u16) -> bool {
        let socket = self.client.udp_open(None, Some(self.net.server.at(port)));
        let answered = self.client.udp_ask(socket, BRIEF).result.is_ok();
        self.client.close(socket);
        answered
    }

    /// Cuts port 9000 off.
    fn cut(&self, direction: &str) {
        let traffic = json!({"direction": direction, "protocol": "udp", "remote": {"ports": [9000]}});
        let fault = FaultFile::on_netns("cut", &self.net.client.netns, json!({"partition": {}}));
        self.daemon.ctl().apply(&[fault.traffic(traffic)]);
        eventually(LATER, "the fault acts", || !self.asks(9000));
        assert!(self.asks(9001), "the port beside it");
    }

    fn assert_untouched(&self) {
        self.now().assert_same_as(&self.before);
    }

    fn now(&self) -> Snapshot {
        Snapshot::of_devices(&[&self.net.client.device, &self.net.server.device])
    }
}

/// Handles of the filters on a device, in one direction.
fn filters(device: &Device, direction: &str) -> Vec<Value> {
    let list = ["tc", "-j", "filter", "show", "dev", device.name(), direction];
    let text = device.netns().run(&list);
    if text.trim().is_empty() {
        return Vec::new();
    }
    let list: Vec<Value> = serde_json::from_str(&text).expect("tc prints JSON when it is asked to");
    list.into_iter()
        .filter_map(|filter| filter["options"].get("handle").cloned())
        .collect()
}

#[test]
fn faults_of_both_directions_act_beside_a_filter_of_somebody_else() {
    let mut bed = Bed::new();
    bed.net.client.device.add_foreign_filter();
    bed.before = bed.now();
    for direction in ["egress", "ingress", "both"] {
        bed.cut(direction);
        let view = bed.daemon.ctl().fault("cut");
        let attachments = view.attachments();
        assert!(
            !attachments.is_empty() && attachments.iter().all(|a| a["mode"] == "clsact"),
            "{direction}: {attachments:?}"
        );
        assert!(view.warnings().contains(&"ClsactFallback"), "{direction}");
        bed.daemon.ctl().delete("cut");
        bed.assert_untouched();
        assert!(bed.asks(9000), "{direction}: after");
    }
}

/// The kernel stops a device for the moment in which it gets a clsact qdisc or loses it. One that is there before stays,
/// and then nobody beside the fault may lose a packet to its beginning or end.
#[test]
fn nobody_loses_a_packet_where_the_qdisc_is_there_before() {
    let mut bed = Bed::new();
    for end in [&bed.net.client, &bed.net.server] {
        end.device.add_foreign_filter();
    }
    bed.before = bed.now();
    let probe = bed
        .client
        .probe(bed.net.server.at(9001), Duration::from_micros(500));
    for _ in 0..5 {
        bed.cut("both");
        bed.daemon.ctl().delete("cut");
        assert!(bed.asks(9000));
        bed.assert_untouched();
    }
    let report = bed.client.probe_report(probe);
    let settled = report.now - 1_000_000_000;
    assert!(report.samples.len() > 1000, "{}", report.samples.len());
    assert_eq!(report.last_lost(settled), None);
}

/// The line's own device carries its filter, and takes it along.
#[test]
fn a_line_makes_packets_wait_and_goes_with_its_daemon() {
    let mut bed = Bed::new();
    let late = |direction: &str| {
        let traffic = json!({"direction": direction, "protocol": "udp", "remote": {"ports": [9000]}});
        FaultFile::on_netns(
            "late",
            &bed.net.client.netns,
            json!({"delay": {"latency": "60ms"}}),
        )
        .traffic(traffic)
    };
    let faults = ["egress", "ingress", "both"].map(late);
    let healthy = bed.takes(9000);
    for (fault, least) in faults.iter().zip([60.0, 60.0, 120.0]) {
        bed.daemon.ctl().apply(std::slice::from_ref(fault));
        let took = bed.takes(9000);
        let spare = patience(Duration::from_millis(50)).as_secs_f64() * 1000.0;
        assert!(
            (least..least + spare + 4.0 * healthy).contains(&took),
            "{took} ms for {least}"
        );
        let beside = bed.takes(9001);
        assert!(beside < least, "the port beside it: {beside} ms");
        bed.daemon.ctl().delete("late");
        bed.assert_untouched();
        assert!(bed.takes(9000) < least, "after");
    }

    bed.daemon.ctl().apply(&faults[2..]);
    assert!(bed.takes(9000) >= 120.0);
    let devices = |bed: &Bed| bed.net.client.netns.ip("-br link show");
    assert!(devices(&bed).contains("chaos-line"), "{}", devices(&bed));
    bed.daemon.sigkill();
    eventually(LATER, "its device is gone", || {
        !devices(&bed).contains("chaos-line")
    });
    // Until the lease is over, the filter sends what it matches to a device that is not there.
    eventually(LATER, "the lease is over", || bed.asks(9000));
    bed.daemon.start_again();
    bed.assert_untouched();
    assert!(bed.takes(9000) < 120.0);
}

#[test]
fn a_killed_daemon_leaves_filters_that_do_nothing_and_the_next_one_removes_them() {
    let mut bed = Bed::new();
    bed.cut("both");
    let device = bed.net.client.device.clone();
    let directions = ["egress", "ingress"];
    let attached = directions.map(|direction| filters(&device, direction));
    assert!(attached.iter().all(|list| !list.is_empty()), "{attached:?}");

    bed.daemon.sigkill();
    eventually(LATER, "the lease is over", || bed.asks(9000));
    // It was the lease: what the daemon had attached is still there, and still runs.
    assert_eq!(directions.map(|direction| filters(&device, direction)), attached);
    for port in [9000, 9001] {
        assert!(bed.asks(port), "{port}: no flicker");
    }

    bed.daemon.start_again();
    bed.assert_untouched();
    assert!(bed.asks(9000));
    let log = bed.daemon.log();
    assert!(
        log.contains(device.name()) && log.contains("left"),
        "the next daemon reports what it has removed: {log}"
    );
    bed.cut("both");
}

#[test]
fn the_lease_of_a_killed_daemon_is_over_in_time() {
    let mut bed = Bed::new();
    let probe = bed
        .client
        .probe(bed.net.server.at(9000), Duration::from_millis(2));
    bed.cut("egress");
    let killed = bed.daemon.sigkill();
    let report = || bed.client.probe_report(probe);
    eventually(LATER, "the traffic comes back", || {
        report().first_answered(killed).is_some()
    });
    let back = report().first_answered(killed).expect("it came back");
    let took = Duration::from_nanos(back - killed);
    // A questioner that is late sees the end late, never early: the deadline itself is the kernel's.
    let slow = if std::env::var_os("CHAOS_EMULATED").is_some() {
        LEASE
    } else {
        MARGIN
    };
    assert!(took < LEASE + slow, "{took:?}");
    bed.daemon.start_again();
    bed.assert_untouched();
}

#[test]
fn a_namespace_that_has_gone_with_its_filters_does_not_stop_the_next_daemon() {
    let mut bed = Bed::new();
    bed.cut("both");
    bed.daemon.sigkill();
    let alone = Pair::new();
    let before = Snapshot::of_devices(&[&alone.client.device]);
    bed.net.client.netns.delete_now();
    bed.daemon.start_again();
    let fault = FaultFile::on_netns("other", &alone.client.netns, json!({"partition": {}}));
    bed.daemon.ctl().apply(&[fault]);
    assert_eq!(bed.daemon.ctl().fault("other").phase(), "Active");
    bed.daemon.ctl().delete("other");
    Snapshot::of_devices(&[&alone.client.device]).assert_same_as(&before);
}
