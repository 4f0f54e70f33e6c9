//! The privileged node daemon. A fault walks one way through its rooms:
//!
//! [`api`] (HTTP on a unix socket) → [`safety`] (lease, halt, guard, journal, lock) → [`target`] (whose packets pass
//! where) → [`plan`] (spec and target become rules) → [`datapath`] (rules become maps and attachments).
//!
//! [`engine`] leads it through and looks after it until it ends; [`experiments`] asks it for faults, and [`schedules`] begins
//! experiments; [`observe`] only listens; `sys` holds the unsafe code.

pub mod api;
pub mod config;
pub mod datapath;
pub mod engine;
pub mod experiments;
pub mod observe;
pub mod plan;
pub mod safety;
pub mod schedules;
pub mod signals;
pub mod sys;
pub mod target;
