//! The daemon: one fault injector per host, behind a unix socket.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use chaos_daemon::api::{Access, Api, ApiSocket, serve};
use chaos_daemon::config::Config;
use chaos_daemon::datapath::Datapath;
use chaos_daemon::engine::{Engine, EngineOptions, Host};
use chaos_daemon::observe::{Audit, log};
use chaos_daemon::safety::{HostLock, Journal, privileges};
use chaos_daemon::signals::Signals;
use tokio::sync::watch;

/// How long the end waits for the audit log.
const LAST_WORDS: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let config = match Config::from_args() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("chaos-daemon: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaos-daemon: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(config: &Config) -> anyhow::Result<()> {
    log::start(&config.log, config.log_format)?;
    privileges::check()?;
    privileges::raise_open_files();
    let _lock = HostLock::acquire(&config.state_dir, &config.socket)?;
    let journal = Journal::open(&config.state_dir)?;
    let leftovers = journal.leftovers();
    let mut datapath = Datapath::open(&config.datapath(), journal)?;
    datapath.guard(&config.guards)?;
    let lease = datapath.lease()?;
    let mut signals = Signals::listen().context("listen to signals")?;
    let audit = Audit::start(&config.state_dir).context("start the audit log")?;
    let engine = EngineOptions {
        audit: audit.clone(),
        ..config.engine()
    };
    let engine = Engine::start(datapath, lease, Host, engine)?;
    engine.recovered(&leftovers);
    let socket = ApiSocket::bind(&config.socket, &Access::find())?;
    let (stop, stopped) = watch::channel(false);
    let router = Api::new(engine.clone())?.router();
    let api = async { serve(&socket, router, stopped).await };
    ready(config)?;
    let life = async {
        let end = signals.until_stop(&engine).await;
        // For systemd; nobody else listens, and the end does not wait for it.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        engine.shutdown().await;
        audit.settle(LAST_WORDS).await;
        stop.send_replace(true);
        end.context("stop")
    };
    let (end, ()) = tokio::join!(life, api);
    end
}

/// Says so to whoever started the daemon: a person or script on stdout, systemd on its socket.
fn ready(config: &Config) -> anyhow::Result<()> {
    let (socket, lease) = (config.socket.display(), humantime::format_duration(config.lease));
    println!(
        "chaos-daemon ready on {socket}, pid {}, lease {lease}",
        std::process::id()
    );
    sd_notify::notify(&[sd_notify::NotifyState::Ready]).context("tell systemd")
}
