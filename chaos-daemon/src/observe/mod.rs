//! What the outside may see: events, metrics, logs. Nothing here changes anything.
#![forbid(unsafe_code)]

pub mod events;
pub mod log;
pub mod metrics;

pub use events::EventBus;
