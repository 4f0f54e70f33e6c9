//! Files that are there, whole, after a power cut.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Replaces `path` by `content`: readers see the old file or the new one, also after a crash.
///
/// # Errors
/// Any write, sync or rename that fails; the old file then stands.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = Path::new(&fresh);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(fresh, path)?;
    sync_parent(path)
}

/// Removes `path`, durably. One that is not there is fine.
///
/// # Errors
/// What the removal or the sync of its directory says.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        // A read-only file system refuses before it looks.
        Err(_) if std::fs::symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) => {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Makes a new, renamed or removed entry of a directory durable.
///
/// # Errors
/// What opening or syncing the directory says.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
