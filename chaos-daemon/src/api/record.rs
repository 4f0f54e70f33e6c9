//! What the audit log is told of requests: every refusal, and every change.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use chaos_spec::audit::{Entry, Kind, Who};
use chaos_spec::policy::Role;

use super::problem::Refusal;
use crate::observe::Audit;
use crate::safety::Caller;

/// A client is not kept waiting longer than this for its change to be taken down: it has been made.
const PATIENCE: Duration = Duration::from_millis(500);
/// The most of a refusal that is taken down, in characters.
const MOST: usize = 2000;

/// A request, as the audit log names it.
pub(super) struct Asked {
    pub(super) caller: Option<Caller>,
    pub(super) role: Option<Role>,
    pub(super) method: Method,
    /// With its query.
    pub(super) path: String,
    /// Looking, or planning.
    pub(super) is_harmless: bool,
    /// Nobody waits for a disk to stop a fault.
    pub(super) is_urgent: bool,
}

impl Asked {
    fn entry(&self, kind: Kind) -> Entry {
        Entry {
            kind,
            who: self.caller.as_ref().map(|caller| Who {
                role: self.role.map(|role| role.word().to_owned()),
                ..caller.who()
            }),
            request: Some(format!("{} {}", self.method, self.path)),
            ..Entry::default()
        }
    }

    pub(super) async fn done(&self, audit: &Audit) {
        if self.is_harmless {
            return;
        }
        audit.note(self.entry(Kind::Done));
        if !self.is_urgent {
            audit.settle(PATIENCE).await;
        }
    }

    /// A look for something that is not there is no refusal; being turned away from looking is.
    pub(super) async fn refused(&self, audit: &Audit, status: StatusCode, refusal: &Refusal) {
        let is_turned_away = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if self.is_harmless && !is_turned_away {
            return;
        }
        let mut message = format!("{}: {}", refusal.0.title, refusal.0.detail);
        for error in &refusal.0.errors {
            if message.len() > 4 * MOST {
                break;
            }
            message.push_str(&format!("; {}: {}", error.path, error.message));
        }
        audit.note(Entry {
            rule: Some(refusal.rule().to_owned()),
            message: message.chars().take(MOST).collect(),
            ..self.entry(Kind::Refused)
        });
        if !self.is_harmless {
            audit.settle(PATIENCE).await;
        }
    }
}
