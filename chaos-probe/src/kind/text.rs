use chaos_spec::Body;
use regex::bytes::{Regex, RegexBuilder};

use crate::Fail;
use crate::prober::ProbeError;

/// What a text has to have in it.
pub(super) struct Text {
    contains: Option<String>,
    matches: Option<Regex>,
}

impl Text {
    pub(super) fn new(body: &Body) -> Result<Self, ProbeError> {
        let compile = |pattern: &String| {
            RegexBuilder::new(pattern)
                .size_limit(1 << 20)
                .build()
                .map_err(|error| ProbeError::Pattern {
                    pattern: pattern.clone(),
                    why: error.to_string(),
                })
        };
        Ok(Self {
            contains: body.contains.clone(),
            matches: body.matches.as_ref().map(compile).transpose()?,
        })
    }

    pub(super) fn check(&self, text: &[u8]) -> Result<(), Fail> {
        if let Some(wanted) = &self.contains {
            let wanted_bytes = wanted.as_bytes();
            let is_there =
                wanted_bytes.is_empty() || text.windows(wanted_bytes.len()).any(|part| part == wanted_bytes);
            if !is_there {
                return Err(Fail::Lacks(wanted.clone()));
            }
        }
        match &self.matches {
            Some(pattern) if !pattern.is_match(text) => Err(Fail::Lacks(pattern.as_str().to_owned())),
            _ => Ok(()),
        }
    }
}
