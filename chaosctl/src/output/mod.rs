//! What people and scripts read. stdout is data, stderr is progress.

mod catalog;
mod experiments;
mod faults;
mod format;
mod history;
mod listing;
mod paint;
mod plan;
mod schedules;
mod table;
mod time;
mod writer;

pub(crate) use catalog::{catalog_table, parameter_table};
pub(crate) use experiments::experiment_table;
pub(crate) use faults::{fault_table, outcome};
pub(crate) use format::{Format, rendered};
pub(crate) use history::history_table;
pub(crate) use listing::Listing;
pub(crate) use paint::{ColorWhen, Paint};
pub(crate) use plan::plan_text;
pub(crate) use schedules::schedule_table;
use table::{Column, Field, Table};
use time::span;
pub(crate) use time::{ago, left};
pub(crate) use writer::Output;
