use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    DnsProbe, ExecProbe, Expect, GrpcProbe, HttpProbe, OneProbe, Probe, ProbeChoiceError, PrometheusProbe,
    TcpProbe, is_default,
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
    type Error = ProbeChoiceError;

    fn try_from(fields: HealthFields) -> Result<Self, ProbeChoiceError> {
        let probe = OneProbe {
            http: fields.http,
            tcp: fields.tcp,
            grpc: fields.grpc,
            dns: fields.dns,
            exec: fields.exec,
            prometheus: fields.prometheus,
        }
        .chosen()?;
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
        let OneProbe {
            http,
            tcp,
            grpc,
            dns,
            exec,
            prometheus,
        } = check.probe.into();
        Self {
            name: check.name,
            http,
            tcp,
            grpc,
            dns,
            exec,
            prometheus,
            expect: check.expect,
            interval: check.interval,
            timeout: check.timeout,
            failure_threshold: check.failure_threshold,
            success_threshold: check.success_threshold,
            initial_grace: check.initial_grace,
            window: check.window,
            sustained: check.sustained,
            netns: check.netns,
        }
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
