//! The namespaces in which programs sit: opened for the first rule, closed after the last.

use super::{
    Datapath, DatapathError,
    space::{Space, TcMode},
};
use crate::target::Netns;

impl Datapath {
    /// The programs of a namespace, opened when they are not there yet.
    pub(super) fn space_for(&mut self, netns: &Netns) -> Result<u32, DatapathError> {
        if let Some(space) = self.spaces.values().find(|space| space.netns == *netns) {
            return Ok(space.index);
        }
        let (index, programs) = self.spare.take(&self.object.loader, &mut self.free_spaces)?;
        let space = match Space::open(index, netns.clone(), programs) {
            Ok(space) => space,
            Err(error) => {
                self.free_spaces.give(index);
                return Err(error);
            }
        };
        if netns.is_own {
            self.index.set_own(index);
        }
        if let Err(error) = self.maps.known_netns.insert(space.cookie, index, 0) {
            self.free_spaces.give(index);
            return Err(DatapathError::map("KNOWN_NETNS", error));
        }
        self.spaces.insert(index, space);
        if self.capabilities.tc == TcMode::Clsact {
            // Filters do not end with the process.
            self.exit_watch.begin();
        }
        Ok(index)
    }

    /// Watches the end of this process while anything is attached. Links end with it in any case, so a fault does not wait
    /// for this: to patch a tracepoint in takes the kernel a millisecond or more.
    pub(super) fn watch_exit(&mut self) {
        if !self.spaces.is_empty() {
            self.exit_watch.begin();
        }
    }

    /// Lets go of a namespace in which no rule is any more.
    pub(super) fn close_idle_space(&mut self, index: u32) {
        self.forget_covered(index);
        if !self.spaces.get(&index).is_some_and(Space::is_idle) {
            return;
        }
        if let Some(space) = self.spaces.remove(&index) {
            let _ = self.maps.known_netns.remove(&space.cookie);
            self.free_spaces.give(index);
        }
        if self.spaces.is_empty() {
            self.exit_watch.end();
        }
    }
}
