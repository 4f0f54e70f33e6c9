//! daemon

pub mod target;
pub mod sys;
pub mod safety;
pub mod plan;
pub mod datapath;
