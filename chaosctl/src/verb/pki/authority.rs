//! The files of a CA, and what certificates are made of.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chaos_spec::audit::hash_of;
use rcgen::{Certificate, CertificateParams, DnType, Issuer, KeyPair};

/// Clocks differ a little: a certificate is good from this long before it was made.
const LEEWAY: Duration = Duration::from_secs(300);

#[derive(Debug, thiserror::Error)]
pub(crate) enum PkiError {
    #[error("{0} is there already – it is never written over: name another, or move it away")]
    Exists(PathBuf),
    #[error("there is no CA in {0} – make one with `chaosctl pki init --dir {0}`")]
    NoAuthority(PathBuf),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("the certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error("`{0}` is no name for a certificate – write letters, digits, `.`, `-`, `_` and `@`")]
    Name(String),
    #[error("a server needs the addresses it is reached at – write --address HOST-OR-IP")]
    NoAddress,
}

/// Where the files of one name are.
pub(super) struct Pair {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Pair {
    pub(super) fn named(dir: &Path, name: &str) -> Result<Self, PkiError> {
        let is_fine = |letter: char| letter.is_ascii_alphanumeric() || ".-_@".contains(letter);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(is_fine) {
            return Err(PkiError::Name(name.to_owned()));
        }
        Ok(Self {
            certificate: dir.join(format!("{name}.crt")),
            key: dir.join(format!("{name}.key")),
        })
    }

    pub(super) fn authority(dir: &Path) -> Self {
        Self {
            certificate: dir.join("ca.crt"),
            key: dir.join("ca.key"),
        }
    }

    /// Writes both, the key for its owner only.
    pub(super) fn write(&self, certificate: &Certificate, key: &KeyPair) -> Result<(), PkiError> {
        for path in [&self.certificate, &self.key] {
            if path.exists() {
                return Err(PkiError::Exists(path.clone()));
            }
        }
        write(&self.key, &key.serialize_pem(), 0o600)?;
        write(&self.certificate, &certificate.pem(), 0o644)
    }
}

/// The CA that signs.
pub(super) fn open(dir: &Path) -> Result<Issuer<'static, KeyPair>, PkiError> {
    let Pair { certificate, key } = Pair::authority(dir);
    if !certificate.exists() {
        return Err(PkiError::NoAuthority(dir.to_owned()));
    }
    let read =
        |path: PathBuf| std::fs::read_to_string(&path).map_err(|source| PkiError::File { path, source });
    let key = KeyPair::from_pem(&read(key)?)?;
    Ok(Issuer::from_ca_cert_pem(&read(certificate)?, key)?)
}

/// A certificate of this name, good from now on.
pub(super) fn params(name: &str, valid: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    params.not_before = (now - LEEWAY).into();
    params.not_after = (now + valid).into();
    params
}

/// SHA-256, as a policy's `roles.revoked` names it.
pub(super) fn fingerprint(certificate: &Certificate) -> String {
    hash_of(certificate.der())
}

#[cfg(unix)]
fn options(mode: u32) -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.mode(mode);
    options
}

#[cfg(not(unix))]
fn options(_: u32) -> OpenOptions {
    OpenOptions::new()
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let written = options(mode)
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| PkiError::File {
        path: path.to_owned(),
        source,
    })
}
