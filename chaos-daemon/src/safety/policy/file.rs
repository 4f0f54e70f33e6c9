//! Reads the file, when nobody but its owner could have written it.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use chaos_spec::diagnostic::Diagnostics;
use chaos_spec::policy::LocatedPolicy;

#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("the policy {path} cannot be read ({source}) – check --policy")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{path} belongs to uid {owner}, who could write another policy – `chown root` it; it is read only when \
         root, or whom the daemon runs as, owns it"
    )]
    Owner { path: PathBuf, owner: u32 },
    #[error(
        "{path} can be written by others (mode {mode:04o}) – `chmod go-w` it, for it says what everybody may do"
    )]
    Writable { path: PathBuf, mode: u32 },
    #[error(
        "{path} has `roles:` where the policy in force has none, or the other way round – restart the daemon: who may \
         open its socket is decided when it starts"
    )]
    RolesNeedRestart { path: PathBuf },
    #[error("{0}\nthe policy is refused as a whole: nothing of it is in force")]
    Malformed(Diagnostics),
}

const GROUP_OR_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// # Errors
/// Every [`PolicyError`].
pub(super) fn read(path: &Path) -> Result<LocatedPolicy, PolicyError> {
    let unreadable = |source| PolicyError::Read {
        path: path.to_owned(),
        source,
    };
    let real = path.canonicalize().map_err(unreadable)?;
    let mut file = File::open(&real).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(unreadable(io::Error::other("it is no regular file")));
    }
    trusted(&real, &about)?;
    for folder in real.ancestors().skip(1) {
        let about = folder.metadata().map_err(unreadable)?;
        // Whoever may write the folder may put another file in the place of this one, unless it is sticky.
        if about.mode() & STICKY == 0 {
            trusted(folder, &about)?;
        }
    }
    let mut text = Vec::new();
    let most = chaos_spec::MAX_TEXT_BYTES as u64 + 1;
    Read::by_ref(&mut file)
        .take(most)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    LocatedPolicy::parse(&path.display().to_string(), &text).map_err(PolicyError::Malformed)
}

fn trusted(path: &Path, about: &Metadata) -> Result<(), PolicyError> {
    let (owner, mode) = (about.uid(), about.mode() & 0o7777);
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(PolicyError::Owner {
            path: path.to_owned(),
            owner,
        });
    }
    if mode & GROUP_OR_OTHERS != 0 {
        return Err(PolicyError::Writable {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}
