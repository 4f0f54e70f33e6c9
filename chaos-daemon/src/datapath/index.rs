//! The index as userspace sees it: which scope has which cells, and which rules are in them. Keeps the
//! maps `NETNS`, `SCOPES` and `CELLS` in step. Adding is done before an epoch is published and taking
//! away after, so a program finds at least every rule that acts.

use std::collections::{HashMap, HashSet};

use chaos_ebpf_common::{
    abi::{CELL_RULES, CGROUP_LEVELS, Cell, CellKey, HOOKS, Hook, Netns, Scope, ScopeKey, scope_kind},
    front,
    index::{SCOPE_MAX, key, shape},
};

use super::{DatapathError, front::Fronts, object::Maps};
use crate::plan::Filing;

/// Whom a scope stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// Everybody in the namespace.
    Everybody,
    /// A cgroup and everything below it.
    Cgroup {
        /// cgroup id.
        id: u64,
        /// Depth below the root.
        level: u32,
    },
    /// One process.
    Process(u32),
}

/// A scope: whom, in which namespace, at which hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// Index of the namespace.
    pub netns: u32,
    /// The hook.
    pub hook: Hook,
    /// Whom.
    pub who: Who,
}

#[derive(Debug)]
struct Entry {
    id: u32,
    /// Cells of each shape.
    cells: [u32; shape::COUNT as usize],
}

impl Entry {
    fn scope(&self) -> Scope {
        let shapes = (0..shape::COUNT)
            .filter(|s| self.cells[*s as usize] > 0)
            .fold(0, |bits, s| bits | 1 << s);
        Scope { id: self.id, shapes }
    }
}

/// What is armed in a namespace at one hook, apart from the scope of everybody.
#[derive(Debug, Default, Clone, Copy)]
struct Others {
    levels: [u32; CGROUP_LEVELS],
    processes: u32,
}

/// The index.
#[derive(Debug)]
pub struct Index {
    scopes: HashMap<Name, Entry>,
    cells: HashMap<CellKey, Vec<u32>>,
    cell_fronts: Fronts<CellKey>,
    scope_fronts: Fronts<ScopeKey>,
    others: HashMap<(u32, u32), Others>,
    own: Option<u32>,
    /// Devices with a line, by namespace.
    lines: HashMap<u32, u32>,
    /// Devices in `COVERED`, by namespace.
    covered: HashMap<u32, u32>,
    last_scope: u32,
    /// Scope numbers in use.
    numbers: HashSet<u32>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            scopes: HashMap::new(),
            cells: HashMap::new(),
            cell_fronts: Fronts::new("CELL_FRONT"),
            scope_fronts: Fronts::new("SCOPE_FRONT"),
            others: HashMap::new(),
            own: None,
            lines: HashMap::new(),
            covered: HashMap::new(),
            last_scope: 0,
            numbers: HashSet::new(),
        }
    }
}

impl Index {
    /// Which namespace is the daemon's own.
    pub fn set_own(&mut self, netns: u32) {
        self.own = Some(netns);
    }

    /// How many devices of a namespace have a line.
    pub fn set_lines(&mut self, maps: &mut Maps, netns: u32, count: usize) -> Result<(), DatapathError> {
        set_count(&mut self.lines, netns, count);
        self.write_netns(maps, netns)
    }

    /// How many devices of a namespace are in `COVERED`.
    pub fn set_covered(&mut self, maps: &mut Maps, netns: u32, count: usize) -> Result<(), DatapathError> {
        set_count(&mut self.covered, netns, count);
        self.write_netns(maps, netns)
    }

    /// Whether anybody looks at this hook of this namespace.
    pub fn armed(&self, netns: u32, hook: Hook) -> bool {
        self.scopes
            .keys()
            .any(|name| name.netns == netns && name.hook == hook)
    }

