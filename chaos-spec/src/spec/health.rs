use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    DnsProbe, ExecProbe, Expect, GrpcProbe, HttpProbe, Probe, PrometheusProbe, TcpProbe, is_default,
};
use crate::Duration;

/// A probe taken again and again: before a fault, else it does not start, and during it, else it ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "HealthFields", into = "HealthFields")]
#[schemars(with = "HealthFields")]
pub struct HealthCheck {
    /// For messages and reports.
    pub name: Option<String>,
    pub probe: Probe,
    pub expect: Expect,
    /// From the begin of one sample to the begin of the next.
    pub interval: Duration,
    /// A sample that takes longer has failed.
    pub timeout: Duration,
    /// So many failures make the check fail.
    pub failure_threshold: u32,
    /// So many successes in a row, and earlier failures are forgotten. Before the fault: so many, or it does not start.
    pub success_threshold: u32,
    /// For so long after the start of the fault, failures do not count.
    pub initial_grace: Duration,
    /// What `success` and the percentiles are computed over.
    pub window: Option<Duration>,
    /// The failures have to go on for so long as well.
    pub sustained: Duration,
    /// Network namespace that the probe runs in, by path or by name; left out: the daemon's own.
    pub netns: Option<String>,
}

/// The fields as they are written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "HealthCheck", rename_all = "camelCase", deny_unknown_fields)]
struct HealthFields {
    /// For messages and reports; left out: its place in the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// A request to a web server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http: Option<HttpProbe>,
    /// Whether something accepts connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tcp: Option<TcpProbe>,
    /// The gRPC health protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grpc: Option<GrpcProbe>,
    /// A question to a name server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dns: Option<DnsProbe>,
    /// A program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exec: Option<ExecProbe>,
    /// An instant query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prometheus: Option<PrometheusProbe>,
    /// What is well, beyond the probe's own idea of it.
    #[serde(default, skip_serializing_if = "is_default")]
    expect: Expect,
    /// From the begin of one sample to the begin of the next.
    #[serde(default = "one_second")]
    interval: Duration,
    /// A sample that takes longer has failed.
    #[serde(default = "half_a_second")]
    timeout: Duration,
    /// So many failures make the check fail.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 1000))]
    failure_threshold: u32,
    /// So many successes in a row, and earlier failures are forgotten; before the fault: so many, or it does not start.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1, max = 1000))]
    success_threshold: u32,
    /// For so long after the start of the fault, failures do not count.
    #[serde(default = "zero", skip_serializing_if = "is_zero")]
    initial_grace: Duration,
    /// What `success` and the percentiles are computed over; left out: ten intervals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window: Option<Duration>,
    /// The failures have to go on for so long as well.
    #[serde(default = "zero", rename = "for", skip_serializing_if = "is_zero")]
    sustained: Duration,
    /// Network namespace that the probe runs in, by path or by name; left out: the daemon's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    netns: Option<String>,
}

const KINDS: &str = "`http`, `tcp`, `grpc`, `dns`, `exec` or `prometheus`";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum HealthError {
    #[error("nothing is probed – write exactly one of {KINDS}")]
    None,
    #[error("{0} are named together – keep exactly one of {KINDS}, and write another check for the other")]
    Several(String),
}

impl HealthCheck {
    /// How often percentiles and `success` look back when no window is written.
    const WINDOW_INTERVALS: u32 = 10;

    /// Once a second, half a second each, three failures.
    pub fn new(probe: Probe) -> Self {
        Self {
            name: None,
            probe,
            expect: Expect::default(),
            interval: one_second(),
            timeout: half_a_second(),
            failure_threshold: three(),
            success_threshold: one(),
            initial_grace: zero(),
            window: None,
            sustained: zero(),
            netns: None,
        }
    }

    /// What `success` and the percentiles are computed over.
    pub fn window(&self) -> std::time::Duration {
        self.window.map_or_else(
            || self.interval.as_std() * Self::WINDOW_INTERVALS,
            Duration::as_std,
        )
    }

    /// Its name, or what it probes.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.probe.to_string())
    }
}

impl TryFrom<HealthFields> for HealthCheck {
    type Error = HealthError;

    fn try_from(fields: HealthFields) -> Result<Self, HealthError> {
        let mut probes = Vec::new();
        probes.extend(fields.http.map(Probe::Http));
        probes.extend(fields.tcp.map(Probe::Tcp));
        probes.extend(fields.grpc.map(Probe::Grpc));
        probes.extend(fields.dns.map(Probe::Dns));
        probes.extend(fields.exec.map(Probe::Exec));
        probes.extend(fields.prometheus.map(Probe::Prometheus));
        let names: Vec<_> = probes.iter().map(|probe| format!("`{}`", probe.word())).collect();
        let mut probes = probes.into_iter();
        let probe = match (probes.next(), probes.next()) {
            (Some(probe), None) => probe,
            (None, _) => return Err(HealthError::None),
            (Some(_), Some(_)) => return Err(HealthError::Several(names.join(" and "))),
        };
        Ok(Self {
            name: fields.name,
            probe,
            expect: fields.expect,
            interval: fields.interval,
            timeout: fields.timeout,
            failure_threshold: fields.failure_threshold,
            success_threshold: fields.success_threshold,
            initial_grace: fields.initial_grace,
            window: fields.window,
            sustained: fields.sustained,
            netns: fields.netns,
        })
    }
}

impl From<HealthCheck> for HealthFields {
    fn from(check: HealthCheck) -> Self {
        let mut fields = Self {
            name: check.name,
            http: None,
            tcp: None,
            grpc: None,
            dns: None,
            exec: None,
            prometheus: None,
            expect: check.expect,
            interval: check.interval,
            timeout: check.timeout,
            failure_threshold: check.failure_threshold,
            success_threshold: check.success_threshold,
            initial_grace: check.initial_grace,
            window: check.window,
            sustained: check.sustained,
            netns: check.netns,
        };
        match check.probe {
            Probe::Http(probe) => fields.http = Some(probe),
            Probe::Tcp(probe) => fields.tcp = Some(probe),
            Probe::Grpc(probe) => fields.grpc = Some(probe),
            Probe::Dns(probe) => fields.dns = Some(probe),
            Probe::Exec(probe) => fields.exec = Some(probe),
            Probe::Prometheus(probe) => fields.prometheus = Some(probe),
        }
        fields
    }
}

const fn zero() -> Duration {
    Duration::ZERO
}

const fn one_second() -> Duration {
    Duration::from_secs(1)
}

const fn half_a_second() -> Duration {
    Duration::from_millis(500)
}

const fn one() -> u32 {
    1
}

const fn three() -> u32 {
    3
}

fn is_one(number: &u32) -> bool {
    *number == 1
}

fn is_zero(duration: &Duration) -> bool {
    duration.is_zero()
}
