use std::path::PathBuf;

use chaos_spec::policy::{ROLE_URI, Role};
use clap::{Args, ValueEnum};
use rcgen::{ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};

use super::authority::{Pair, PkiError, fingerprint, open, params};
use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;

/// Make a certificate of the CA, for a person with --role or for a daemon with --daemon
///
/// A person's role is written into the certificate (as the URI urn:chaos-daemon:role:ROLE). A daemon whose policy
/// has `roles:` goes by what that lists instead. The fingerprint that is printed is what `roles.revoked` takes.
///
/// Example:
///   chaosctl pki issue alice --role operator --valid 30days
///   chaosctl pki issue node-1 --daemon --address 10.0.0.5 --address node-1.example.com
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct Issue {
    /// Whose it is: its common name, and the name of its files.
    #[arg(value_name = "NAME")]
    name: String,
    /// What its owner may do.
    #[arg(long, value_name = "ROLE", required_unless_present = "daemon")]
    role: Option<RoleWord>,
    /// It is a daemon's.
    #[arg(long, conflicts_with = "role")]
    daemon: bool,
    /// With --daemon: a name or an IP address the daemon is reached at; may be repeated.
    #[arg(long, value_name = "HOST", requires = "daemon")]
    address: Vec<String>,
    /// How long it is good.
    #[arg(long, value_name = "TIME", default_value = "90days", value_parser = humantime::parse_duration)]
    valid: std::time::Duration,
    /// Where the CA is, and where the files are put.
    #[arg(long, value_name = "DIR", default_value = "pki")]
    dir: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleWord {
    Viewer,
    Operator,
    Approver,
    Admin,
}

impl Issue {
    pub(super) fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let pair = Pair::named(&self.dir, &self.name)?;
        let issuer = open(&self.dir)?;
        let mut params = params(&self.name, self.valid);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let text = |text: String| text.try_into().map_err(PkiError::from);
        match self.role {
            Some(role) => {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                let role = match role {
                    RoleWord::Viewer => Role::Viewer,
                    RoleWord::Operator => Role::Operator,
                    RoleWord::Approver => Role::Approver,
                    RoleWord::Admin => Role::Admin,
                };
                params
                    .subject_alt_names
                    .push(SanType::URI(text(format!("{ROLE_URI}{role}"))?));
            }
            None if self.address.is_empty() => return Err(PkiError::NoAddress.into()),
            None => {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                for address in self.address {
                    params.subject_alt_names.push(match address.parse() {
                        Ok(ip) => SanType::IpAddress(ip),
                        Err(_) => SanType::DnsName(text(address)?),
                    });
                }
            }
        }
        let key = KeyPair::generate().map_err(PkiError::from)?;
        let certificate = params.signed_by(&key, &issuer).map_err(PkiError::from)?;
        pair.write(&certificate, &key)?;
        session.out.data(&format!(
            "{}\n{}\nfingerprint {}",
            pair.certificate.display(),
            pair.key.display(),
            fingerprint(&certificate)
        ))?;
        Ok(Exit::DONE)
    }
}
