//! End to end: a real daemon, real clients and servers, in namespaces and cgroups that the tests make.
#![forbid(unsafe_code)]

#[path = "netns/bed.rs"]
mod bed;
#[path = "netns/corrupt.rs"]
mod corrupt;
#[path = "netns/drop.rs"]
mod drop;
#[path = "netns/duplicate.rs"]
mod duplicate;
#[path = "netns/harness.rs"]
mod harness;
#[path = "netns/partition.rs"]
mod partition;
#[path = "netns/reject.rs"]
mod reject;
#[path = "netns/filters.rs"]
mod filters;
#[path = "netns/hostname.rs"]
mod hostname;
#[path = "netns/targets.rs"]
mod targets;
