mod lint;
mod list;
mod shelf;
mod show;
mod start;

use clap::{Args, Subcommand};

use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;

pub(super) use shelf::Shelf;

/// Experiments that somebody thought through: list, read, check and start them
///
/// The entries that come with this program cover slow and failing dependencies, flaky networks, corruption, DNS, partitions, slow
/// links, failover, pools, retry storms and the loss of a region. `--catalog DIR` adds your own.
///
/// Example:
///   chaosctl catalog list
///   chaosctl catalog show dependency-slow
///   chaosctl catalog start dependency-slow --set target=cgroup=/system.slice/orders.service \
///       --set url=http://127.0.0.1:8080/checkout --set latency=200ms --duration 2m
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Catalog {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(list::List),
    Show(show::Show),
    Lint(lint::Lint),
    Start(Box<start::Start>),
}

impl Catalog {
    pub(crate) async fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        match self.verb {
            Verb::List(verb) => verb.run(session),
            Verb::Show(verb) => verb.run(session),
            Verb::Lint(verb) => verb.run(session),
            Verb::Start(verb) => verb.run(session).await,
        }
    }
}
