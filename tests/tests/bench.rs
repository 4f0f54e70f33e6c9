//! What a packet pays, in nanoseconds over an empty program.
#![forbid(unsafe_code)]

fn main() {}
