//! The private folder that holds what set-up installs, and its lock.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::process::step;

/// `$CHAOS_TOOLCHAIN`, else `chaos-toolchain` in the user's cache folder. Nothing outside it is changed.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
}

impl Store {
    pub(crate) fn open() -> Result<Self> {
        let root = locate(|name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        })
        .context("no folder for the toolchain: set HOME, XDG_CACHE_HOME or CHAOS_TOOLCHAIN")?;
        let root =
            std::path::absolute(&root).with_context(|| format!("no such place: {}", root.display()))?;
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A folder inside the store.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Holds the store against a second set-up until dropped, waiting for the first one to finish. What an
    /// interrupted set-up left half done is removed.
    pub(crate) fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.root).with_context(|| {
            format!(
                "cannot create {}; set CHAOS_TOOLCHAIN to a folder you may write",
                self.root.display()
            )
        })?;
        let path = self.root.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                step("another set-up is at work; waiting for it");
                file.lock()
                    .with_context(|| format!("cannot lock {}", path.display()))?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        for entry in
            fs::read_dir(&self.root).with_context(|| format!("cannot list {}", self.root.display()))?
        {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                remove_dir(&entry.path())?;
            }
        }
        Ok(file)
    }

    /// Removes half-done work. Only for the holder of the lock.
    pub(crate) fn clear_scratch(&self) -> Result<()> {
        remove_dir(&self.scratch())
    }

    /// Where half-done work lies; on the same file system, so that a rename finishes it.
    pub(crate) fn scratch(&self) -> PathBuf {
        // Its own for each process: a child of one that was killed may still write into the old one.
        self.root.join(format!("{UNFINISHED}{}", std::process::id()))
    }
}

/// How names of half-done folders begin.
const UNFINISHED: &str = "unfinished-";

/// Removes a folder that may not exist.
pub(super) fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn locate(var: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    var("CHAOS_TOOLCHAIN")
        .or_else(|| var("XDG_CACHE_HOME").map(|dir| dir.join("chaos-toolchain")))
        .or_else(|| var("HOME").map(|dir| dir.join(".cache").join("chaos-toolchain")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(vars: &[(&str, &str)]) -> Option<PathBuf> {
        locate(|name| {
            vars.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| PathBuf::from(v))
        })
    }

    #[test]
    fn the_named_folder_wins_over_the_cache_folders() {
        let all = [
            ("CHAOS_TOOLCHAIN", "/a"),
            ("XDG_CACHE_HOME", "/b"),
            ("HOME", "/c"),
        ];
        assert_eq!(with(&all), Some("/a".into()));
        assert_eq!(with(&all[1..]), Some("/b/chaos-toolchain".into()));
        assert_eq!(with(&all[2..]), Some("/c/.cache/chaos-toolchain".into()));
        assert_eq!(with(&[]), None);
    }
}
