//! `chaosctl pki …`: a small CA of one's own, for mTLS.

mod authority;
mod init;
mod issue;

pub(crate) use authority::PkiError;
use clap::{Args, Subcommand};

use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;

/// Make the certificates that mTLS needs: a CA of your own, and certificates of it
///
/// Needs no daemon. Keep `ca.key` off the machines that the certificates are for.
///
/// Example:
///   chaosctl pki init --dir pki
///   chaosctl pki issue node-1 --daemon --address 10.0.0.5 --dir pki
///   chaosctl pki issue alice --role operator --valid 30days --dir pki
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Pki {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Init(init::Init),
    Issue(issue::Issue),
}

impl Pki {
    pub(crate) fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        match self.action {
            Action::Init(verb) => verb.run(session),
            Action::Issue(verb) => verb.run(session),
        }
    }
}
