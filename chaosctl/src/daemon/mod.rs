//! The daemon, as seen from here: a unix socket that speaks HTTP/1.1 and JSON.

mod api;
mod client;
mod refusal;

pub(crate) use api::Daemon;
pub(crate) use client::{Client, ClientError};
pub(crate) use refusal::Refusal;
