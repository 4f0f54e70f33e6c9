use super::{Identity, Resolved};

impl Resolved {
    /// What was found, one line for its identity and one for each namespace, numbers included: equal outlines are
    /// equal targets.
    pub fn outline(&self) -> Vec<String> {
        let identity = match &self.identity {
            Identity::Whole => None,
            Identity::Cgroup { id, path, .. } => Some(format!("cgroup {id} {}", path.display())),
            Identity::Process { pid } => Some(format!("pid {pid}")),
        };
        let places = self.places.iter().map(|place| {
            let interfaces: Vec<_> = place
                .interfaces
                .iter()
                .map(|interface| format!("{}#{}", interface.name, interface.index))
                .collect();
            let netns = &place.netns;
            format!(
                "netns {}:{} {} {}",
                netns.dev,
                netns.inode,
                netns.label,
                interfaces.join(",")
            )
        });
        identity.into_iter().chain(places).collect()
    }
}
