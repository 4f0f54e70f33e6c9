//! Packets against the real kernel programs, one by one, over BPF_PROG_TEST_RUN.
//!
//! A [`Lab`] is a namespace with a cable, and the daemon's own data path opened on it: faults go through the real
//! parser, target, plan and maps. [`Packet`] builds frames, and the frames that must come back, by an independent
//! library; [`fixtures`] is the table of every fault × IPv4/IPv6 × tcp/udp/icmp × direction, which the tests check
//! for what happens and the bench for what it costs; [`cost`] measures.

mod answer;
mod build;
pub mod cost;
mod expect;
mod inside;
mod lab;
mod table;

pub use build::{
    Extension, FAR_MAC, FAR_V4, FAR_V6, Family, NEAR_MAC, NEAR_V4, NEAR_V6, Packet, Transport, flag,
};
pub use expect::{Expect, flipped_bit, is_lost};
pub use inside::Inside;
pub use lab::{At, Injection, Lab, Settings};
pub use table::{Fixture, fixtures};
