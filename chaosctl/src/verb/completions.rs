use clap::Args;
use clap_complete::Shell;

use crate::cli::{self, Session};
use crate::exit::Exit;
use crate::failure::Failure;

/// Print completions for a shell
///
/// Example:
///   chaosctl completions bash > /etc/bash_completion.d/chaosctl
///   chaosctl completions zsh  > "${fpath[1]}/_chaosctl"
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Completions {
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut cli::command(), "chaosctl", &mut script);
        session.out.data(&String::from_utf8_lossy(&script))?;
        Ok(Exit::DONE)
    }
}
