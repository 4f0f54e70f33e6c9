//! The daemon: one fault injector per host, behind a unix socket.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chaos_daemon::api::{Access, Api, ApiSocket, Doors, TlsDoor, TokenDoor, Tokens};
use chaos_daemon::config::Config;
use chaos_daemon::datapath::Datapath;
use chaos_daemon::engine::{Engine, EngineOptions, Host};
use chaos_daemon::experiments::Experiments;
use chaos_daemon::observe::{Audit, History, log};
use chaos_daemon::safety::{HostLock, Journal, clock, privileges};
use chaos_daemon::schedules::Schedules;
use chaos_daemon::signals::Signals;
use chaos_daemon::sys::memory;
use tokio::sync::watch;

/// How long the start and the end wait for the audit log.
const LAST_WORDS: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    memory::keep_little();
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
    privileges::raise_open_files()?;
    clock::check()?;
    let _lock = HostLock::acquire(&config.state_dir, &config.socket)?;
    let journal = Journal::open(&config.state_dir)?;
    let leftovers = journal.leftovers();
    let mut datapath = Datapath::open(&config.datapath(), journal)?;
    datapath.guard(&config.policy.guards(&config.guards))?;
    let lease = datapath.lease()?;
    let mut signals = Signals::listen().context("listen to signals")?;
    let audit = Audit::start(&config.state_dir).context("start the audit log")?;
    let engine = EngineOptions {
        audit: audit.clone(),
        history: History::start(&config.state_dir),
        ..config.engine()
    };
    let engine = Engine::start(datapath, lease, Host, engine)?;
    engine.recovered(&leftovers);
    let experiments = Experiments::open(engine.clone(), &config.state_dir);
    let doors = open_doors(config, &audit).await?;
    let (stop, stopped) = watch::channel(false);
    let policy = &config.policy;
    let schedules = Schedules::open(
        engine.clone(),
        experiments.clone(),
        Arc::clone(policy),
        &config.state_dir,
    );
    let api = Api::new(
        engine.clone(),
        experiments.clone(),
        schedules.clone(),
        Arc::clone(policy),
    )?
    .serve(doors, stopped);
    // The log says that the daemon has started before anybody can ask it for anything.
    audit.settle(LAST_WORDS).await;
    ready(config)?;
    let clock = tokio::spawn(schedules.keep_time());
    let life = async {
        let end = signals.until_stop(&engine).await;
        // For systemd; nobody else listens, and the end does not wait for it.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        clock.abort();
        experiments.shutdown().await;
        engine.shutdown().await;
        audit.settle(LAST_WORDS).await;
        let _ = tokio::time::timeout(LAST_WORDS, engine.history().settle()).await;
        stop.send_replace(true);
        end.context("stop")
    };
    let (end, ()) = tokio::join!(life, api);
    end
}

/// The socket, and what the configuration adds.
async fn open_doors(config: &Config, audit: &Audit) -> anyhow::Result<Doors> {
    let policy = config.policy.current();
    let access = match &policy {
        // The policy says who may do what, and whoever it does not name is to be told so.
        Some(policy) if policy.policy.roles.is_some() => Access::Everybody,
        _ => Access::find(),
    };
    let mut doors = Doors {
        socket: ApiSocket::bind(&config.socket, &access)?,
        mtls: Vec::new(),
        tokens: Vec::new(),
    };
    let listen = &config.listen;
    if let Some(files) = &listen.files {
        for address in &listen.mtls {
            doors
                .mtls
                .push(TlsDoor::open(*address, files, audit.clone()).await?);
        }
    }
    if let Some(file) = &listen.tokens {
        let tokens = Tokens::read(file)?;
        for address in &listen.reading {
            doors
                .tokens
                .push(TokenDoor::open(*address, tokens.clone()).await?);
        }
    }
    Ok(doors)
}

/// Says so to whoever started the daemon: a person or script on stdout, systemd on its socket.
fn ready(config: &Config) -> anyhow::Result<()> {
    let (socket, lease) = (config.socket.display(), humantime::format_duration(config.lease));
    let listen = &config.listen;
    let mtls = listen.mtls.iter().map(|address| format!(", https://{address}"));
    let reading = listen
        .reading
        .iter()
        .map(|address| format!(", http://{address} for reading"));
    println!(
        "chaos-daemon ready on {socket}{}, pid {}, lease {lease}",
        mtls.chain(reading).collect::<String>(),
        std::process::id()
    );
    sd_notify::notify(&[sd_notify::NotifyState::Ready]).context("tell systemd")
}
