//! What the outside may see: events, metrics, logs, and what is kept of them. Nothing here changes anything.
#![forbid(unsafe_code)]

pub mod audit;
pub mod events;
pub mod history;
#[cfg(test)]
mod hostile;
pub mod log;
pub mod metrics;

pub use audit::Audit;
pub use events::EventBus;
pub use history::History;
