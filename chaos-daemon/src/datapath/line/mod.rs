//! The user line: a cable of a target namespace through which packets travel that have to wait, or to be looked
//! at one wire packet at a time. The hook puts a note before such a packet and sends it into a TAP device; the
//! line's thread reads it there, and sends it on from a packet socket (packets that leave) or lets it arrive
//! again through the TAP (packets that arrive).
//!
//! All of it hangs on descriptors of this process: whatever ends the process ends the line.

mod counters;
mod frame;
mod queue;
mod rules;
mod thread;

use std::{
    collections::HashMap,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use aya::programs::{ProgramFd, SchedClassifier};
use chaos_ebpf_common::abi::{Line as LineEntry, LineKey};
use nix::sys::eventfd::{EfdFlags, EventFd};

pub use counters::LineCounters;
pub use rules::LineRule;

use self::{
    rules::Rules,
    thread::{Order, Worker},
};
use super::{DatapathError, clsact, object::Maps};
use crate::{
    sys::{bpf, packet::Sender, tap::Tap},
    target::{Interface, Netns, OURS},
};

/// The largest that a TAP takes: frames are as long as their devices make them.
const MTU: u32 = 65_521;
/// Frames that may wait to be read.
const BACKLOG: u32 = 16_384;
/// How long the thread may take to carry out an order. It is asked in the course of every end, so not for long.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long it may take to close a device: the kernel waits for all CPUs before a device is gone.
const LEISURE: Duration = Duration::from_millis(500);

/// The line of a namespace.
pub struct Line {
    orders: Option<mpsc::Sender<(Order, Option<mpsc::Sender<()>>)>>,
    wake: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
    devices: HashMap<u32, Device>,
    lost: Arc<AtomicU64>,
}

struct Device {
    users: usize,
    /// Index of the entrance.
    entrance: u32,
    _link: Option<bpf::Link>,
}

/// The program at the far end, and how it gets there.
pub enum Back<'a> {
    /// By TCX.
    Link(&'a ProgramFd),
    /// By netlink, which leaves it to the device.
    Filter(Box<SchedClassifier>),
}

impl Back<'_> {
    /// Attaches it in the calling thread's namespace.
    fn attach(&mut self, tap: &Tap) -> std::io::Result<Option<bpf::Link>> {
        match self {
            Self::Link(program) => {
                bpf::Link::device(program.as_fd(), tap.ifindex(), bpf::Hook::TcxIngress).map(Some)
            }
            Self::Filter(program) => clsact::add_to_own(tap.name(), program).map(|()| None),
        }
    }
}

impl Line {
    /// Starts the thread; opens nothing yet.
    ///
    /// # Errors
    /// No thread or descriptor is to be had.
    pub fn start(netns: Netns, maps: &Maps) -> Result<Self, DatapathError> {
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(|e| DatapathError::system("make an eventfd", e))?;
        let wake = Arc::new(wake);
        let (orders, receiver) = mpsc::channel();
        let lost = Arc::new(AtomicU64::new(0));
        let rules = Rules::new(Arc::clone(&maps.state_words), Arc::clone(&maps.spent_words));
        let worker = Worker::new(receiver, Arc::clone(&wake), rules, Arc::clone(&lost));
        let thread = std::thread::Builder::new()
            .name("chaos-line".to_owned())
            .spawn(move || worker.run(&netns))
            .map_err(|e| DatapathError::system("start the thread of a line", e))?;
        Ok(Self {
            orders: Some(orders),
            wake,
            thread: Some(thread),
            devices: HashMap::new(),
            lost,
        })
    }

    /// Opens the line of a device, or counts one more user.
    ///
    /// # Errors
    /// The kernel refuses; nothing is left of the attempt.
    pub fn hold(
        &mut self,
        netns: &Netns,
        index: u32,
        interface: &Interface,
        back: &mut Back<'_>,
        maps: &mut Maps,
    ) -> Result<(), DatapathError> {
        if let Some(device) = self.devices.get_mut(&interface.index) {
            device.users += 1;
            return Ok(());
        }
        let opened = netns.run(|| {
            let tap = Tap::open(&format!("{OURS}%d"), MTU, BACKLOG)?;
            let sender = Sender::open(interface.index)?;
            let link = back.attach(&tap)?;
            Ok::<_, std::io::Error>((tap, sender, link))
        })?;
        let (tap, sender, link) = opened.map_err(|e| {
            DatapathError::system(
                format!("open a line for {} in {}", interface.name, netns.label),
                e,
            )
        })?;
        let entrance = tap.ifindex();
        let there = LineEntry {
            cookie: sender.cookie(),
            ifindex: entrance,
            _pad: 0,
        };
        let back = LineEntry {
            ifindex: interface.index,
            ..LineEntry::default()
        };
        let known = maps
            .lines
            .insert(key(index, entrance), back, 0)
            .and_then(|()| maps.lines.insert(key(index, interface.index), there, 0));
        if let Err(error) = known {
            // Absent when this was what failed.
            let _ = maps.lines.remove(&key(index, entrance));
            return Err(DatapathError::map("LINES", error));
        }
        self.order(Order::Open {
            ifindex: interface.index,
            tap,
            sender,
        });
        self.devices.insert(
            interface.index,
            Device {
                users: 1,
                entrance,
                _link: link,
            },
        );
        Ok(())
    }

    /// Counts one user less; closes the line of a device where nobody is left.
    pub fn let_go(&mut self, index: u32, ifindex: u32, maps: &mut Maps) {
        let Some(device) = self.devices.get_mut(&ifindex) else {
            return;
        };
        device.users = device.users.saturating_sub(1);
        if device.users > 0 {
            return;
        }
        let entrance = device.entrance;
        for known in [ifindex, entrance] {
            if let Err(error) = maps.lines.remove(&key(index, known)) {
                tracing::debug!(%error, "a line was not in its map");
            }
        }
        self.order_now(Order::Close { ifindex }, LEISURE);
        self.devices.remove(&ifindex);
    }

    /// How many devices are open.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Packets that the line itself has lost so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Lets rules act from now on.
    pub fn put(&self, rules: Vec<(u32, LineRule)>) {
        self.order_now(Order::Put { rules }, PATIENCE);
    }

    /// Ends rules. Waiting packets that none of `successors` names go on at once.
    pub fn end(&self, slots: Vec<u32>, successors: Vec<u32>) {
        self.order_now(Order::End { slots, successors }, PATIENCE);
    }

    fn order(&self, order: Order) {
        self.tell((order, None));
    }

    /// Waits until it is done, but not for ever: no end may hang on a thread.
    fn order_now(&self, order: Order, patience: Duration) {
        let (done, wait) = mpsc::channel();
        self.tell((order, Some(done)));
        if wait.recv_timeout(patience).is_err() {
            tracing::debug!("a line takes its time");
        }
    }

    fn tell(&self, order: (Order, Option<mpsc::Sender<()>>)) {
        if let Some(orders) = &self.orders {
            let _ = orders.send(order);
            let _ = self.wake.write(1);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.wake.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn key(netns: u32, ifindex: u32) -> LineKey {
    LineKey { netns, ifindex }
}
