//! The namespace at the far ends of all cables. It has no name and no process; it is there for as long as its descriptor
//! is open, and takes the cables with it when it goes, in whatever way this process ends.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    num::ParseIntError,
    os::fd::{AsRawFd, OwnedFd},
    os::unix::fs::MetadataExt,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
};

use aya::util::{nr_cpus, online_cpus};
use chaos_ebpf_common::home::Home;
use nix::sched::{CloneFlags, unshare};

use super::{
    super::netlink::{RTM_DELLINK, Route, TC_H_ROOT, device},
    fq,
    pair::Kind,
};
use crate::{
    sys::sysfs::Sysfs,
    target::{Netns, Queue},
};

/// The loopback of every namespace (drivers/net/loopback.c, `loopback_net_init`).
const LOOPBACK: u32 = 1;
/// Of a device, in sysfs: which processors receive its packets.
const STEERING: &str = "queues/rx-0/rps_cpus";

/// The namespace.
#[derive(Debug)]
pub struct Far {
    pub netns: Netns,
    /// What its cables are made of.
    pub kind: Kind,
    file: OwnedFd,
    /// Of its devices.
    sysfs: io::Result<Sysfs>,
    /// Without it packets of one flow can overtake one another.
    steering: Option<Steering>,
    /// Number of the next cable.
    next: AtomicU32,
}

impl Far {
    /// Makes it, and finds out there what the kernel has of what cables need. `links`: programs can be attached by links,
    /// without which a netkit takes none.
    ///
    /// # Errors
    /// Why there can be no cables.
    pub fn open(links: bool) -> Result<Self, &'static str> {
        const NO_NAMESPACE: &str = "the daemon may not make a network namespace for its far ends";
        let made = thread::Builder::new()
            .name("far".to_owned())
            .spawn(move || Self::make(links))
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

