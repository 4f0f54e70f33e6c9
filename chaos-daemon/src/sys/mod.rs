//! The only room with `unsafe`: system calls that no library wraps as we need them.
#![allow(unsafe_code, reason = "this is the room for it")]

pub mod bpf;
pub mod bpffs;
pub mod embedded;
pub mod memory;
pub mod packet;
pub mod processors;
pub mod shared;
pub mod socket;
pub mod sysfs;
pub mod tap;
