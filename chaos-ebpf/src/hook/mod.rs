//! One module a hook.

pub mod sock;
pub mod tc;
pub mod xdp;
