//! Against the real kernel: namespaces, cgroups, devices and processes that the test made, never the machine's own.

mod containers;
mod fixture;
mod following;
mod refusals;
mod resolving;
