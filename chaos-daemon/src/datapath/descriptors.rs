//! Faults leave some descriptors free.

use std::{fs, io, os::unix::fs::MetadataExt};

use super::DatapathError;
use crate::safety::privileges::{KEPT_FILES, open_files};

const FOLDER: &str = "/proc/self/fd";

/// Whether those who end faults still find enough descriptors. Those who are connected now are among them.
///
/// # Errors
/// They would not: attach less.
pub(super) fn leave_some() -> Result<(), DatapathError> {
    let limit = open_files();
    let fits = |used: u64| used.saturating_add(KEPT_FILES) <= limit;
    let failed = |e| DatapathError::system(format!("count {FOLDER}"), e);
    if fits(all().map_err(failed)?) || fits(without_sockets().map_err(failed)?) {
        Ok(())
    } else {
        Err(DatapathError::Files { limit })
    }
}

/// How many are open.
fn all() -> io::Result<u64> {
    // The size is their number since Linux 6.2, and 0 before.
    match fs::metadata(FOLDER)?.size() {
        0 => Ok(fs::read_dir(FOLDER)?.count() as u64),
        count => Ok(count),
    }
}

/// How many of them are no connections.
fn without_sockets() -> io::Result<u64> {
    let is_other = |entry: &io::Result<fs::DirEntry>| {
        let target = entry.as_ref().map(|entry| fs::read_link(entry.path()));
        // One that was closed meanwhile is none.
        matches!(target, Ok(Ok(target)) if !target.to_string_lossy().starts_with("socket:"))
    };
    Ok(fs::read_dir(FOLDER)?.filter(is_other).count() as u64)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn files_count_and_connections_do_not_when_it_matters() {
        // Other tests open and close some meanwhile.
        let (before, others) = (all().unwrap(), without_sockets().unwrap());
        let files: Vec<_> = (0..200).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let pairs: Vec<_> = (0..200).map(|_| UnixStream::pair().unwrap()).collect();
        assert!(all().unwrap() > before + 500);
        let now = without_sockets().unwrap();
        assert!((others + 100..others + 300).contains(&now), "{others} {now}");
        drop((files, pairs));
    }
}
