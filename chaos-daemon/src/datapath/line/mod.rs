//! The user line: a cable of a target namespace through which packets travel that have to wait, or to be looked
//! at one wire packet at a time. The hook puts a note before such a packet and sends it into a TAP device; the
//! line's thread reads it there, and sends it on from a packet socket (packets that leave) or lets it arrive
//! again through the TAP (packets that arrive).
//!
//! All of it hangs on descriptors of this process: whatever ends the process ends the line.

mod behind;
mod counters;
mod entrance;
mod frame;
mod gate;
mod htb;
mod pace;
mod queue;
mod requests;
mod rules;
mod thread;
mod train;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use chaos_ebpf_common::{
    abi::{Line as LineEntry, LineKey, NOBODY_TOLD},
    line::{BACKLOG, GATE, gate_class},
};
use nix::sys::eventfd::{EfdFlags, EventFd};

pub use counters::LineCounters;
pub use entrance::Entrances;
pub use rules::{Ended, LineRule};

use self::{
    gate::Gate,
    rules::Rules,
    thread::{Order, Worker},
};
use super::{DatapathError, closing::Closing, lost::Lost, object::Maps, resume::Resume};
use crate::{
    plan::BandwidthPlan,
    sys::{bpf, packet::Sender, shared::OnDemand, tap::Tap},
    target::{Interface, Netns, OURS},
};

/// The largest that a TAP takes: frames are as long as their devices make them.
const MTU: u32 = 65_521;
/// How long the threads may take to carry out an order. They are asked in the course of every end, so not for long.
const PATIENCE: Duration = Duration::from_millis(20);

/// The line of a namespace. Its thread ends soon after it, by itself: no end may hang on a thread.
pub struct Line {
    orders: Option<mpsc::Sender<Order>>,
    wake: Arc<EventFd>,
    devices: HashMap<u32, Device>,
    /// Where senders are held back, while some fault limits what leaves.
    gate: Option<Gate>,
    lost: Lost,
}

/// Something that a line was asked, and will say when it is done.
#[must_use]
pub struct Receipt(mpsc::Receiver<()>);

impl Receipt {
    /// Waits until all are done, but not for ever.
    pub fn wait_for(all: impl IntoIterator<Item = Self>) {
        let until = Instant::now() + PATIENCE;
        for Self(done) in all {
            if done
                .recv_timeout(until.saturating_duration_since(Instant::now()))
                .is_err()
            {
                tracing::debug!("a line takes its time");
            }
        }
    }
}

struct Device {
    users: usize,
    /// Index of the entrance.
    entrance: u32,
    /// Its name.
    name: String,
    /// Whether it has the way back for packets that arrive, once some fault has needed it: a program on a device makes
    /// the kernel wait for all CPUs when the device goes.
    arrives: bool,
    link: Option<bpf::Link>,
}

impl Line {
    /// Starts the thread; opens nothing yet.
    ///
    /// # Errors
    /// No thread or descriptor is to be had.
    pub fn start(netns: Netns, maps: &Maps, lost: Lost) -> Result<Self, DatapathError> {
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(|e| DatapathError::system("make an eventfd", e))?;
        let wake = Arc::new(wake);
        let (orders, receiver) = mpsc::channel();
        let words = |map: &OnDemand| {
            let words = map.words();
            words.map_err(|e| DatapathError::system("map the states of rules into memory", e))
        };
        let rules = Rules::new(words(&maps.state_words)?, words(&maps.spent_words)?);
        let worker = Worker::new(receiver, Arc::clone(&wake), rules, lost.clone());
        std::thread::Builder::new()
            .name("chaos-line".to_owned())
            .spawn(move || worker.run(&netns))
            .map_err(|e| DatapathError::system("start the thread of a line", e))?;
        Ok(Self {
            orders: Some(orders),
            wake,
            devices: HashMap::new(),
            gate: None,
            lost,
        })
    }

