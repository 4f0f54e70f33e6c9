//! Prometheus metrics. Labels are bounded: routes are those of the route table, and only so many faults get series
//! of their own.

use chaos_spec::api::Reason;
use prometheus::{
    Encoder, Gauge, GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::engine::{Engine, EngineError};

/// Faults that get series of their own; the counters of more are left out and the left-out ones are counted.
pub const FAULTS_SHOWN: usize = 500;
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is counted as it happens; the rest is read from the engine when it is asked for.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
}

impl Metrics {
    /// # Errors
    /// Two metrics share a name: a mistake in this file.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let requests = IntCounterVec::new(
            Opts::new(
                "chaos_api_requests_total",
                "Requests to the API, by route and status.",
            ),
            &["method", "route", "status"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        Ok(Self { registry, requests })
    }

    /// Counts one request. `route` is one of the route table, or `other`.
    pub fn request(&self, method: &str, route: &str, status: u16) {
        let method = match method {
            "GET" | "POST" | "PUT" | "DELETE" => method,
            _ => "other",
        };
        self.requests
            .with_label_values(&[method, route, &status.to_string()])
            .inc();
    }

    /// The text exposition, with the engine's numbers as they are now.
    ///
    /// # Errors
    /// The engine has stopped.
    pub async fn text(&self, engine: &Engine) -> Result<String, EngineError> {
        let snapshot = engine.snapshot(FAULTS_SHOWN).await?;
        let now = Registry::new();
        let mut text = Vec::new();
        let filled = fill(&now, engine, &snapshot).and_then(|()| {
            let mut families = self.registry.gather();
            families.extend(now.gather());
            TextEncoder::new().encode(&families, &mut text)
        });
        if let Err(error) = filled {
            tracing::error!(%error, "metrics are incomplete");
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

fn fill(registry: &Registry, engine: &Engine, snapshot: &crate::engine::Snapshot) -> prometheus::Result<()> {
    // A counter that can be set: these are counted in the kernel.
    let packets = IntCounterVec::new(
        Opts::new(
            "chaos_fault_packets_total",
            "Wire packets of an active fault, by outcome.",
        ),
        &["fault", "outcome"],
    )?;
    for (name, numbers) in &snapshot.packets {
        for (outcome, count) in numbers.named() {
            packets.with_label_values(&[name.as_str(), outcome]).inc_by(count);
        }
    }
    registry.register(Box::new(packets))?;

    let faults = IntGaugeVec::new(Opts::new("chaos_faults", "Faults by phase."), &["phase"])?;
    let counts = snapshot.counts;
    for (phase, count) in [
        ("Pending", counts.pending),
        ("Active", counts.active),
        ("Ended", counts.ended),
    ] {
        faults
            .with_label_values(&[phase])
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    registry.register(Box::new(faults))?;

    let ended = IntCounterVec::new(
        Opts::new("chaos_faults_ended_total", "Faults that ended, by reason."),
        &["reason"],
    )?;
    for (reason, count) in &snapshot.endings {
        ended.with_label_values(&[Reason::word(*reason)]).inc_by(*count);
    }
    registry.register(Box::new(ended))?;

    let events = IntCounterVec::new(
        Opts::new(
            "chaos_datapath_packets_total",
            "Packets that concern no single fault, by what happened to them.",
        ),
        &["event"],
    )?;
    for (event, count) in &snapshot.statistics {
        events.with_label_values(&[*event]).inc_by(*count);
    }
    registry.register(Box::new(events))?;

    gauge(
        registry,
        "chaos_faults_unlisted",
        "Active faults without packet series of their own.",
        counts.active.saturating_sub(snapshot.packets.len() as u64) as f64,
    )?;
    let lease = engine.lease();
    gauge(
        registry,
        "chaos_lease_seconds",
        "Length of the lease.",
        lease.length().as_secs_f64(),
    )?;
    gauge(
        registry,
        "chaos_lease_remaining_seconds",
        "Time until every rule is void unless the lease is renewed; 0 while halted.",
        lease.left().as_secs_f64(),
    )?;
    gauge(
        registry,
        "chaos_lease_age_seconds",
        "Time since the engine's last sign of life.",
        lease.engine_age().as_secs_f64(),
    )?;
    let halted = IntGauge::new("chaos_halted", "1 while new faults are refused.")?;
    halted.set(i64::from(engine.halt_state().halted));
    registry.register(Box::new(halted))?;
    gauge(
        registry,
        "chaos_event_readers",
        "Connected readers of events.",
        engine.events().readers() as f64,
    )?;
    let build = GaugeVec::new(Opts::new("chaos_build_info", "Always 1."), &["version"])?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    registry.register(Box::new(build))
}

fn gauge(registry: &Registry, name: &str, help: &str, value: f64) -> prometheus::Result<()> {
    let gauge = Gauge::new(name, help)?;
    gauge.set(value);
    registry.register(Box::new(gauge))
}
