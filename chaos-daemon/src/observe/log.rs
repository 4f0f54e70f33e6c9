//! Logs go to stderr: stdout belongs to the one line that says "ready".

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::LogFormat;

/// Why the log filter cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{filter}` is no log filter ({source}) – write a level such as `info`, or `chaos_daemon=debug,info`"
)]
pub struct LogError {
    filter: String,
    source: tracing_subscriber::filter::ParseError,
}

/// Checks a filter without installing anything.
///
/// # Errors
/// It cannot be read.
pub fn filter(text: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(text).map_err(|source| LogError {
        filter: text.to_owned(),
        source,
    })
}

/// Installs the log. Once in the life of a process; a second call is left without effect.
///
/// # Errors
/// The filter cannot be read.
pub fn start(text: &str, format: LogFormat) -> Result<(), LogError> {
    let builder = fmt().with_env_filter(filter(text)?).with_writer(std::io::stderr);
    // Only a second call can fail; the first log then stays.
    let _ = match format {
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init(),
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(colour).with_target(false).try_init()
        }
    };
    Ok(())
}
