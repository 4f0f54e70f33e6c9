//! The kernel/user ABI of chaos-daemon, and every decision its kernel programs take.
//!
//! The kernel crate parses, matches and decides with the functions of this crate, so the host tests
//! and benchmarks here run the very code that the kernel runs. Nothing here touches a map or a packet
//! by itself: bytes come in through [`frame::Frame`], state through plain integers.
#![no_std]
#![cfg_attr(not(feature = "user"), forbid(unsafe_code))]

#[cfg(test)]
extern crate std;

pub mod abi;
pub mod address;
pub mod application;
pub mod bandwidth;
pub mod clock;
pub mod corrupt;
pub mod csum;
pub mod cut;
pub mod delay;
pub mod flow;
pub mod frame;
pub mod front;
pub mod guard;
pub mod home;
pub mod index;
pub mod line;
pub mod loss;
pub mod matching;
pub mod netem;
pub mod pace;
pub mod reorder;
pub mod reply;
pub mod rng;
pub mod way;
