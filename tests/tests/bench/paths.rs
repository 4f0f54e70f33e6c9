//! What benchmarks of real traffic share.

use chaos_bench::{Better, Row, Target, quantile};
use chaos_tests::bulk::Stream;
use chaos_tests::{
    Api, Chaosctl, Daemon, FaultFile, Pair, Since, Skip, is_emulated, require_feature, settled,
};
use serde_json::Value;
use std::time::Duration;

use crate::run::Run;

/// Longer than the verifier takes over one program.
const CALM: Duration = Duration::from_millis(600);
/// The same where each instruction is emulated.
const EMULATED_CALM: Duration = Duration::from_secs(3);

/// Client and server on a cable, and a daemon beside them.
pub(crate) struct Bed {
    pub(crate) ctl: Chaosctl,
    pub(crate) api: Api,
    pub(crate) daemon: Daemon,
    pub(crate) net: Pair,
}

impl Bed {
    pub(crate) fn with(args: &[&str]) -> Self {
        let net = Pair::new();
        for end in [&net.client, &net.server] {
            // Room for what is on its way through 200 ms.
            for buffer in ["ipv4/tcp_rmem", "ipv4/tcp_wmem"] {
                end.netns.sysctl(buffer, "4096 262144 67108864");
            }
        }
        let daemon = Daemon::builder().args(args).start();
        Self {
            ctl: daemon.ctl(),
            api: Api::of(&daemon),
            daemon,
            net,
        }
    }

    /// A fault on the client.
    pub(crate) fn fault(&self, name: &str, fault: Value) -> FaultFile {
        FaultFile::on_netns(name, &self.net.client.netns, fault).lasting("30m")
    }

    /// Measures while a fault is active and nothing is being loaded.
    pub(crate) fn under<T>(&self, fault: &Value, measure: impl FnOnce() -> T) -> T {
        self.ctl.apply(&[self.fault("worse", fault.clone()).seed(1)]);
        self.calm();
        let measured = measure();
        self.ctl.delete("worse");
        measured
    }

    /// Waits until the programs for the next namespace have been loaded ahead.
    pub(crate) fn calm(&self) {
        let calm = if is_emulated() { EMULATED_CALM } else { CALM };
        settled(calm, || self.daemon.bpf_objects());
    }

    /// Measures while the client's device has this root qdisc.
    pub(crate) fn behind<T>(&self, qdisc: &str, measure: impl FnOnce() -> T) -> T {
        let device = &self.net.client.device;
        let (netns, name) = (device.netns(), device.name());
        netns.tc(&format!("qdisc add dev {name} root {qdisc}"));
        let measured = measure();
        netns.tc(&format!("qdisc del dev {name} root"));
        measured
    }
}

/// Milliseconds of many trials.
pub(crate) struct Times<'a> {
    pub(crate) name: &'a str,
    pub(crate) against: &'a str,
    /// Of 99 in 100.
    pub(crate) within: Option<f64>,
    pub(crate) remark: String,
}

/// Two rows: the middle of all trials with its spread, and what 99 of 100 stay within.
pub(crate) fn times(run: &mut Run, times: &Times<'_>, pairs: &[(f64, f64)]) {
    let Times {
        name,
        against,
        within,
        remark,
    } = times;
    run.row(Row::new(
        format!("{name}, median"),
        "ms",
        Better::Lower,
        *against,
        pairs,
    ));
    let of = |one: fn(&(f64, f64)) -> f64| quantile(&pairs.iter().map(one).collect::<Vec<_>>(), 0.99);
    let p99 = [(of(|pair| pair.0), of(|pair| pair.1))];
    let mut row = Row::new(format!("{name}, p99"), "ms", Better::Lower, *against, &p99)
        .remark(format!("of {} trials; {remark}", pairs.len()));
    if let Some(bound) = within {
        row = row.target(Target::AtMost(*bound));
    }
    run.row(row);
}

/// A row of the segments that TCP sent again, which are to be no more than the peer's.
pub(crate) fn sent_again(run: &mut Run, name: &str, against: &str, ours: &[Stream], theirs: &[Stream]) {
    let again: Vec<(f64, f64)> = ours
        .iter()
        .zip(theirs)
        .map(|(ours, theirs)| (ours.again, theirs.again))
        .collect();
    let name = format!("{name}: sent again");
    run.row(Row::new(name, "segments", Better::Lower, against, &again).target(Target::OverAtMost(0.0)));
}

/// The value in the middle of some.
pub(crate) fn middle(values: impl Iterator<Item = f64>) -> f64 {
    quantile(&values.collect::<Vec<_>>(), 0.5)
}

/// Asks the kernel for one.
pub(crate) fn require_netem() -> Result<(), Skip> {
    let net = Pair::new();
    let device = &net.client.device;
    let argv = [
        "tc",
        "qdisc",
        "add",
        "dev",
        device.name(),
        "root",
        "netem",
        "delay",
        "1ms",
    ];
    let works = device.netns().enter(|| {
        let mut command = std::process::Command::new(argv[0]);
        command.args(&argv[1..]).stderr(std::process::Stdio::null());
        command.status().is_ok_and(|status| status.success())
    });
    require_feature("netem", Since::Config("CONFIG_NET_SCH_NETEM"), works)
}