    /// Files a rule. On failure nothing of it stays.
    pub fn file(
        &mut self,
        maps: &mut Maps,
        name: Name,
        filing: &Filing,
        slot: u32,
    ) -> Result<(), DatapathError> {
        self.open(name);
        let shape = filing.shape();
        let id = self.scopes[&name].id;
        let mut done = 0;
        let mut result = Ok(());
        for (local, remote, address) in filing.iter() {
            result = self.add(maps, name, key(id, shape, local, remote, &address), shape, slot);
            if result.is_err() {
                break;
            }
            done += 1;
        }
        if result.is_ok() {
            result = self.publish(maps, name);
        }
        if let Err(error) = result {
            for (local, remote, address) in filing.iter().take(done) {
                self.remove(maps, name, &key(id, shape, local, remote, &address), shape, slot);
            }
            self.close(maps, name);
            return Err(error);
        }
        Ok(())
    }

    /// Takes a rule out of the index again.
    pub fn unfile(&mut self, maps: &mut Maps, name: Name, filing: &Filing, slot: u32) {
        let Some(entry) = self.scopes.get(&name) else {
            return;
        };
        let (id, shape) = (entry.id, filing.shape());
        for (local, remote, address) in filing.iter() {
            self.remove(maps, name, &key(id, shape, local, remote, &address), shape, slot);
        }
        self.close(maps, name);
    }

    fn open(&mut self, name: Name) {
        if self.scopes.contains_key(&name) {
            return;
        }
        // Numbers come round after 16 million scopes; those in use are stepped over.
        loop {
            self.last_scope = if self.last_scope >= SCOPE_MAX {
                1
            } else {
                self.last_scope + 1
            };
            if self.numbers.insert(self.last_scope) {
                break;
            }
        }
        self.scopes.insert(
            name,
            Entry {
                id: self.last_scope,
                cells: [0; shape::COUNT as usize],
            },
        );
        let others = self.others.entry((name.netns, name.hook as u32)).or_default();
        match name.who {
            Who::Everybody => {}
            Who::Cgroup { level, .. } => others.levels[level as usize % CGROUP_LEVELS] += 1,
            Who::Process(_) => others.processes += 1,
        }
    }

    /// Forgets the scope when it has no cells left, and tells the kernel either way.
    fn close(&mut self, maps: &mut Maps, name: Name) {
        let empty = self
            .scopes
            .get(&name)
            .filter(|entry| entry.scope().shapes == 0)
            .map(|entry| entry.id);
        if let Some(id) = empty {
            self.numbers.remove(&id);
            self.scopes.remove(&name);
            if let Some(others) = self.others.get_mut(&(name.netns, name.hook as u32)) {
                match name.who {
                    Who::Everybody => {}
                    Who::Cgroup { level, .. } => others.levels[level as usize % CGROUP_LEVELS] -= 1,
                    Who::Process(_) => others.processes -= 1,
                }
            }
        }
        if let Err(error) = self.publish(maps, name) {
            tracing::warn!(%error, ?name, "a scope that is over could not be taken away; its rules are over all the same");
        }
    }

    fn add(
        &mut self,
        maps: &mut Maps,
        name: Name,
        key: CellKey,
        shape: u32,
        slot: u32,
    ) -> Result<(), DatapathError> {
        let slots = self.cells.entry(key).or_default();
        if slots.len() >= CELL_RULES {
            return Err(DatapathError::Crowded {
                scope: describe(name),
                most: CELL_RULES,
            });
        }
        slots.push(slot);
        // The front last: it may lead to the hash.
        let added = maps
            .cells
            .insert(key, cell(slots), 0)
            .map_err(|error| DatapathError::map("CELLS", error))
            .and_then(|()| self.cell_fronts.file(&mut maps.cell_front, key, alone(slots)));
        if let Err(error) = added {
            slots.pop();
            // Either may fail in turn: a slot that is not in use names nobody.
            if slots.is_empty() {
                self.cells.remove(&key);
                let _ = maps.cells.remove(&key);
            } else {
                let _ = maps.cells.insert(key, cell(slots), 0);
            }
            return Err(error);
        }
        if slots.len() == 1
            && let Some(entry) = self.scopes.get_mut(&name)
        {
            entry.cells[shape as usize] += 1;
        }
        Ok(())
    }

