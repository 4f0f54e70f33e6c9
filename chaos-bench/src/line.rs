//! What a program says that measures, a line each, so that it survives a guest's console and a program's sudden end.

use crate::{Absent, Machine, Row};

#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// Comes first: where this was measured.
    Machine(Machine),
    Row(Row),
    Absent(Absent),
}

impl Line {
    /// The line. It has no end-of-line mark.
    pub fn print(&self) -> String {
        let (word, json) = match self {
            Self::Machine(machine) => ("MACHINE", serde_json::to_string(machine)),
            Self::Row(row) => ("ROW", serde_json::to_string(row)),
            Self::Absent(absent) => ("ABSENT", serde_json::to_string(absent)),
        };
        format!("{word} {}", json.expect("numbers and words"))
    }

    /// Out of a line of output; none when it is somebody else's. What stands before the word is a console's.
    pub fn parse(line: &str) -> Option<Self> {
        let json = |word| line.split_once(word).map(|(_, json)| json);
        if let Some(json) = json("MACHINE ") {
            serde_json::from_str(json).ok().map(Self::Machine)
        } else if let Some(json) = json("ABSENT ") {
            serde_json::from_str(json).ok().map(Self::Absent)
        } else {
            serde_json::from_str(json("ROW ")?).ok().map(Self::Row)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Better, Target};

    #[test]
    fn what_is_printed_is_read_again_also_behind_a_console_mark() {
        let row = Row::new(
            "1 fault",
            "ns",
            Better::Lower,
            "an empty program",
            &[(31.5, 9.25)],
        )
        .target(Target::OverAtMost(25.0));
        let line = Line::Row(row);
        assert_eq!(Line::parse(&line.print()).as_ref(), Some(&line));
        assert_eq!(Line::parse(&format!("@|{}", line.print())), Some(line));
        assert_eq!(Line::parse("Running 3 tests"), None);
    }
}
