//! Two namespaces, a client that asks an echo every millisecond, and a daemon whose fault cuts it off.

use std::time::Duration;

use chaos_tests::workload::{Handle, Probed};
use chaos_tests::{Api, Daemon, FaultFile, Pair, Snapshot, Workload, eventually, eventually_some};
use serde_json::{Value, json};

use super::nets::Net;

/// The client's pace, and so how exactly a time is known.
const PACE: Duration = Duration::from_millis(1);
/// Traffic that was whole for so long stays whole.
const STEADY: u64 = 100_000_000;
/// An answer that has not come by then does not come.
const BRIEF: u64 = 20_000_000;
const SOON: Duration = Duration::from_secs(10);
/// The only fault, on datagrams to this port.
pub(crate) const NAME: &str = "cut";
const PORT: u16 = 9001;

/// What one trial gave, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial {
    /// From the trigger to the first packet that passed.
    pub(crate) took: f64,
    /// How much longer than its pace the client was silent meanwhile, at most: the machine did something else.
    pub(crate) stall: f64,
}

/// Fields are dropped in this order.
pub(crate) struct Bed {
    pub(crate) client: Workload,
    _server: Workload,
    pub(crate) api: Api,
    pub(crate) daemon: Daemon,
    before: Snapshot,
    pub(crate) net: Pair,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let net = Pair::new();
        let before = Snapshot::of_devices(&[&net.client.device, &net.server.device]);
        let (client, server) = (
            Workload::start(&net.client.netns, None),
            Workload::start(&net.server.netns, None),
        );
        server.udp_echo(net.server.at(PORT));
        let daemon = Daemon::start();
        Self {
            client,
            _server: server,
            api: Api::of(&daemon),
            daemon,
            before,
            net,
        }
    }

    /// One trial; at its end the devices are as they were.
    pub(crate) fn trial(&mut self, net: &Net) -> Trial {
        let probe = self.client.probe(self.net.server.at(PORT), PACE);
        let trial = (net.trial)(self, probe);
        self.client.close(probe);
        eventually(SOON, "the fault has ended", || self.status()["phase"] != "Active");
        Snapshot::of_devices(&[&self.net.client.device, &self.net.server.device])
            .assert_same_as(&self.before);
        trial
    }

    /// The fault that cuts the client off.
    pub(crate) fn fault(&self) -> FaultFile {
        FaultFile::on_netns(NAME, &self.net.client.netns, json!({"partition": {}}))
            .traffic(json!({"protocol": "udp", "remote": {"ports": [PORT]}}))
    }

    /// Applies it once the client has had answers.
    pub(crate) fn apply(&self, probe: Handle, fault: FaultFile) {
        eventually(SOON, "the client is answered", || {
            self.report(probe).first_answered(0).is_some()
        });
        let answer = self.api.apply(&[fault]);
        assert!((200..300).contains(&answer.status), "{answer:?}");
    }

    /// Applies it, and waits until the client feels it.
    pub(crate) fn cut(&self, probe: Handle, fault: FaultFile) {
        self.apply(probe, fault);
        eventually(SOON, "the client is cut off", || {
            let report = self.report(probe);
            let old = report.now.saturating_sub(BRIEF);
            let samples = report.between(0, old);
            samples.len() > 3
                && samples
                    .iter()
                    .rev()
                    .take(3)
                    .all(|sample| sample.answered.is_none())
        });
    }

    /// What became of the fault, as the daemon shows it; null when it knows none.
    pub(crate) fn status(&self) -> Value {
        let view = self.api.try_get(&format!("/v1/faults/{NAME}"));
        view.map_or(Value::Null, |view| view["status"].clone())
    }

    pub(crate) fn report(&self, probe: Handle) -> Probed {
        self.client.probe_report(probe)
    }

    /// The probe's report once the traffic has been whole for a while after `from`.
    pub(crate) fn whole(&self, probe: Handle, from: u64) -> Probed {
        eventually_some(SOON, "the traffic is whole", || {
            let report = self.report(probe);
            let settled = report.now - BRIEF;
            let steady_since = report.last_lost(settled).unwrap_or(0).max(from) + STEADY;
            (steady_since < settled && report.first_answered(from).is_some()).then_some(report)
        })
    }

    /// From `trigger`, a monotonic time, to the first packet that passed for good.
    pub(crate) fn since(&self, probe: Handle, trigger: u64) -> Trial {
        judge(&self.whole(probe, trigger), trigger)
    }
}

pub(crate) fn judge(report: &Probed, trigger: u64) -> Trial {
    let last_lost = report
        .last_lost(report.now - BRIEF)
        .expect("the client was cut off");
    let passed = report.first_answered(last_lost).expect("it passes again");
    let between = report.between(trigger.min(last_lost), passed + 1);
    let pauses = between.windows(2).map(|pair| pair[1].asked - pair[0].asked);
    Trial {
        took: (passed as f64 - trigger as f64) / 1e6,
        stall: (pauses.max().unwrap_or(0) as f64 / 1e6 - 1.0).max(0.0),
    }
}
