//! `inject`: a fault from flags instead of a file.

mod aim;
mod amount;
mod dns;
mod follow;
mod health;
mod http;
mod interrupts;
mod name;
mod word;

use chaos_spec::{Duration, FaultSpec, NetworkFault};
use clap::Args;

use self::aim::{Aim, Filter};
use self::health::HealthFlags;
use self::interrupts::Interrupts;
use self::word::Word;
use super::submit::{print, submit};
use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::manifest::place_in_flags;
use crate::output::Format;

/// Start one fault from flags
///
/// Needs a target (--cgroup, --pid, --netns, --container, --interface or --host) and a time (--for).
///
/// Example:
///   chaosctl inject drop 30% --cgroup /system.slice/orders.service --remote-port 5432 --for 60s
///   chaosctl inject partition --netns blue --direction both --for 10s --wait
///   chaosctl inject http 503 --chance 40% --path '/pay/*' --netns blue --remote-port 8080 --for 60s
///   chaosctl inject dns nxdomain --names '*.example.com' --netns blue --for 60s
///   chaosctl inject reset 20% --pid 4242 --remote db.example.com --for 5m --dry-run
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Inject {
    #[command(subcommand)]
    word: Word,
}

/// What every fault takes.
#[derive(Args, Debug)]
struct Common {
    #[command(flatten)]
    aim: Aim,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    health: HealthFlags,
}

/// How long, under which name, and what to do meanwhile
#[derive(Args, Debug)]
#[command(next_help_heading = "Run")]
struct RunFlags {
    /// How long the fault lasts; the kernel ends it.
    #[arg(long = "for", value_name = "TIME")]
    duration: Duration,
    /// Its name; made up and printed when left out. A fault of this name that runs is changed in place.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Same seed, same packets, same verdicts; drawn and recorded when left out.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The fault goes quiet when it has acted on so many packets.
    #[arg(long, value_name = "N")]
    max_packets: Option<u64>,
    /// The fault acts on the first so many flows it meets, and leaves every other alone.
    #[arg(long, value_name = "N")]
    max_flows: Option<u64>,
    /// Lift a guard for this fault, such as ssh; may be repeated. `chaosctl status` lists the guards.
    #[arg(long, value_name = "NAME")]
    unguard: Vec<String>,
    /// Follow the fault until it ends. Ctrl-C ends it and exits with 130; twice leaves at once (13), and the
    /// kernel ends it. Exits with 11 when it ended before its time (halt, health, target gone, …).
    #[arg(long)]
    wait: bool,
    /// Show what would happen instead of doing it.
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Print the fault instead of one line; with --wait: its last state.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

impl Inject {
    pub(crate) async fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        self.start(session).await.map_err(|mut failure| {
            if let Failure::Refused(refusal) = &mut failure {
                place_in_flags(refusal.errors_mut());
            }
            failure
        })
    }

    async fn start(self, session: &mut Session) -> Result<Exit, Failure> {
        let kind = self.word.kind();
        let (fault, common) = self.word.into_parts()?;
        let Common {
            aim,
            filter,
            run,
            health,
        } = common;
        let mut spec = FaultSpec::new(aim.target()?, fault, run.duration).with_traffic(filter.traffic());
        spec.seed = run.seed;
        spec.safety.max_packets = run.max_packets;
        spec.safety.max_flows = run.max_flows;
        spec.safety.health = health.checks();
        spec.safety.unguard = run.unguard;
        let made_up = run.name.is_none();
        let mut fault = NetworkFault::new(run.name.unwrap_or_else(|| name::made_up(kind, &[])), spec);
        check(&fault)?;

        if run.dry_run {
            let format = run.output.unwrap_or(Format::Table);
            super::plan::show(session, vec![fault], format).await?;
            return Ok(Exit::DONE);
        }
        let before = session.daemon.faults().await?;
        if made_up {
            fault.metadata.name = name::made_up(kind, &before.items);
        }
        if !run.wait {
            let submitted = submit(session, vec![fault], &before).await?;
            print(session, &submitted, run.output)?;
            return Ok(Exit::DONE);
        }

        // Listening begins before the fault does: whoever stops us in between does not leave it behind.
        let mut interrupts = Interrupts::listen()?;
        let name = fault.name().to_owned();
        let submitted = interrupts
            .through(&name, submit(session, vec![fault], &before))
            .await?;
        let documents = matches!(run.output, Some(Format::Json | Format::Yaml));
        if documents {
            for fault in &submitted {
                session.out.warnings(None, &fault.view.status.warnings);
            }
        } else {
            print(session, &submitted, run.output)?;
        }
        follow::follow(session, &name, run.output.filter(|_| documents), interrupts).await
    }
}

/// The rules of files, for flags.
fn check(fault: &NetworkFault) -> Result<(), Failure> {
    let errors: Vec<_> = chaos_spec::validate(fault)
        .iter()
        .map(ToString::to_string)
        .collect();
    match errors.as_slice() {
        [] => Ok(()),
        [only] => Err(Failure::Usage(only.clone())),
        several => Err(Failure::Usage(format!(
            "{} things are wrong\n  {}",
            several.len(),
            several.join("\n  ")
        ))),
    }
}
