use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement};

use super::Paint;

/// A table without lines: one header, one row each, columns that line up, nothing that `awk` would trip over.
/// On a terminal long cells wrap; elsewhere a row is one line.
pub(crate) struct Table {
    table: comfy_table::Table,
    right: &'static [&'static str],
    header: &'static [&'static str],
}

/// A cell and the colour that it has on a terminal.
pub(crate) struct Field {
    text: String,
    color: Option<Color>,
}

impl Table {
    /// `right` names the columns that are numbers.
    pub(crate) fn new(
        header: &'static [&'static str],
        right: &'static [&'static str],
        terminal: bool,
    ) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(NOTHING);
        if Paint::stdout().is_on() {
            table.enforce_styling();
        }
        if terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            table.force_no_tty();
        }
        let cells = header
            .iter()
            .map(|title| Cell::new(title).add_attribute(Attribute::Bold));
        table.set_header(cells);
        Self { table, right, header }
    }

    pub(crate) fn row(&mut self, fields: Vec<Field>) {
        let cells = fields.into_iter().map(|field| {
            let text = if field.text.is_empty() {
                "-".to_owned()
            } else {
                field.text
            };
            match field.color {
                Some(color) => Cell::new(text).fg(color),
                None => Cell::new(text),
            }
        });
        self.table.add_row(cells);
    }

    /// The text, without blanks at the ends of lines.
    pub(crate) fn render(mut self) -> String {
        for (column, title) in self.table.column_iter_mut().zip(self.header) {
            column.set_padding((0, 3));
            if self.right.contains(title) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let lines = self.table.lines().map(|line| format!("{}\n", line.trim_end()));
        lines.collect()
    }
}

impl Field {
    pub(crate) fn colored(text: impl Into<String>, color: Color) -> Self {
        Self {
            text: text.into(),
            color: Some(color),
        }
    }
}

impl<T: Into<String>> From<T> for Field {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            color: None,
        }
    }
}