    fn remove(&mut self, maps: &mut Maps, name: Name, key: &CellKey, shape: u32, slot: u32) {
        let Some(slots) = self.cells.get_mut(key) else {
            return;
        };
        slots.retain(|other| *other != slot);
        // The front first: it may lead to the hash.
        let result = if slots.is_empty() {
            self.cell_fronts
                .forget(&mut maps.cell_front, key)
                .and_then(|()| maps.cells.remove(key).map_err(|e| DatapathError::map("CELLS", e)))
        } else {
            maps.cells
                .insert(key, cell(slots), 0)
                .map_err(|e| DatapathError::map("CELLS", e))
                .and_then(|()| self.cell_fronts.file(&mut maps.cell_front, *key, alone(slots)))
        };
        if slots.is_empty() {
            self.cells.remove(key);
            if let Some(entry) = self.scopes.get_mut(&name) {
                entry.cells[shape as usize] -= 1;
            }
        }
        if let Err(error) = result {
            tracing::warn!(%error, "a cell could not be taken away; its rule is over all the same");
        }
    }

    /// Writes the scope and what its namespace has to look at.
    fn publish(&mut self, maps: &mut Maps, name: Name) -> Result<(), DatapathError> {
        let hook = name.hook as u32;
        let named = match name.who {
            Who::Everybody => None,
            Who::Cgroup { id, .. } => Some(ScopeKey::new(scope_kind::CGROUP, id, name.netns, hook)),
            Who::Process(pid) => Some(ScopeKey::new(
                scope_kind::PROCESS,
                u64::from(pid),
                name.netns,
                hook,
            )),
        };
        if let Some(key) = named {
            let failed = |e| DatapathError::map("SCOPES", e);
            match self.scopes.get(&name).map(Entry::scope) {
                Some(scope) => {
                    maps.scopes.insert(key, scope, 0).map_err(failed)?;
                    let value = Some(front::of_scope(scope));
                    self.scope_fronts.file(&mut maps.scope_front, key, value)?;
                }
                None => {
                    self.scope_fronts.forget(&mut maps.scope_front, &key)?;
                    maps.scopes.remove(&key).map_err(failed)?;
                }
            }
        }
        self.write_netns(maps, name.netns)
    }

    fn write_netns(&self, maps: &mut Maps, netns: u32) -> Result<(), DatapathError> {
        maps.netns
            .set(netns, self.netns(netns), 0)
            .map_err(|e| DatapathError::map("NETNS", e))
    }

    fn netns(&self, netns: u32) -> Netns {
        let mut value = Netns {
            own: u32::from(self.own == Some(netns)),
            lines: self.lines.get(&netns).copied().unwrap_or(0),
            covered: self.covered.get(&netns).copied().unwrap_or(0),
            ..Netns::default()
        };
        for (hook, side) in [Hook::Egress, Hook::Ingress, Hook::Xdp]
            .into_iter()
            .zip(value.sides.iter_mut())
        {
            if let Some(entry) = self.scopes.get(&Name {
                netns,
                hook,
                who: Who::Everybody,
            }) {
                side.scope = entry.scope();
            }
            if let Some(others) = self.others.get(&(netns, hook as u32)) {
                side.cgroup_levels = (0..CGROUP_LEVELS)
                    .filter(|level| others.levels[*level] > 0)
                    .fold(0, |bits, l| bits | 1 << l);
                side.processes = u32::from(others.processes > 0);
            }
        }
        value
    }
}

const _: () = assert!(HOOKS == 3);

fn set_count(counts: &mut HashMap<u32, u32>, netns: u32, count: usize) {
    if count == 0 {
        counts.remove(&netns);
    } else {
        counts.insert(netns, count as u32);
    }
}

/// What the front of a cell can say of it.
fn alone(slots: &[u32]) -> Option<u64> {
    match slots {
        [slot] => Some(front::of_slot(*slot)),
        _ => None,
    }
}

fn cell(slots: &[u32]) -> Cell {
    let mut cell = Cell {
        len: slots.len() as u32,
        ..Cell::default()
    };
    cell.slots[..slots.len()].copy_from_slice(slots);
    cell
}

fn describe(name: Name) -> String {
    match name.who {
        Who::Everybody => "this network namespace".to_owned(),
        Who::Cgroup { id, .. } => format!("cgroup {id}"),
        Who::Process(pid) => format!("process {pid}"),
    }
}