    /// Opens the line of a device for packets that leave, or also for those that arrive, or counts one more user.
    ///
    /// # Errors
    /// The kernel refuses; nothing is left of the attempt.
    pub fn hold(
        &mut self,
        netns: &Netns,
        index: u32,
        interface: &Interface,
        back: Option<&mut Resume<'_>>,
        maps: &mut Maps,
    ) -> Result<(), DatapathError> {
        let refused = |e| {
            DatapathError::system(
                format!("open a line for {} in {}", interface.name, netns.label),
                e,
            )
        };
        let arrives = back.is_some();
        if let Some(device) = self.devices.get_mut(&interface.index) {
            if let Some(back) = back
                && !device.arrives
            {
                let name = &device.name;
                device.link = netns
                    .run(|| back.attach(name, bpf::Hook::TcxIngress))?
                    .map_err(refused)?;
                device.arrives = true;
            }
            device.users += 1;
            return Ok(());
        }
        let opened = netns.run(|| {
            let tap = Tap::open(&format!("{OURS}%d"), MTU, BACKLOG)?;
            let sender = Sender::open(interface.index, interface.kind.as_deref() == Some("ipvlan"))?;
            let link = back.map_or(Ok(None), |back| back.attach(tap.name(), bpf::Hook::TcxIngress))?;
            Ok::<_, io::Error>((tap, sender, link))
        })?;
        let (tap, sender, link) = opened.map_err(refused)?;
        let open = maps.entrances.open()?;
        let (entrance, name) = (tap.ifindex(), tap.name().to_owned());
        let there = LineEntry {
            cookie: sender.cookie(),
            ifindex: entrance,
            entrance: if interface.switched {
                NOBODY_TOLD
            } else {
                open.place()
            },
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
        self.tell(Order::Open {
            ifindex: interface.index,
            tap,
            sender,
            entrance: open,
        });
        self.devices.insert(
            interface.index,
            Device {
                users: 1,
                entrance,
                name,
                arrives,
                link,
            },
        );
        Ok(())
    }

    /// Counts one user less. Where nobody is left, begins to close the line of the device.
    pub fn let_go(&mut self, index: u32, ifindex: u32) -> Option<Closing> {
        let device = self.devices.get_mut(&ifindex)?;
        device.users = device.users.saturating_sub(1);
        if device.users > 0 {
            return None;
        }
        let device = self.devices.remove(&ifindex)?;
        let (back, door) = mpsc::channel();
        self.tell(Order::Close { ifindex, back });
        Some(Closing {
            keys: vec![key(index, ifindex), key(index, device.entrance)],
            door: Mutex::new(door),
            link: device.link,
            empty: None,
        })
    }

    /// Holds senders back that leave by a rule state with this limit, or counts one more of its rules.
    ///
    /// # Errors
    /// The kernel cannot; then the line alone limits, and loses what waits too long.
    pub fn hold_back(
        &mut self,
        netns: &Netns,
        index: u32,
        state: u32,
        plan: &BandwidthPlan,
        maps: &mut Maps,
    ) -> io::Result<()> {
        let gate = match &mut self.gate {
            Some(gate) => gate,
            none => {
                let gate = Gate::open(netns, MTU)?;
                let entry = LineEntry {
                    ifindex: gate.ifindex(),
                    ..LineEntry::default()
                };
                maps.lines
                    .insert(key(index, GATE), entry, 0)
                    .map_err(io::Error::other)?;
                none.insert(gate)
            }
        };
        gate.hold(gate_class(state), plan)
    }

    /// Counts one rule less; where none is left, nobody is held back any more.
    pub fn let_through(&mut self, state: u32) {
        if let Some(gate) = &mut self.gate {
            gate.let_go(gate_class(state));
        }
    }

    /// Begins to close the gate when it holds nobody.
    pub fn close_idle_gate(&mut self, index: u32) -> Option<Closing> {
        let gate = self.gate.take_if(|gate| gate.is_idle())?;
        Some(Closing {
            keys: vec![key(index, GATE)],
            ..Closing::of(Box::new(gate))
        })
    }

    /// How many devices are open.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Packets that the line itself has lost so far.
    pub fn lost(&self) -> u64 {
        self.lost.here()
    }

    /// Lets rules act. They do so once [`Line::settle`] is done.
    pub fn put(&self, rules: Vec<(u32, LineRule)>) {
        self.tell(Order::Put { rules });
    }

    /// Asks for all that was put to be in force.
    pub fn settle(&self) -> Receipt {
        self.ask(|done| Order::Settle { done })
    }

    /// Ends rules. Waiting packets that none of their successors names go on at once.
    pub fn end(&self, ended: Vec<Ended>) -> Receipt {
        self.ask(|done| Order::End { ended, done })
    }

    fn ask(&self, order: impl FnOnce(mpsc::Sender<()>) -> Order) -> Receipt {
        let (done, wait) = mpsc::channel();
        self.tell(order(done));
        Receipt(wait)
    }

    fn tell(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // What is put is settled later; nobody has to get up for it.
            let later = matches!(order, Order::Put { .. });
            let _ = orders.send(order);
            if !later {
                let _ = self.wake.write(1);
            }
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.wake.write(1);
    }
}

fn key(netns: u32, ifindex: u32) -> LineKey {
    LineKey { netns, ifindex }
}
