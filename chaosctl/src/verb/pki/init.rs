use std::path::PathBuf;

use clap::Args;
use rcgen::{BasicConstraints, IsCa, KeyPair, KeyUsagePurpose};

use super::authority::{Pair, PkiError, params};
use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;

/// Make a CA: `ca.crt`, which daemons and clients get, and `ca.key`, which nobody gets
///
/// Example:
///   chaosctl pki init --dir pki
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct Init {
    /// Where the files are; made when it is absent.
    #[arg(long, value_name = "DIR", default_value = "pki")]
    dir: PathBuf,
    /// What the CA is called.
    #[arg(long, value_name = "TEXT", default_value = "chaos-daemon CA")]
    name: String,
    /// How long it is good.
    #[arg(long, value_name = "TIME", default_value = "3650days", value_parser = humantime::parse_duration)]
    valid: std::time::Duration,
}

impl Init {
    pub(super) fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        std::fs::create_dir_all(&self.dir).map_err(|source| PkiError::File {
            path: self.dir.clone(),
            source,
        })?;
        let mut params = params(&self.name, self.valid);
        // It signs certificates of people and daemons, and no further CA.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(PkiError::from)?;
        let certificate = params.self_signed(&key).map_err(PkiError::from)?;
        let pair = Pair::authority(&self.dir);
        pair.write(&certificate, &key)?;
        session
            .out
            .progress("keep ca.key where no daemon and no client runs: whoever has it can be anybody");
        session.out.data(&format!("{}", pair.certificate.display()))?;
        Ok(Exit::DONE)
    }
}
