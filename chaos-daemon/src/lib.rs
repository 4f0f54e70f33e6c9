//! daemon

pub mod target;
pub mod sys;
pub mod safety;
pub mod plan;
pub mod datapath;
pub mod api;
pub mod config;
pub mod engine;
pub mod observe;
pub mod signals;
