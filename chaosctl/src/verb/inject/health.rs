//! Health checks from flags: what most need; a file can say more.

use chaos_spec::{Duration, GrpcProbe, HealthCheck, HttpProbe, LatencyBound, Probe, TcpProbe, Tls};
use clap::Args;

/// What has to be well before the fault, or it does not start (exit 12), and during it, or it ends
#[derive(Args, Debug)]
#[command(next_help_heading = "Health")]
pub(super) struct HealthFlags {
    /// Check this while the fault lasts: http://…, https://…, tcp://HOST:PORT or grpc://HOST:PORT[/SERVICE];
    /// may be given again.
    #[arg(long, value_name = "URL", value_parser = probe)]
    health: Vec<Probe>,
    /// From one look to the next.
    #[arg(long, value_name = "TIME", default_value = "1s", requires = "health")]
    health_interval: Duration,
    /// A look that takes longer has failed.
    #[arg(long, value_name = "TIME", default_value = "500ms", requires = "health")]
    health_timeout: Duration,
    /// So many failures end the fault.
    #[arg(long, value_name = "N", default_value = "3", requires = "health")]
    health_failures: u32,
    /// How long each look may take, when less than the timeout.
    #[arg(long, value_name = "TIME", requires = "health")]
    health_latency: Option<LatencyBound>,
}

impl HealthFlags {
    pub(super) fn checks(self) -> Vec<HealthCheck> {
        let check = |probe| {
            let mut check = HealthCheck::new(probe);
            check.interval = self.health_interval;
            check.timeout = self.health_timeout;
            check.failure_threshold = self.health_failures;
            check.expect.latency = self.health_latency;
            check
        };
        self.health.into_iter().map(check).collect()
    }
}

fn probe(text: &str) -> Result<Probe, String> {
    let wrong = |error: &dyn std::fmt::Display| error.to_string();
    if let Some(address) = text.strip_prefix("tcp://") {
        let address = address.parse().map_err(|error| wrong(&error))?;
        return Ok(Probe::Tcp(TcpProbe { address }));
    }
    if let Some(rest) = text.strip_prefix("grpc://") {
        let (address, service) = rest.split_once('/').unwrap_or((rest, ""));
        return Ok(Probe::Grpc(GrpcProbe {
            address: address.parse().map_err(|error| wrong(&error))?,
            service: (!service.is_empty()).then(|| service.to_owned()),
        }));
    }
    Ok(Probe::Http(HttpProbe {
        url: text.parse().map_err(|error| wrong(&error))?,
        method: None,
        headers: std::collections::BTreeMap::new(),
        send: None,
        tls: Tls::default(),
    }))
}
