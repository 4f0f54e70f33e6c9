use clap::ValueEnum;
use serde::Serialize;

use crate::failure::Failure;

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For people with a wide terminal.
    Wide,
    Json,
    Yaml,
    /// `fault/NAME`, one a line.
    Name,
}

/// `value` as JSON or YAML; `None` when `format` is for people.
pub(crate) fn rendered(format: Format, value: &impl Serialize) -> Result<Option<String>, Failure> {
    match format {
        Format::Json => serde_json::to_string_pretty(value)
            .map(Some)
            .map_err(Failure::Render),
        Format::Yaml => serde_saphyr::to_string(value)
            .map(Some)
            .map_err(|error| Failure::RenderYaml(error.to_string())),
        Format::Table | Format::Wide | Format::Name => Ok(None),
    }
}
