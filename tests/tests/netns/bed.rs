//! What most tests stand on: client and server on a cable, a helper in each, and a daemon beside them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use chaos_tests::workload::{Handle, SinkReport};
use chaos_tests::{
    Chaosctl, Daemon, FaultFile, Pair, Snapshot, View, Workload, eventually, keep_running_without_tcx,
    settled,
};

pub(crate) const SOON: Duration = Duration::from_secs(2);
/// Long enough for a reply that is on its way, short enough to wait for one that never comes.
pub(crate) const BRIEF: Duration = Duration::from_millis(150);

/// At its end the daemon must stop in order, and both ends of the cable must be as they were.
///
/// Fields are dropped in this order: the daemon before the namespaces.
pub(crate) struct Bed {
    pub(crate) client: Workload,
    pub(crate) server: Workload,
    pub(crate) daemon: Daemon,
    pub(crate) ctl: Chaosctl,
    before: Snapshot,
    /// One for each place, for as long as the bed stands.
    sinks: Mutex<HashMap<SocketAddr, Handle>>,
    pub(crate) net: Pair,
}

/// A direction, and an address of the server.
pub(crate) struct Leg {
    pub(crate) direction: &'static str,
    pub(crate) to: SocketAddr,
}

impl Leg {
    /// A name for a fault on it.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{what}-{}-{}", self.direction, self.to.port())
    }
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// With a daemon that gets these arguments.
    pub(crate) fn with(args: &[&str]) -> Self {
        let net = Pair::new();
        for device in [&net.client.device, &net.server.device] {
            keep_running_without_tcx(device);
        }
        let before = Snapshot::of_devices(&[&net.client.device, &net.server.device]);
        let daemon = Daemon::builder().args(args).start();
        Self {
            client: Workload::start(&net.client.netns, None),
            server: Workload::start(&net.server.netns, None),
            ctl: daemon.ctl(),
            daemon,
            before,
            sinks: Mutex::default(),
            net,
        }
    }

    /// A fault on the client's namespace: egress, for a minute, seed 1.
    pub(crate) fn on_client(&self, name: &str, fault: serde_json::Value) -> FaultFile {
        FaultFile::on_netns(name, &self.net.client.netns, fault).seed(1)
    }

    pub(crate) fn on_server(&self, name: &str, fault: serde_json::Value) -> FaultFile {
        FaultFile::on_netns(name, &self.net.server.netns, fault).seed(1)
    }

    /// Every way to the server: as packets leave the client and as they arrive, over both families, each to a port of
    /// its own from `port` on.
    pub(crate) fn ways(&self, port: u16) -> [Leg; 4] {
        let server = &self.net.server;
        let leg = |direction, to| Leg { direction, to };
        [
            leg("egress", server.at(port)),
            leg("egress", server.at6(port + 1)),
            leg("ingress", server.at(port + 2)),
            leg("ingress", server.at6(port + 3)),
        ]
    }

    /// A fault on the datagrams of one way, at the end that it is about.
    pub(crate) fn on_leg(&self, leg: &Leg, name: &str, fault: serde_json::Value) -> FaultFile {
        let (file, end) = if leg.direction == "egress" {
            (self.on_client(name, fault), "remote")
        } else {
            (self.on_server(name, fault), "local")
        };
        file.traffic(serde_json::json!({
            "direction": leg.direction, "protocol": "udp", end: {"ports": [leg.to.port()]},
        }))
    }

    /// Sends `count` datagrams, waits until no more arrive, and gives account of them.
    pub(crate) fn send(&self, to: SocketAddr, count: u64) -> SinkReport {
        let sink = *self
            .sinks
            .lock()
            .expect("nobody panics holding it")
            .entry(to)
            .or_insert_with(|| self.server.udp_sink(to));
        let before = self.server.sink_report(sink);
        let sent = self.client.udp_send(to, count);
        assert_eq!(
            (sent.accepted, sent.errors.len()),
            (count, 0),
            "the sender notices nothing: {sent:?}"
        );
        let received = || self.server.sink_report(sink).received() - before.received();
        if settled(BRIEF, received) < count {
            // Late ones would otherwise look lost on a busy machine.
            settled(BRIEF * 2, received);
        }
        let after = self.server.sink_report(sink);
        SinkReport {
            sequences: after.sequences[before.sequences.len()..].to_vec(),
            flipped: after.flipped[before.flipped.len()..].to_vec(),
        }
    }

    /// Whether a datagram gets there.
    pub(crate) fn reaches(&self, to: SocketAddr) -> bool {
        self.send(to, 3).received() > 0
    }

    /// Deletes the fault, and expects everything to be as it was. Returns its last state.
    pub(crate) fn delete(&self, name: &str) -> View {
        self.ctl.delete(name);
        let view = self.ctl.wait_for_phase(name, "Ended");
        assert_eq!(view.reason(), "Deleted");
        self.assert_untouched();
        view
    }

    /// Both ends of the cable are as they were before the daemon came.
    pub(crate) fn assert_untouched(&self) {
        let same = || self.snapshot() == self.before;
        if !same() {
            // The kernel lets go of a detached program a moment later.
            std::thread::yield_now();
            self.snapshot().assert_same_as(&self.before);
        }
    }

    /// How the devices are now is how they must be at the end, for the test has set them up like this.
    pub(crate) fn remember(&mut self) {
        self.before = self.snapshot();
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::of_devices(&[&self.net.client.device, &self.net.server.device])
    }

    /// Waits until a counter of a fault has a value.
    #[track_caller]
    pub(crate) fn wait_for_packets(&self, name: &str, counter: &str, count: u64) {
        let now = || self.ctl.fault(name).packets(counter);
        eventually(
            SOON,
            &format!("{counter} of {name} is {count}: {}", now()),
            || now() == count,
        );
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.daemon.stop_well();
            self.assert_untouched();
        }
    }
}
