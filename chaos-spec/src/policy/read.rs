use super::{POLICY_KIND, Policy};
use crate::diagnostic::{Diagnostic, Diagnostics, Mark};
use crate::parse::node::Node;
use crate::parse::{collect, documents_of, nothing_in};
use crate::path::SpecPath;
use crate::validate::validate_health;
use crate::{Duration, SpecError};

/// A policy that knows where each of its rules is written.
#[derive(Clone, Debug)]
pub struct LocatedPolicy {
    pub policy: Policy,
    file: String,
    node: Node,
}

impl LocatedPolicy {
    /// Reads a policy: one YAML document. `file` is for messages.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its line.
    pub fn parse(file: &str, text: &[u8]) -> Result<Self, Diagnostics> {
        let mut documents = documents_of(file, text)?;
        let node = match (documents.pop(), documents.is_empty()) {
            (Some(node), true) => node,
            (None, _) => return Err(nothing_in(file, POLICY_KIND).into()),
            (Some(second), false) => {
                let message = "there is more than one document in it";
                return Err(Diagnostic::whole(file, second.mark, message, "keep one of them").into());
            }
        };
        let place = |(error, mark): (SpecError, Option<Mark>)| Diagnostic {
            file: file.to_owned(),
            mark,
            path: error.path,
            message: error.message,
            remedy: error.remedy,
        };
        let policy: Policy = collect::document(&node, POLICY_KIND)
            .map_err(|wrong| Diagnostics(wrong.into_iter().map(place).collect()))?;
        let located = Self {
            policy,
            file: file.to_owned(),
            node,
        };
        match located.check() {
            Some(error) => {
                let mark = located.node.locate(&error.path);
                Err(Diagnostics(vec![place((error, mark))]))
            }
            None => Ok(located),
        }
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    /// Where a rule is written: `policy.yaml:7:13`.
    pub fn place(&self, rule: &SpecPath) -> String {
        match self.node.locate(rule) {
            Some(mark) => format!("{}:{mark}", self.file),
            None => self.file.clone(),
        }
    }

    /// What serde cannot know to be wrong.
    fn check(&self) -> Option<SpecError> {
        let rule = SpecPath::of;
        for (index, cgroup) in self
            .policy
            .deny
            .cgroups
            .iter()
            .enumerate()
            .map(|(index, cgroup)| (("deny", index), cgroup))
            .chain(
                self.policy
                    .allow
                    .cgroups
                    .iter()
                    .enumerate()
                    .map(|(index, cgroup)| (("allow", index), cgroup)),
            )
        {
            if !cgroup.starts_with('/') {
                let path = rule(index.0).field("cgroups").index(index.1);
                let message = format!("`{cgroup}` is no path below the cgroup2 mount");
                return Some(SpecError::new(path, message, format!("write `/{cgroup}`")));
            }
        }
        if let Some(error) = validate_health(&self.policy.health, &rule("health"))
            .into_iter()
            .next()
        {
            return Some(error);
        }
        match &self.policy.approval {
            Some(approval) if approval.expires == Duration::ZERO => Some(SpecError::new(
                rule("approval.expires"),
                "an approval that expires at once approves nothing",
                "write for example `1h`",
            )),
            _ => None,
        }
    }
}
