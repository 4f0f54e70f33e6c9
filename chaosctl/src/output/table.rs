use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement};

use super::Paint;

/// Blanks between two columns.
const GAP: u16 = 3;
/// A column of prose that is narrower than this cannot be read.
const NARROWEST: u16 = 16;

/// A column: its title, and how it behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    Word(&'static str),
    Number(&'static str),
    /// Wraps when the terminal is too narrow.
    Prose(&'static str),
}

/// A table without lines: one header, one row each, columns that line up, nothing that `awk` would trip over.
pub(crate) struct Table {
    table: comfy_table::Table,
    columns: Vec<Column>,
}

/// A cell and the colour that it has on a terminal.
pub(crate) struct Field {
    text: String,
    color: Option<Color>,
}

impl Table {
    pub(crate) fn new(columns: &[Column]) -> Self {
        let columns = columns.to_vec();
        let mut table = comfy_table::Table::new();
        table.load_style(NOTHING);
        let cells = columns
            .iter()
            .map(|column| Cell::new(column.title()).add_attribute(Attribute::Bold));
        table.set_header(cells);
        Self { table, columns }
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

    /// The text, without blanks at the ends of lines. On a terminal prose wraps; elsewhere a row is one line.
    pub(crate) fn render(self, terminal: bool) -> String {
        let width = if terminal { self.table.width() } else { None };
        self.render_within(width, Paint::stdout().is_on())
    }

    fn render_within(mut self, width: Option<u16>, styled: bool) -> String {
        // Width and colours are decided here, not by the library's own look at stdout.
        self.table.force_no_tty();
        if styled {
            self.table.enforce_styling();
        }
        let narrow = width.filter(|width| self.wraps_within(*width));
        if let Some(width) = narrow {
            self.table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width);
        }
        for (cells, column) in self.table.column_iter_mut().zip(&self.columns) {
            cells.set_padding((0, GAP));
            if matches!(column, Column::Number(_)) {
                cells.set_cell_alignment(CellAlignment::Right);
            }
            if narrow.is_some() && !column.is_prose() {
                cells.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        self.table
            .lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect()
    }

    /// Whether the table is too wide, and wrapping its prose makes it fit.
    fn wraps_within(&self, width: u16) -> bool {
        let natural = self.table.column_max_content_widths();
        let total: u32 = natural.iter().map(|column| u32::from(column + GAP)).sum();
        let least: u32 = natural
            .iter()
            .zip(&self.columns)
            .map(|(natural, column)| {
                if column.is_prose() {
                    NARROWEST.min(*natural)
                } else {
                    *natural
                }
            })
            .map(|column| u32::from(column + GAP))
            .sum();
        let width = u32::from(width);
        total > width && least <= width
    }
}

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::Word(title) | Self::Number(title) | Self::Prose(title) => title,
        }
    }

    const fn is_prose(self) -> bool {
        matches!(self, Self::Prose(_))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(width: Option<u16>, styled: bool) -> String {
        let mut table = Table::new(&[
            Column::Word("NAME"),
            Column::Number("COUNT"),
            Column::Prose("WHAT"),
        ]);
        let what = "drop 30% of what the target sends to the database";
        table.row(vec!["lossy-orders".into(), "7".into(), what.into()]);
        table.render_within(width, styled)
    }

    #[test]
    fn a_wide_place_has_one_line_a_row() {
        for width in [None, Some(200)] {
            let text = rendered(width, false);
            assert_eq!(text.lines().count(), 2, "{text}");
            assert!(
                text.starts_with("NAME           COUNT   WHAT\nlossy-orders       7   drop 30%"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_narrow_terminal_wraps_prose_and_nothing_else() {
        let text = rendered(Some(50), false);
        assert!(text.lines().all(|line| line.chars().count() <= 50), "{text}");
        assert!(
            text.lines().count() > 2 && text.contains("lossy-orders"),
            "{text}"
        );
    }

    #[test]
    fn a_hopeless_terminal_is_left_to_wrap_by_itself() {
        assert_eq!(rendered(Some(10), false).lines().count(), 2);
    }

    #[test]
    fn no_style_means_no_escape_codes() {
        assert!(!rendered(Some(50), false).contains('\x1b'));
        assert!(rendered(Some(50), true).contains('\x1b'));
    }
}
