//! The daemon, as seen from here: a unix socket, or a port with mTLS, that speaks HTTP/1.1 and JSON.

mod api;
mod client;
mod place;
mod refusal;

pub(crate) use api::Daemon;
pub(crate) use client::{Client, ClientError};
pub(crate) use place::{Credentials, Place, PlaceError};
pub(crate) use refusal::Refusal;
