//! Ends rules without the owner of the data path, who may be inside the kernel for seconds: verifying programs, or linking
//! them to hundreds of devices.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aya::maps::{Array, Map, MapData, MapError};
use chaos_ebpf_common::abi::Rule;

use super::{DatapathError, FaultId, arm::ArmedRule};

/// A deadline that is over on every clock.
const LONG_AGO: u64 = 1;

/// The rules of every fault that acts. Clones are the same list.
#[derive(Clone)]
pub struct Brake(Arc<Mutex<Acting>>);

struct Acting {
    rules: Array<MapData, Rule>,
    slots: HashMap<FaultId, Box<[u32]>>,
}

impl Brake {
    /// Over the map `RULES`.
    pub(super) fn open(rules: impl AsFd) -> Result<Self, DatapathError> {
        let rules = rules
            .as_fd()
            .try_clone_to_owned()
            .map_err(|e| DatapathError::system("open the map RULES again", e))?;
        let rules = MapData::from_fd(rules).and_then(|map| Array::try_from(Map::Array(map)));
        Ok(Self(Arc::new(Mutex::new(Acting {
            rules: rules.map_err(refused)?,
            slots: HashMap::new(),
        }))))
    }

    /// From now on a fault acts by these rules, and by no others.
    pub(super) fn hold(&self, id: FaultId, rules: &[ArmedRule]) {
        let slots = rules.iter().map(|rule| rule.slot).collect();
        self.acting().slots.insert(id, slots);
    }

    /// The places of its rules are free for others when this has returned, and not before.
    pub(super) fn let_go(&self, id: FaultId) {
        self.acting().slots.remove(&id);
    }

    /// A fault acts on no packet when this returns; its counters can still be read. What it has on the host stays until
    /// [`super::Datapath::disarm`]. One that does not act is left alone.
    ///
    /// # Errors
    /// The map refuses: it acts as before.
    pub fn pull(&self, id: FaultId) -> Result<(), DatapathError> {
        let mut acting = self.acting();
        let Acting { rules, slots } = &mut *acting;
        for slot in slots.get(&id).into_iter().flatten() {
            // The owner may write the rule meanwhile, to end it some other way: whichever wins, it has ended.
            let rule = Rule {
                deadline: LONG_AGO,
                ..rules.get(slot, 0).map_err(refused)?
            };
            rules.set(*slot, rule, 0).map_err(refused)?;
        }
        Ok(())
    }

    fn acting(&self) -> MutexGuard<'_, Acting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(error: MapError) -> DatapathError {
    DatapathError::map("RULES", error)
}