    fn make(links: bool) -> io::Result<Result<Self, &'static str>> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let route = Route::open()?;
        if let Err(error) = fq::put_on(&route, LOOPBACK, TC_H_ROOT) {
            tracing::debug!(%error, "no fq");
            return Ok(Err("this kernel has no fq (sch_fq, CONFIG_NET_SCH_FQ)"));
        }
        // Else the kernel would send router solicitations; without IPv6 there is nothing to be quiet about.
        let _ = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        let file = OwnedFd::from(File::open("/proc/thread-self/ns/net")?);
        let entry = format!("/proc/self/fd/{}", file.as_raw_fd());
        let id = fs::metadata(&entry)?;
        let sysfs = Sysfs::new();
        let steering = match &sysfs {
            Ok(sysfs) => Steering::here(sysfs),
            Err(error) => Err(error.kind().into()),
        };
        if let Err(error) = &steering {
            tracing::warn!(%error, "the kernel line is not steered: on a busy host its packets may overtake one another");
        }
        let kind = if links && has_netkit(&route, file.as_raw_fd()) {
            Kind::Netkit
        } else {
            Kind::Veth
        };
        Ok(Ok(Self {
            netns: Netns {
                dev: id.dev(),
                inode: id.ino(),
                label: "the daemon's far ends".to_owned(),
                entry: entry.into(),
                is_own: false,
            },
            kind,
            file,
            sysfs,
            steering: steering.ok(),
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

    /// How many queues its devices have: one for each processor that receives packets there.
    pub fn queues(&self) -> u32 {
        self.steering.as_ref().map_or(1, Steering::processors)
    }

    /// For each processor of the machine, where packets wait that come from it.
    ///
    /// # Errors
    /// The kernel does not say how many there are.
    pub fn homes(&self) -> io::Result<Vec<Home>> {
        let all = 0..u32::try_from(nr_cpus().map_err(|(_, error)| error)?).unwrap_or(u32::MAX);
        let of = |cpu| {
            let steering = self.steering.as_ref();
            steering.map_or_else(|| Home::at(0, 1), |steering| steering.home(cpu))
        };
        Ok(all.map(of).collect())
    }

    /// Has packets received by the processor that is named by their hash, wherever they come from.
    pub fn steer(&self, device: &str) {
        if let (Ok(sysfs), Some(steering)) = (&self.sysfs, &self.steering)
            && let Err(error) = fs::write(sysfs.of_device(device, STEERING), &steering.mask)
        {
            tracing::warn!(%error, "a kernel line is not steered: on a busy host its packets may overtake one another");
        }
    }

    /// Packets that found no room between the ends.
    pub fn dropped(&self, device: &str) -> u64 {
        let Ok(sysfs) = &self.sysfs else { return 0 };
        let text = fs::read_to_string(sysfs.of_device(device, "statistics/rx_dropped"));
        text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// What the queues of all its devices have refused.
    pub fn refused(&self) -> Refused {
        let queues = Queue::all_of(&self.netns).unwrap_or_else(|error| {
            tracing::debug!(%error, "what kernel lines have lost is not known");
            Vec::new()
        });
        // The one at the root has the sum of those that hang on it.
        let roots = queues.into_iter().filter(|queue| queue.parent == TC_H_ROOT);
        Refused(roots.map(|queue| (queue.ifindex, queue.drops)).collect())
    }
}

/// Packets that found no room in queues, by the index of their device.
#[derive(Debug)]
pub struct Refused(HashMap<u32, u32>);

impl Refused {
    /// Those of one device.
    pub fn of(&self, ifindex: u32) -> u64 {
        self.0.get(&ifindex).copied().unwrap_or(0).into()
    }
}

/// By which processors packets are received.
#[derive(Debug)]
struct Steering {
    /// As sysfs wants it.
    mask: String,
    /// The same, lowest first.
    cpus: Vec<u32>,
}

impl Steering {
    /// All of this machine that the kernel lets have such work, which it says of the loopback.
    fn here(sysfs: &Sysfs) -> io::Result<Self> {
        let all = online_cpus().map_err(|(_, error)| error)?;
        let path = sysfs.of_device("lo", STEERING);
        fs::write(&path, mask_of(&all))?;
        let mask = fs::read_to_string(path)?.trim().to_owned();
        let cpus = cpus_of(&mask).map_err(io::Error::other)?;
        Ok(Self { mask, cpus })
    }

    /// How many there are.
    fn processors(&self) -> u32 {
        u32::try_from(self.cpus.len()).map_or(1, |n| n.max(1))
    }

    /// Where packets wait that come from this one, which may be none of them.
    fn home(&self, cpu: u32) -> Home {
        let all = self.processors();
        match self.cpus.iter().zip(0..).find(|(one, _)| **one == cpu) {
            Some((_, place)) => Home::at(place, all),
            None => Home::away(cpu % all, all),
        }
    }
}

/// Whether a pair of them can be made.
fn has_netkit(route: &Route, netns: i32) -> bool {
    let [near, far] = ["chaos-try0", "chaos-try1"];
    match Kind::Netkit.make(route, near, far, netns, 1) {
        Ok(()) => route.ask(RTM_DELLINK, 0, &device(near, 0)).is_ok(),
        Err(error) => {
            tracing::debug!(%error, "no netkit; kernel lines are made of veth pairs");
            false
        }
    }
}

/// These processors, as sysfs wants them: 32 to a word, the highest first.
fn mask_of(cpus: &[u32]) -> String {
    let words = cpus.iter().max().map_or(1, |last| last / 32 + 1);
    let word = |n: u32| {
        let bits = cpus.iter().filter(|cpu| **cpu / 32 == n);
        format!("{:08x}", bits.fold(0_u32, |word, cpu| word | 1 << (cpu % 32)))
    };
    (0..words).rev().map(word).collect::<Vec<_>>().join(",")
}

/// The processors of such a mask, lowest first.
fn cpus_of(mask: &str) -> Result<Vec<u32>, ParseIntError> {
    let mut cpus = Vec::new();
    for (word, n) in mask.rsplit(',').zip(0..) {
        let bits = u32::from_str_radix(word, 16)?;
        cpus.extend((0..32).filter(|bit| bits >> bit & 1 != 0).map(|bit| 32 * n + bit));
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_a_processor_that_receives_none_wait_on_another() {
        let steering = Steering {
            mask: "0000000c".to_owned(),
            cpus: cpus_of("0000000c").expect("a mask"),
        };
        let homes = (0..5).map(|cpu| steering.home(cpu));
        let [even, odd] = [0, 1].map(|place| Home::away(place, 2));
        let here = [0, 1].map(|place| Home::at(place, 2));
        assert_eq!(homes.collect::<Vec<_>>(), [even, odd, here[0], here[1], even]);
    }

    #[test]
    fn masks_are_read_as_they_are_written() {
        for cpus in [vec![0, 1], (0..33).collect(), vec![2, 65]] {
            assert_eq!(cpus_of(&mask_of(&cpus)), Ok(cpus));
        }
    }

    #[test]
    fn processors_are_written_highest_first() {
        assert_eq!(mask_of(&[0, 1]), "00000003");
        assert_eq!(mask_of(&(0..32).collect::<Vec<_>>()), "ffffffff");
        assert_eq!(mask_of(&(0..33).collect::<Vec<_>>()), "00000001,ffffffff");
        assert_eq!(mask_of(&[2, 65]), "00000002,00000000,00000004");
    }
}
