//! Under which index cells a rule is filed. The more exact fields, the fewer rules a packet has to look
//! at; but every value of a list is a cell of its own, so long lists of ports are checked in the rule instead.

use chaos_ebpf_common::{
    abi::{Ports, RANGES},
    address::Address,
    index::shape,
};

use super::{CELLS_PER_FAULT, address, addresses::Remotes};

/// Up to so many ports are filed one by one.
const PORTS_FILED: usize = 1024;

/// The exact fields of one cell: local port, remote port, remote address; 0 where the shape does not ask.
pub type CellParts = (u16, u16, Address);

/// The cells of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filing {
    locals: Option<Vec<u16>>,
    remotes: Option<Vec<u16>>,
    addresses: Option<Vec<Address>>,
}

/// Decides what is filed.
pub(super) fn file(local: &[Ports], remote: &[Ports], remotes: &Remotes) -> Filing {
    let addresses = match remotes {
        Remotes::Exact(list) if list.len() <= CELLS_PER_FAULT => {
            Some(list.iter().copied().map(address).collect::<Vec<_>>())
        }
        _ => None,
    };
    let mut filing = Filing {
        locals: expand(local),
        remotes: expand(remote),
        addresses,
    };
    // The addresses are worth most, then the remote ports: leave out what makes the product too large.
    if filing.cells() > CELLS_PER_FAULT {
        filing.locals = None;
    }
    if filing.cells() > CELLS_PER_FAULT {
        filing.remotes = None;
    }
    filing
}

fn expand(ranges: &[Ports]) -> Option<Vec<u16>> {
    let count: usize = ranges
        .iter()
        .map(|range| usize::from(range.last - range.first) + 1)
        .sum();
    (count > 0 && count <= PORTS_FILED)
        .then(|| ranges.iter().flat_map(|range| range.first..=range.last).collect())
}

impl Filing {
    /// The shape (see [`chaos_ebpf_common::index::shape`]).
    pub fn shape(&self) -> u32 {
        let bit = |filed: bool, bit: u32| if filed { bit } else { 0 };
        bit(self.locals.is_some(), shape::LOCAL_PORT)
            | bit(self.remotes.is_some(), shape::REMOTE_PORT)
            | bit(self.addresses.is_some(), shape::REMOTE)
    }

    /// How many cells.
    pub fn cells(&self) -> usize {
        let count = |list: Option<usize>| list.unwrap_or(1);
        count(self.locals.as_ref().map(Vec::len))
            * count(self.remotes.as_ref().map(Vec::len))
            * count(self.addresses.as_ref().map(Vec::len))
    }

    /// Whether the remote address is exact.
    pub fn has_remote(&self) -> bool {
        self.addresses.is_some()
    }

    /// Every cell.
    pub fn iter(&self) -> impl Iterator<Item = CellParts> + '_ {
        let ports = |list: &'_ Option<Vec<u16>>| list.clone().unwrap_or_else(|| vec![0]);
        let (locals, remotes) = (ports(&self.locals), ports(&self.remotes));
        let addresses: &[Address] = self.addresses.as_deref().unwrap_or(&[Address::UNSPECIFIED]);
        addresses.iter().flat_map(move |address| {
            let remotes = remotes.clone();
            locals.clone().into_iter().flat_map(move |local| {
                remotes
                    .clone()
                    .into_iter()
                    .map(move |remote| (local, remote, *address))
            })
        })
    }

    /// The local ranges that the rule itself still checks, in portions that fit into one rule.
    pub(super) fn checked_locals<'a>(&self, ranges: &'a [Ports]) -> Vec<&'a [Ports]> {
        portions(ranges, self.locals.is_some())
    }

    /// The same for remote ranges.
    pub(super) fn checked_remotes<'a>(&self, ranges: &'a [Ports]) -> Vec<&'a [Ports]> {
        portions(ranges, self.remotes.is_some())
    }
}

/// A short list is checked in the rule even when the cell has found the port: cells can be replaced under
/// a reader's hands, and a rule that checks for itself is right all the same.
fn portions(ranges: &[Ports], filed: bool) -> Vec<&[Ports]> {
    if ranges.is_empty() || (filed && ranges.len() > RANGES) {
        return vec![&[]];
    }
    ranges.chunks(RANGES).collect()
}
