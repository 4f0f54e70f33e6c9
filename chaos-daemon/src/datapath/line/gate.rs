//! Backpressure. A packet on the line no longer belongs to its socket, so nothing would tell a sender that it is too
//! fast. Under `bandwidth` a copy travels by the line, and the packet itself waits here, still owned by its socket,
//! in a token bucket of the same rate; then it is thrown away. TCP sees a full queue (TCP Small Queues), a UDP socket a
//! full buffer, as with `tc`. Nothing is lost with what is in here, so whatever ends it may empty it.

use std::{collections::HashMap, io};

use super::htb::Htb;
use crate::{
    plan::BandwidthPlan,
    sys::tap::Tap,
    target::{Netns, OURS},
};

/// Frames that may wait to be read. Nobody reads.
const BACKLOG: u32 = 1;
/// The bucket lets through this much of a thousandth less than the line, so that what waits, waits here.
const PER_MILLE: u64 = 998;
/// Seconds' part of the rate that may always go at once: the kernel's timers may be late by that.
const LATENESS: u64 = 100;

/// The gate of a namespace. It goes with the process, in whatever way that ends.
pub struct Gate {
    tap: Tap,
    htb: Htb,
    /// Users of each class.
    classes: HashMap<u16, usize>,
}

impl Gate {
    /// Makes the device.
    ///
    /// # Errors
    /// The kernel has no HTB, or refuses.
    pub fn open(netns: &Netns, mtu: u32) -> io::Result<Self> {
        let made = netns.run(|| {
            let tap = Tap::open(&format!("{OURS}%d"), mtu, BACKLOG)?;
            // Else the kernel would cut what is thrown away.
            tap.set_super_packets(true)?;
            let htb = Htb::put_on(tap.ifindex())?;
            Ok::<_, io::Error>((tap, htb))
        });
        let (tap, htb) = made.map_err(io::Error::other)??;
        Ok(Self {
            tap,
            htb,
            classes: HashMap::new(),
        })
    }

    /// Index of the device.
    pub fn ifindex(&self) -> u32 {
        self.tap.ifindex()
    }

    /// Opens the bottleneck of a rule state, or counts one more user.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn hold(&mut self, class: u16, plan: &BandwidthPlan) -> io::Result<()> {
        if let Some(users) = self.classes.get_mut(&class) {
            *users += 1;
            return Ok(());
        }
        if class == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let rate = plan.rate / 8;
        let slower = u128::from(rate) * u128::from(PER_MILLE) / 1000;
        let slower = u64::try_from(slower).unwrap_or(u64::MAX);
        self.htb.add(class, slower, plan.burst.max(rate / LATENESS))?;
        self.classes.insert(class, 1);
        Ok(())
    }

    /// Counts one user less; lets everybody go where nobody is left.
    pub fn let_go(&mut self, class: u16) {
        let Some(users) = self.classes.get_mut(&class) else {
            return;
        };
        *users -= 1;
        if *users > 0 {
            return;
        }
        self.classes.remove(&class);
        if let Err(error) = self.htb.remove(class) {
            tracing::debug!(%error, class, "a class of a gate was not there");
        }
    }

    /// Whether it has no bottleneck.
    pub fn is_idle(&self) -> bool {
        self.classes.is_empty()
    }
}
