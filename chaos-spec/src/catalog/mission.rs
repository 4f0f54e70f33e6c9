use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{DURATION, Setting, TARGET};
use crate::experiment::{kind_of, placed};
use crate::parse::node::{Node, Value};
use crate::parse::{self, collect};
use crate::policy::Window;
use crate::spec::{is_default, not_empty};
use crate::{Diagnostic, Diagnostics, Duration, Metadata, SpecPath};

pub const MISSION_KIND: &str = "Mission";

/// An entry of the catalogue, bound to targets and to hours of the day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mission {
    /// Always `chaos-daemon.dev/v1alpha1`.
    pub api_version: String,
    /// Always `Mission`.
    pub kind: String,
    /// Its name is the name of the experiment.
    pub metadata: Metadata,
    pub spec: MissionSpec,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MissionSpec {
    /// Name of a CatalogEntry.
    pub entry: String,
    /// Whose traffic: fields of a target, or `cgroup=/system.slice/orders.service`.
    #[serde(deserialize_with = "not_empty")]
    pub targets: Vec<Json>,
    /// What other parameters are.
    #[serde(default, skip_serializing_if = "is_default")]
    pub set: BTreeMap<String, Json>,
    /// How long; left out: as the entry says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// When it may begin; left out: at any time that the policy allows.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "not_empty"
    )]
    pub windows: Vec<Window>,
}

/// A mission that knows where it was written.
#[derive(Clone, Debug)]
pub struct LocatedMission {
    pub mission: Mission,
    file: String,
    node: Node,
}

/// The mission of a file; `None` when its first document is of another kind.
///
/// # Errors
/// Everything that is wrong with its form; or there is another document behind it.
pub fn parse_mission(file: &str, text: &[u8]) -> Result<Option<LocatedMission>, Diagnostics> {
    let mut documents = parse::documents_of(file, text)?;
    if documents.first().and_then(kind_of) != Some(MISSION_KIND) {
        return Ok(None);
    }
    if let Some(second) = documents.get(1) {
        let message = "there is another document behind the Mission";
        return Err(Diagnostic::whole(file, second.mark, message, "keep it in a file of its own").into());
    }
    mission_of(file, documents.remove(0)).map(Some)
}

/// The mission of a document of that kind.
pub(crate) fn mission_of(file: &str, node: Node) -> Result<LocatedMission, Diagnostics> {
    match collect::document::<Mission>(&node, MISSION_KIND) {
        Ok(mission) => Ok(LocatedMission {
            mission,
            file: file.to_owned(),
            node,
        }),
        Err(errors) => Err(Diagnostics(placed(file, &SpecPath::root(), errors).collect())),
    }
}

impl LocatedMission {
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What it sets, each with its place.
    pub fn settings(&self) -> Vec<Setting> {
        let setting = |name: &str, node: &Node| Setting {
            name: name.to_owned(),
            value: node.clone(),
            source: self.file.clone(),
        };
        let part = |field: &str| self.node.get("spec").and_then(|spec| spec.get(field));
        let mut settings = Vec::new();
        if let Some(Value::List(targets)) = part("targets").map(|node| &node.value) {
            settings.extend(targets.iter().map(|item| setting(TARGET, &item.node)));
        }
        settings.extend(part(DURATION).map(|node| setting(DURATION, node)));
        if let Some(Value::Map(entries)) = part("set").map(|node| &node.value) {
            settings.extend(entries.iter().map(|entry| setting(&entry.key, &entry.node)));
        }
        settings
    }

    /// Why it may not begin now; `None` when it may.
    pub fn closed(&self, now: Timestamp) -> Option<String> {
        let windows = &self.mission.spec.windows;
        if windows.is_empty() || windows.iter().any(|window| window.left(now).is_some()) {
            return None;
        }
        let told: Vec<String> = windows.iter().map(ToString::to_string).collect();
        Some(format!(
            "the mission {} may begin {}, and it is {now} now",
            self.mission.metadata.name,
            told.join(" or ")
        ))
    }
}
