//! The namespace at the far ends of all cables. It has no name and no process; it is there for as long as its descriptor
//! is open, and takes the cables with it when it goes, in whatever way this process ends.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd, OwnedFd},
    os::unix::fs::MetadataExt,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
};

use nix::sched::{CloneFlags, unshare};

use super::{super::netlink::Route, fq};
use crate::{sys::sysfs::Sysfs, target::Netns};

/// The loopback of every namespace (drivers/net/loopback.c, `loopback_net_init`).
const LOOPBACK: u32 = 1;

/// The namespace.
#[derive(Debug)]
pub struct Far {
    pub netns: Netns,
    file: OwnedFd,
    /// Of its devices; without it packets of one flow can overtake one another.
    sysfs: io::Result<Sysfs>,
    /// Number of the next cable.
    next: AtomicU32,
}

impl Far {
    /// Makes it, and finds out there whether the kernel has the queue that cables need.
    ///
    /// # Errors
    /// Why there can be no cables.
    pub fn open() -> Result<Self, &'static str> {
        const NO_NAMESPACE: &str = "the daemon may not make a network namespace for its far ends";
        let made = thread::Builder::new()
            .name("far".to_owned())
            .spawn(Self::make)
            .map(thread::JoinHandle::join);
        match made {
            Ok(Ok(Ok(far))) => far,
            Ok(Ok(Err(error))) => {
                tracing::debug!(%error, "no namespace for the far ends of cables");
                Err(NO_NAMESPACE)
            }
            _ => Err(NO_NAMESPACE),
        }
    }

    fn make() -> io::Result<Result<Self, &'static str>> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        if let Err(error) = fq::put_on(&Route::open()?, LOOPBACK) {
            tracing::debug!(%error, "no fq");
            return Ok(Err("this kernel has no fq (sch_fq, CONFIG_NET_SCH_FQ)"));
        }
        // Else the kernel would send router solicitations; without IPv6 there is nothing to be quiet about.
        let _ = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        let file = OwnedFd::from(File::open("/proc/thread-self/ns/net")?);
        let entry = format!("/proc/self/fd/{}", file.as_raw_fd());
        let id = fs::metadata(&entry)?;
        let sysfs = Sysfs::new();
        if let Err(error) = &sysfs {
            tracing::warn!(%error, "no sysfs for the kernel line: on a busy host its packets may overtake one another");
        }
        Ok(Ok(Self {
            netns: Netns {
                dev: id.dev(),
                inode: id.ino(),
                label: "the daemon's far ends".to_owned(),
                entry: entry.into(),
                is_own: false,
            },
            file,
            sysfs,
            next: AtomicU32::new(0),
        }))
    }

    /// Its descriptor, for the kernel.
    pub fn fd(&self) -> i32 {
        self.file.as_raw_fd()
    }

    /// A number that no cable has had.
    pub fn number(&self) -> u32 {
        self.next.fetch_add(1, Relaxed)
    }

    /// Has the packets of one flow, which come from whatever processor lets them go, received by one and the same.
    pub fn steer(&self, device: &str) {
        let Ok(sysfs) = &self.sysfs else { return };
        let path = sysfs.of_device(device, "queues/rx-0/rps_cpus");
        let written = aya::util::nr_cpus()
            .map_err(|(_, error)| error)
            .and_then(|cpus| fs::write(path, mask_of(cpus)));
        if let Err(error) = written {
            tracing::warn!(%error, "the kernel line is not steered: on a busy host its packets may overtake one another");
        }
    }

    /// Packets that found no room between the ends.
    pub fn dropped(&self, device: &str) -> u64 {
        let Ok(sysfs) = &self.sysfs else { return 0 };
        let text = fs::read_to_string(sysfs.of_device(device, "statistics/rx_dropped"));
        text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }
}

/// So many processors, as sysfs wants them: 32 to a word, the highest first.
fn mask_of(cpus: usize) -> String {
    let word = |from: usize| match cpus.saturating_sub(from) {
        n @ 0..32 => (1_u32 << n) - 1,
        _ => u32::MAX,
    };
    let words: Vec<String> = (0..cpus)
        .step_by(32)
        .map(|from| format!("{:08x}", word(from)))
        .rev()
        .collect();
    words.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_written_highest_first() {
        assert_eq!(mask_of(2), "00000003");
        assert_eq!(mask_of(32), "ffffffff");
        assert_eq!(mask_of(33), "00000001,ffffffff");
    }
}
