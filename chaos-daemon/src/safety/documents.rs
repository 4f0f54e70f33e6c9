use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::durable;

/// Documents of one kind, a file each, in a folder of the state directory. Their names are ours, or were checked: letters,
/// digits and hyphens.
#[derive(Clone, Debug)]
pub struct Documents {
    folder: PathBuf,
    /// Files of more bytes are not read.
    largest: u64,
}

impl Documents {
    /// Makes the folder; where that fails, the log says so, and each write will fail.
    pub fn open(folder: PathBuf, largest: u64) -> Self {
        if let Err(error) = DirBuilder::new().mode(0o700).recursive(true).create(&folder) {
            tracing::error!(%error, folder = %folder.display(), "nothing is kept here");
        }
        Self { folder, largest }
    }

    /// All that is there. A file that cannot be read is left alone, and the log says so.
    pub fn all<T: DeserializeOwned>(&self) -> Vec<T> {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let files = paths.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
        files
            .filter_map(|path| {
                self.read_file(&path)
                    .inspect_err(|error| {
                        tracing::error!(%error, path = %path.display(), "this cannot be read; it is left as it is");
                    })
                    .ok()
            })
            .collect()
    }

    /// # Errors
    /// It is not there, too large, or not what was written.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<T> {
        self.read_file(&self.path(name))
    }

    /// Writes one, in place of one of the same name, durably.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn write(&self, name: &str, document: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(document).map_err(io::Error::other)?;
        durable::replace(&self.path(name), &text)
    }

    /// # Errors
    /// The disk does not let go of it.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        durable::remove(&self.path(name))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    fn read_file<T: DeserializeOwned>(&self, path: &Path) -> io::Result<T> {
        let length = fs::metadata(path)?.len();
        if length > self.largest {
            return Err(io::Error::other(format!(
                "{length} bytes are more than the {} that are read",
                self.largest
            )));
        }
        serde_json::from_slice(&fs::read(path)?).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_spoilt_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let documents = Documents::open(dir.path().join("kept"), 20);
        documents.write("one", &1).unwrap();
        documents.write("two", &2).unwrap();
        let spoilt = dir.path().join("kept/three.json");
        fs::write(&spoilt, "{").unwrap();
        documents.write("long", &"x".repeat(30)).unwrap();
        let mut all: Vec<u8> = documents.all();
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
        assert!(spoilt.exists());
        assert_eq!(documents.read::<u8>("two").unwrap(), 2);
        assert!(
            documents
                .read::<String>("long")
                .unwrap_err()
                .to_string()
                .contains("32 bytes")
        );
        documents.remove("two").unwrap();
        documents.remove("two").unwrap();
        assert!(documents.read::<u8>("two").is_err());
    }
}
