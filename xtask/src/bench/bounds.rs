//! `cargo xtask bench bounds`: how long each safety net takes.

/// Measure how long traffic stays hurt after each safety net has acted, and print the table of docs/bounds.md. Needs
/// root, and a machine that does little else.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Trials of each net.
    #[arg(long, default_value_t = 100)]
    trials: usize,
    /// These nets only: delete, halt, deadline, health, budget, link, lease.
    #[arg(long, value_name = "NET")]
    only: Vec<String>,
    /// Fail when a trial took longer than the net may take.
    #[arg(long)]
    check: bool,
}

impl Args {
    /// For the program that measures.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = vec!["--trials".to_owned(), self.trials.to_string()];
        for net in &self.only {
            words.extend(["--only".to_owned(), net.clone()]);
        }
        if self.check {
            words.push("--check".to_owned());
        }
        words
    }
}
