//! One file a verb: its arguments, and what it does.

pub(crate) mod apply;
pub(crate) mod approve;
pub(crate) mod audit;
pub(crate) mod catalog;
pub(crate) mod completions;
pub(crate) mod delete;
pub(crate) mod doctor;
mod ending;
mod experiments;
pub(crate) mod explain;
pub(crate) mod get;
pub(crate) mod halt;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod inject;
pub(crate) mod man;
pub(crate) mod pki;
pub(crate) mod plan;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod status;
pub(crate) mod stop;
mod submit;
