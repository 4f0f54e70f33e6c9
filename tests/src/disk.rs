//! Disks that a test fills or breaks.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::process::{run, succeeds};
use crate::skip::{Since, Skip, require_feature, require_program};

/// A file system over a folder, until it is dropped.
#[derive(Debug)]
struct Mount(PathBuf);

impl Mount {
    fn path(&self) -> &str {
        self.0.to_str().expect("it is text")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a daemon of a failed test may still have files open.
        run(&["umount", "--lazy", self.path()]);
    }
}

/// A small disk over a folder: four mebibytes of memory.
#[derive(Debug)]
pub struct SmallDisk(Mount);

impl SmallDisk {
    pub fn mount(path: &Path) -> Self {
        let mount = Mount(path.to_owned());
        run(&[
            "mount",
            "-t",
            "tmpfs",
            "-o",
            "size=4m,mode=0700",
            "tmpfs",
            mount.path(),
        ]);
        Self(mount)
    }

    /// Leaves no room for a single byte that needs room.
    pub fn fill(&self) {
        let path = self.filling();
        let mut text = vec![0_u8; 1 << 16];
        while !text.is_empty() {
            let file = File::options().create(true).append(true).open(&path);
            let written = file.and_then(|mut file| file.write_all(&text));
            if written.is_err() {
                text.truncate(text.len() / 2);
            }
        }
    }

    pub fn free(&self) {
        fs::remove_file(self.filling()).expect("it is there");
    }

    fn filling(&self) -> PathBuf {
        self.0.0.join("filling")
    }
}

/// A disk over a folder whose file system the kernel can be made to give up, as after an error of the device: from then
/// on it can be read only, through open files as well. That is forgotten when it is mounted again.
#[derive(Debug)]
pub struct FailingDisk {
    mount: Mount,
    _image: NamedTempFile,
}

impl FailingDisk {
    /// # Errors
    /// This kernel has no ext4 or no loop devices.
    pub fn mount(path: &Path) -> Result<Self, Skip> {
        require_program("mkfs.ext4")?;
        let image = NamedTempFile::new().expect("a temporary file can be made");
        image.as_file().set_len(16 << 20).expect("a hole needs no room");
        let file = image.path().to_str().expect("it is text");
        run(&["mkfs.ext4", "-q", "-F", file]);
        let text = path.to_str().expect("it is text");
        let mounted = succeeds(&["mount", "-t", "ext4", "-o", "loop", file, text]);
        require_feature(
            "ext4 on a loop device",
            Since::Config("CONFIG_BLK_DEV_LOOP"),
            mounted,
        )?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("its owner may");
        Ok(Self {
            mount: Mount(path.to_owned()),
            _image: image,
        })
    }

    /// The kernel gives the file system up.
    pub fn fail(&self) {
        run(&["mount", "-o", "remount,abort", self.mount.path()]);
    }
}
