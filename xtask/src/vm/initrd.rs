//! The first file system of a guest: what it takes to mount the real one.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::setup::{Emulator, Kernel};

/// The guest's first program.
const EARLY: &str = include_str!("guest/early.sh");
/// Drivers of the emulated disks.
const DRIVERS: [&str; 2] = ["virtio_mmio", "virtio_blk"];

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// Writes it to `file`.
pub(super) fn write(file: &Path, emulator: &Emulator, kernel: &Kernel) -> Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let mut archive = Archive::default();
    for dir in ["bin", "dev", "modules", "root"] {
        archive.add(dir, FOLDER, &[]);
    }
    archive.add("init", PROGRAM, EARLY.as_bytes());
    archive.add("bin/busybox", PROGRAM, &read(&emulator.busybox())?);
    let mut order: Vec<String> = Vec::new();
    for driver in DRIVERS {
        for module in kernel.module_with_dependencies(driver)? {
            let name = module
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if !order.contains(&name) {
                archive.add(&format!("modules/{name}"), PROGRAM, &read(&module)?);
                order.push(name);
            }
        }
    }
    archive.add("modules/order", PROGRAM, order.join("\n").as_bytes());
    fs::write(file, archive.finish()).with_context(|| format!("cannot write {}", file.display()))
}

/// A cpio archive in the `newc` format, the one that kernels unpack.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    members: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.members += 1;
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        // Inode, mode, uid, gid, links, time, size, four device numbers, length of the name, check.
        let fields = [self.members, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_begin_on_four_bytes_and_name_their_length() {
        let mut archive = Archive::default();
        archive.add("init", PROGRAM, b"hello");
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(&text[..6], "070701");
        assert_eq!(&text[14..22], "000081ed", "a regular file that may be run");
        assert_eq!(&text[54..62], "00000005", "bytes of content");
        assert_eq!(&text[94..102], "00000005", "bytes of the name with its zero");
        assert_eq!(&bytes[110..115], b"init\0");
        assert_eq!(&bytes[116..121], b"hello");
        assert_eq!(&bytes[124..130], b"070701", "the trailer");
        assert_eq!(bytes.len() % 4, 0);
    }
}
