//! The command line as a whole. Each verb describes its own arguments in `verb`.

use std::io::Write;
use std::path::PathBuf;

use chaos_spec::Duration;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::daemon::{Client, Credentials, Daemon, Place, PlaceError};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{ColorWhen, Output};
use crate::verb::{
    apply, approve, audit, catalog, completions, delete, doctor, explain, get, halt, import, inject, man,
    pki, plan, report, run, schedule, status, stop,
};

/// Inject network faults that behave like a real network, and that end by themselves.
///
/// chaosctl talks to the chaos-daemon of this host over its unix socket, or to one elsewhere with --server.
///
/// Example:
///   chaosctl inject drop 30% --cgroup /system.slice/orders.service --for 60s --wait
///   chaosctl get faults
///   chaosctl halt
///
/// Exit codes: 0 done or the hypothesis held, 1 internal error, 2 bad usage or input, 10 hypothesis refuted, 11 ended
/// early and rolled back, 12 no steady state, not started, 13 rollback incomplete, 14 refused by policy or halted,
/// 15 did not recover, 20 daemon unreachable, 130 interrupted and rolled back.
#[derive(Debug, Parser)]
#[command(name = "chaosctl", version, verbatim_doc_comment, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Args, Debug)]
struct Global {
    /// The daemon's socket.
    #[arg(
        long,
        global = true,
        env = "CHAOS_SOCKET",
        value_name = "PATH",
        help_heading = "Global options"
    )]
    #[arg(default_value = "/run/chaos-daemon/api.sock")]
    socket: PathBuf,
    /// A daemon on another host, https://HOST:PORT, in place of the socket.
    #[arg(
        long,
        global = true,
        env = "CHAOS_SERVER",
        value_name = "URL",
        help_heading = "Global options"
    )]
    server: Option<String>,
    /// With --server: your certificate.
    #[arg(
        long,
        global = true,
        env = "CHAOS_CERT",
        value_name = "FILE",
        help_heading = "Global options"
    )]
    cert: Option<PathBuf>,
    /// With --server: the key of your certificate.
    #[arg(
        long,
        global = true,
        env = "CHAOS_KEY",
        value_name = "FILE",
        help_heading = "Global options"
    )]
    key: Option<PathBuf>,
    /// With --server: the CA that the daemon's certificate is of.
    #[arg(
        long,
        global = true,
        env = "CHAOS_CA",
        value_name = "FILE",
        help_heading = "Global options"
    )]
    ca: Option<PathBuf>,
    /// With --server http://…: a file with a token that may read.
    #[arg(
        long,
        global = true,
        env = "CHAOS_TOKEN_FILE",
        value_name = "FILE",
        help_heading = "Global options"
    )]
    token_file: Option<PathBuf>,
    /// How long to wait for an answer of the daemon; by default 10s, and longer while it says that it is at work.
    #[arg(long, global = true, value_name = "TIME", help_heading = "Global options")]
    timeout: Option<Duration>,
    /// Colours: by default on a terminal, unless NO_COLOR is set.
    #[arg(
        long,
        global = true,
        default_value = "auto",
        value_name = "WHEN",
        help_heading = "Global options"
    )]
    color: ColorWhen,
}

impl Global {
    /// Where the daemon is.
    fn place(self) -> Result<Place, PlaceError> {
        match self.server {
            None => Ok(Place::Socket(self.socket)),
            Some(url) => Place::server(
                &url,
                &Credentials {
                    certificate: self.cert,
                    key: self.key,
                    ca: self.ca,
                    token_file: self.token_file,
                },
            ),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    Doctor(doctor::Doctor),
    Plan(plan::Plan),
    Apply(apply::Apply),
    Inject(Box<inject::Inject>),
    Get(get::Get),
    Delete(delete::Delete),
    Run(run::Run),
    Catalog(catalog::Catalog),
    Schedule(schedule::Schedule),
    Stop(stop::Stop),
    Report(report::Report),
    Halt(halt::Halt),
    Status(status::Status),
    Explain(explain::Explain),
    Import(import::Import),
    Approve(approve::Approve),
    Audit(audit::Audit),
    Pki(pki::Pki),
    Completions(completions::Completions),
    Man(man::Man),
}

/// What a verb needs besides its arguments.
pub(crate) struct Session {
    pub(crate) daemon: Daemon,
    pub(crate) out: Output,
}

/// The arguments, or that they were answered already (help, version, a usage error).
pub(crate) enum Parsed {
    Command(Box<Cli>),
    Answered(Exit),
}

/// Reads the arguments of this process.
pub(crate) fn parse() -> Parsed {
    match Cli::try_parse() {
        Ok(cli) => {
            cli.global.color.choose();
            Parsed::Command(Box::new(cli))
        }
        Err(error) => {
            // Help into a closed pipe is as good as printed.
            let _ = error.print();
            let _ = std::io::stdout().flush();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Parsed::Answered(Exit::DONE),
                _ => Parsed::Answered(Exit::USAGE),
            }
        }
    }
}

/// The command tree, for completions and manual pages.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

impl Cli {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        if self.global.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Failure::Usage(
                "--timeout 0s leaves no time for an answer – write at least `1ms`".to_owned(),
            ));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::Runtime)?;
        let timeout = self.global.timeout.map(Duration::as_std);
        let client = Client::new(self.global.place()?, timeout);
        let session = Session {
            daemon: Daemon::new(client),
            out: Output::new(),
        };
        runtime.block_on(self.verb.run(session))
    }
}

impl Verb {
    async fn run(self, mut session: Session) -> Result<Exit, Failure> {
        let session = &mut session;
        match self {
            Self::Doctor(verb) => verb.run(session).await,
            Self::Plan(verb) => verb.run(session).await,
            Self::Apply(verb) => verb.run(session).await,
            Self::Inject(verb) => verb.run(session).await,
            Self::Get(verb) => verb.run(session).await,
            Self::Delete(verb) => verb.run(session).await,
            Self::Run(verb) => verb.run(session).await,
            Self::Catalog(verb) => verb.run(session).await,
            Self::Schedule(verb) => verb.run(session).await,
            Self::Stop(verb) => verb.run(session).await,
            Self::Report(verb) => verb.run(session).await,
            Self::Halt(verb) => verb.run(session).await,
            Self::Status(verb) => verb.run(session).await,
            Self::Explain(verb) => verb.run(session),
            Self::Import(verb) => verb.run(session),
            Self::Approve(verb) => verb.run(session).await,
            Self::Audit(verb) => verb.run(session).await,
            Self::Pki(verb) => verb.run(session),
            Self::Completions(verb) => verb.run(session),
            Self::Man(verb) => verb.run(session),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_tree_is_consistent() {
        super::command().debug_assert();
    }
}
