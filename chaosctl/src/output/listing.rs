use serde::Serialize;

use super::{Format, Output, rendered};
use crate::exit::Exit;
use crate::failure::Failure;

/// Things with a name that `get KIND [NAME…]` prints.
pub(crate) struct Listing<T> {
    pub(crate) kind: &'static str,
    pub(crate) items: Vec<T>,
    /// Names that were asked for; 0 = all there are.
    pub(crate) asked: usize,
    pub(crate) name: fn(&T) -> &str,
    /// For people, at a terminal or not.
    pub(crate) table: fn(&[T], bool) -> String,
    /// Said in place of an empty table.
    pub(crate) nothing: &'static str,
}

impl<T: Serialize> Listing<T> {
    /// The one that was asked for is data by itself, and several are what `list` makes of them.
    pub(crate) fn print<L: Serialize>(
        self,
        out: &mut Output,
        format: Format,
        list: fn(Vec<T>) -> L,
    ) -> Result<Exit, Failure> {
        let text = match format {
            Format::Name => self
                .items
                .iter()
                .map(|item| format!("{}/{}\n", self.kind, (self.name)(item)))
                .collect(),
            Format::Table | Format::Wide if self.items.is_empty() => {
                out.progress(self.nothing);
                return Ok(Exit::DONE);
            }
            Format::Table | Format::Wide => (self.table)(&self.items, out.is_terminal()),
            Format::Json | Format::Yaml => match (self.items.as_slice(), self.asked) {
                ([only], 1) => rendered(format, only)?,
                _ => rendered(format, &list(self.items))?,
            }
            .unwrap_or_default(),
        };
        if !text.is_empty() {
            out.data(&text)?;
        }
        Ok(Exit::DONE)
    }
}
