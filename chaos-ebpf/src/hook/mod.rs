//! One module a hook.

pub mod back;
pub mod exit;
mod glance;
pub mod parse;
pub mod sock;
pub mod tc;
pub mod treat;
pub mod xdp;
