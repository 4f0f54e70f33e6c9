//! End to end: a real daemon, real clients and servers, in namespaces and cgroups that the tests make.
#![forbid(unsafe_code)]

#[path = "netns/harness.rs"]
mod harness;
