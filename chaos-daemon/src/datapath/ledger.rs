//! The flows in the budgets of faults, forgotten by a thread of their own when their fault has ended: there can be a
//! quarter of a million, and an end that is due does not wait for that.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use aya::maps::{HashMap, MapData};
use chaos_ebpf_common::abi::BudgetedFlow;

use super::{DatapathError, FaultId};

type Flows = HashMap<MapData, BudgetedFlow, u32>;

/// What the kernel programs have written down, seen from here.
pub(super) struct Ledger {
    ended: Sender<u64>,
}

impl Ledger {
    /// # Errors
    /// No thread can be started.
    pub fn open(flows: Flows) -> Result<Self, DatapathError> {
        let (ended, faults) = channel();
        thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || forget(flows, &faults))
            .map_err(|error| DatapathError::system("start a thread", error))?;
        Ok(Self { ended })
    }

    /// Forgets the flows of a fault that has ended, soon. No number of a fault is used again, so what is left of one
    /// until then harms nobody.
    pub fn forget(&self, fault: FaultId) {
        // Fails only when the thread has died, and then there is nothing that could be done.
        let _ = self.ended.send(fault.0);
    }
}

/// Until the ledger is dropped.
fn forget(mut flows: Flows, faults: &Receiver<u64>) {
    while let Ok(first) = faults.recv() {
        let ended: HashSet<u64> = std::iter::once(first).chain(faults.try_iter()).collect();
        let stale: Vec<BudgetedFlow> = flows
            .keys()
            .filter_map(Result::ok)
            .filter(|flow| ended.contains(&flow.fault))
            .collect();
        for flow in stale {
            let _ = flows.remove(&flow);
        }
    }
}
