//! What is well, and how it is looked at.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

use crate::spec::{OneProbe, ShortForm, is_default, text_or_fields};
use crate::units::ToleranceError;
use crate::{
    Body, Chance, DnsProbe, Duration, ExecProbe, GrpcProbe, HttpProbe, LatencyBound, LatencyTolerance, Probe,
    PrometheusProbe, ShareBound, Statuses, TcpProbe, ValueTolerance,
};

/// One thing that is looked at again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "SteadyFields", into = "SteadyFields")]
#[schemars(with = "SteadyFields")]
pub struct SteadyProbe {
    /// For messages and reports; unique in the experiment.
    pub name: String,
    pub probe: Probe,
    pub expect: SteadyExpect,
    /// From the begin of one sample to the begin of the next.
    pub every: Duration,
    /// A sample that takes longer has failed.
    pub timeout: Duration,
    /// What `success` and the percentiles are computed over, sample by sample.
    pub window: Option<Duration>,
    pub mode: Mode,
    /// Network namespace that the probe runs in, by path or by name; left out: the daemon's own.
    pub netns: Option<String>,
}

/// When it is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// All the time.
    #[default]
    Continuous,
    /// Before anything is done.
    Start,
    /// After everything is undone.
    End,
    /// Before and after.
    Edge,
    /// While a fault acts.
    OnFault,
}

/// What is well. Nothing written: the probe's own idea of well, for each sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SteadyExpect {
    /// HTTP status of each answer.
    #[serde(skip_serializing_if = "Statuses::is_empty")]
    pub status: Statuses,
    /// What is in the body of each HTTP answer, or in what a program writes.
    #[serde(skip_serializing_if = "is_default")]
    pub body: Body,
    /// How long each may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyBound>,
    /// The number that a query gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<ValueTolerance>,
    /// Share of samples that are well by themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success: Option<ShareBound>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<LatencyTolerance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95: Option<LatencyTolerance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<LatencyTolerance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<LatencyTolerance>,
}

/// The fields as they are written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "SteadyProbe", rename_all = "camelCase", deny_unknown_fields)]
struct SteadyFields {
    /// For messages and reports; unique in the experiment.
    name: String,
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
    expect: SteadyExpect,
    /// From the begin of one sample to the begin of the next.
    #[serde(default = "one_second")]
    every: Duration,
    /// A sample that takes longer has failed.
    #[serde(default = "one_second")]
    timeout: Duration,
    /// What `success` and the percentiles are computed over, sample by sample; left out: ten times `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window: Option<Duration>,
    #[serde(default, skip_serializing_if = "is_default")]
    mode: Mode,
    /// Network namespace that the probe runs in, by path or by name; left out: the daemon's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    netns: Option<String>,
}

/// The fields as they are written.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ExpectFields {
    /// HTTP status of each answer: `200`, `2xx`, `200-399`, or a list of these.
    #[serde(default)]
    status: Statuses,
    /// Text that is in each answer, or `{contains: …, matches: REGEX}`.
    #[serde(default)]
    body: Body,
    /// How long each may take.
    #[serde(default)]
    latency: Option<LatencyBound>,
    /// The number that a Prometheus query gives.
    #[serde(default)]
    value: Option<ValueTolerance>,
    /// Share of samples that are well by themselves.
    #[serde(default)]
    success: Option<ShareBound>,
    /// Percentiles of how long they took.
    #[serde(default)]
    p50: Option<LatencyTolerance>,
    #[serde(default)]
    p95: Option<LatencyTolerance>,
    #[serde(default)]
    p99: Option<LatencyTolerance>,
    #[serde(default)]
    max: Option<LatencyTolerance>,
}

impl SteadyProbe {
    /// Every second, a second each.
    pub fn new(name: impl Into<String>, probe: Probe) -> Self {
        Self {
            name: name.into(),
            probe,
            expect: SteadyExpect::default(),
            every: one_second(),
            timeout: one_second(),
            window: None,
            mode: Mode::default(),
            netns: None,
        }
    }
}

impl SteadyExpect {
    /// Share and name of each percentile that something is expected of.
    pub fn percentiles(&self) -> impl Iterator<Item = (&'static str, f64, LatencyTolerance)> {
        [
            ("p50", 0.5, self.p50),
            ("p95", 0.95, self.p95),
            ("p99", 0.99, self.p99),
            ("max", 1.0, self.max),
        ]
        .into_iter()
        .filter_map(|(name, share, tolerance)| Some((name, share, tolerance?)))
    }

    /// Whether it is only looked at: all of its samples may fail (`success: ">= 0%"`).
    pub fn may_fail(&self) -> bool {
        self.success.is_some_and(|bound| bound.limit() == Chance::NEVER)
    }

    /// Whether something is expected of many samples together.
    pub fn is_of_many(&self) -> bool {
        self.success.is_some() || self.percentiles().next().is_some()
    }
}

impl Mode {
    pub const fn before(self) -> bool {
        !matches!(self, Self::End | Self::OnFault)
    }

    pub const fn during(self) -> bool {
        matches!(self, Self::Continuous | Self::OnFault)
    }

    pub const fn after(self) -> bool {
        matches!(self, Self::Continuous | Self::End | Self::Edge)
    }
}

impl TryFrom<SteadyFields> for SteadyProbe {
    type Error = crate::spec::ProbeChoiceError;

    fn try_from(fields: SteadyFields) -> Result<Self, Self::Error> {
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
            every: fields.every,
            timeout: fields.timeout,
            window: fields.window,
            mode: fields.mode,
            netns: fields.netns,
        })
    }
}

impl From<SteadyProbe> for SteadyFields {
    fn from(steady: SteadyProbe) -> Self {
        let OneProbe {
            http,
            tcp,
            grpc,
            dns,
            exec,
            prometheus,
        } = steady.probe.into();
        Self {
            name: steady.name,
            http,
            tcp,
            grpc,
            dns,
            exec,
            prometheus,
            expect: steady.expect,
            every: steady.every,
            timeout: steady.timeout,
            window: steady.window,
            mode: steady.mode,
            netns: steady.netns,
        }
    }
}

impl From<ExpectFields> for SteadyExpect {
    fn from(fields: ExpectFields) -> Self {
        Self {
            status: fields.status,
            body: fields.body,
            latency: fields.latency,
            value: fields.value,
            success: fields.success,
            p50: fields.p50,
            p95: fields.p95,
            p99: fields.p99,
            max: fields.max,
        }
    }
}

impl ShortForm<'_> for SteadyExpect {
    type Fields = ExpectFields;
    const EXPECTED: &'static str =
        "what is well, such as `{p95: \"<= 1.5x baseline\"}`, or for a number `<= 0.5`";

    /// What the value has to be.
    fn from_text(text: &str) -> Result<Self, String> {
        let value = text.parse().map_err(|error: ToleranceError| error.to_string())?;
        Ok(Self {
            value: Some(value),
            ..Self::default()
        })
    }
}

impl<'de> Deserialize<'de> for SteadyExpect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_fields(deserializer)
    }
}

impl JsonSchema for SteadyExpect {
    fn schema_name() -> Cow<'static, str> {
        "SteadyExpect".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let fields = ExpectFields::json_schema(generator);
        let value = generator.subschema_for::<ValueTolerance>();
        json_schema!({
            "description": "What is well: fields, or for a query the number alone.",
            "oneOf": [value, fields]
        })
    }
}

const fn one_second() -> Duration {
    Duration::from_secs(1)
}
