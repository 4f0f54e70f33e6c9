//! Reading a log from its beginning, file after file.

use std::fmt;

use super::{Flaw, GENESIS, Head, Link, chain};

/// Something that is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub file: String,
    /// From 1.
    pub line: u64,
    pub what: String,
}

impl fmt::Display for Finding {
    /// `audit.jsonl:7: was edited …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// What a log turned out to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Lines that were read.
    pub records: u64,
    /// Number of the first record.
    pub first: Option<u64>,
    /// The last record.
    pub head: Option<Head>,
    pub findings: Vec<Finding>,
}

/// Takes the lines of a log one after another.
#[derive(Debug)]
pub struct Verifier {
    /// Number and hash that the next line has to follow; none: it may begin anywhere.
    expected: Option<(u64, String)>,
    /// What is known of the newest record from elsewhere.
    newest: Option<Head>,
    /// The newest record was met, hash and all.
    met: bool,
    verdict: Verdict,
    place: (String, u64),
}

impl Verifier {
    /// Of a whole log: it begins with record 1.
    pub fn whole() -> Self {
        Self::expecting(Some((1, GENESIS.to_owned())))
    }

    /// Of a part of a log, of which nothing before it is at hand.
    pub fn part() -> Self {
        Self::expecting(None)
    }

    fn expecting(expected: Option<(u64, String)>) -> Self {
        Self {
            expected,
            newest: None,
            met: false,
            verdict: Verdict::default(),
            place: (String::new(), 0),
        }
    }

    /// Expects this record: a log may go beyond it, for a daemon can die before it has noted what it wrote, but never
    /// fall short of it.
    #[must_use]
    pub fn up_to(mut self, newest: Option<Head>) -> Self {
        self.newest = newest;
        self
    }

    /// The whole text of the next file.
    pub fn file(&mut self, name: &str, text: &[u8]) {
        self.place = (name.to_owned(), 0);
        let mut rest = text;
        while !rest.is_empty() {
            self.place.1 += 1;
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                self.verdict.records += 1;
                self.find("has no end: the daemon died while it wrote it, or it was cut short");
                break;
            };
            self.line(&rest[..end]);
            rest = &rest[end + 1..];
        }
    }

    fn line(&mut self, line: &[u8]) {
        self.verdict.records += 1;
        match chain::open(line) {
            Ok(link) => self.follow(link),
            Err(flaw) => {
                self.find(flaw.to_string());
                // The next line says which hash this one had to have.
                if flaw == Flaw::Edited {
                    self.expected = self
                        .expected
                        .take()
                        .map(|(seq, _)| (seq.saturating_add(1), String::new()));
                }
            }
        }
    }

    fn follow(&mut self, link: Link) {
        if let Some((seq, hash)) = &self.expected {
            let (seq, follows) = (*seq, hash.is_empty() || *hash == link.previous);
            if link.seq > seq {
                let missing = if link.seq - seq == 1 {
                    format!("record {seq} is")
                } else {
                    format!("records {seq} to {} are", link.seq - 1)
                };
                self.find(format!("is record {}: {missing} missing before it", link.seq));
            } else if link.seq < seq {
                self.find(format!(
                    "is record {} where record {seq} has to be: repeated, or out of order",
                    link.seq
                ));
            } else if !follows {
                self.find(format!(
                    "does not follow the record before it: record {} was replaced",
                    seq.saturating_sub(1)
                ));
            }
        }
        self.verdict.first.get_or_insert(link.seq);
        self.met |= self
            .newest
            .as_ref()
            .is_some_and(|newest| newest.seq == link.seq && newest.hash == link.hash);
        // Whoever can write to the file can seal any number: one behind the last is a finding, not an overflow.
        self.expected = Some((link.seq.saturating_add(1), link.hash.clone()));
        self.verdict.head = Some(Head {
            seq: link.seq,
            hash: link.hash,
        });
    }

    fn find(&mut self, what: impl Into<String>) {
        let (file, line) = self.place.clone();
        let what = what.into();
        self.verdict.findings.push(Finding { file, line, what });
    }

    /// The end of the log.
    #[must_use]
    pub fn end(mut self) -> Verdict {
        if let Some(newest) = self.newest.take().filter(|_| !self.met) {
            let last = self.verdict.head.as_ref().map_or(0, |last| last.seq);
            self.place.1 = self.place.1.max(1);
            if last < newest.seq {
                let missing = last + 1;
                self.find(format!(
                    "the end is missing: records {missing} to {} were cut off after this line",
                    newest.seq
                ));
            } else if newest.seq > 0 {
                self.find(format!(
                    "record {} is not the one that the head file knows: the log was written anew",
                    newest.seq
                ));
            }
        }
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Entry, Kind, Record, seal};
    use super::*;

    fn log(count: u64) -> (Vec<String>, Head) {
        let mut previous = GENESIS.to_owned();
        let mut lines = Vec::new();
        for seq in 1..=count {
            let record = Record {
                seq,
                time: jiff::Timestamp::UNIX_EPOCH,
                previous: previous.clone(),
                entry: Entry {
                    kind: Kind::FaultActive,
                    message: format!("record number {seq}"),
                    ..Entry::default()
                },
            };
            let (line, hash) = seal(&record).unwrap();
            lines.push(line);
            previous = hash;
        }
        (
            lines,
            Head {
                seq: count,
                hash: previous,
            },
        )
    }

    fn check(lines: &[String], head: &Head) -> Vec<(u64, String)> {
        let mut verifier = Verifier::whole().up_to(Some(head.clone()));
        verifier.file("audit.jsonl", lines.concat().as_bytes());
        let found = verifier.end().findings;
        found.into_iter().map(|found| (found.line, found.what)).collect()
    }

    #[test]
    fn an_untouched_log_is_whole() {
        let (lines, head) = log(9);
        assert_eq!(check(&lines, &head), []);
        // A record that the head file does not know yet.
        let (longer, _) = log(10);
        assert_eq!(check(&longer, &head), []);
    }

    #[test]
    fn every_single_byte_counts() {
        let (lines, head) = log(3);
        let text = lines.concat().into_bytes();
        for place in 0..text.len() {
            let mut changed = text.clone();
            changed[place] ^= 1;
            let mut verifier = Verifier::whole().up_to(Some(head.clone()));
            verifier.file("audit.jsonl", &changed);
            assert_ne!(verifier.end().findings, [], "byte {place}");
        }
    }

    #[test]
    fn cuts_repeats_and_changes_of_order_are_found_at_their_line() {
        let (lines, head) = log(9);
        for cut in 0..8 {
            let mut changed = lines.clone();
            changed.remove(cut);
            assert_eq!(check(&changed, &head)[0].0, cut as u64 + 1, "without {cut}");
        }
        assert!(check(&lines[..8], &head)[0].1.contains("9 to 9 were cut off"));
        assert_ne!(check(&[], &head), [], "nothing left");
        let mut changed = lines.clone();
        changed.swap(3, 4);
        assert_eq!(check(&changed, &head)[0].0, 4);
        let mut changed = lines.clone();
        changed.insert(5, lines[2].clone());
        assert_eq!(check(&changed, &head)[0].0, 6);
    }

    #[test]
    fn a_line_that_was_sealed_anew_gives_itself_away() {
        let (mut lines, head) = log(9);
        let mut record: Record = serde_json::from_str(&lines[4]).unwrap();
        record.entry.message = "nothing happened".to_owned();
        lines[4] = seal(&record).unwrap().0;
        let found = check(&lines, &head);
        assert_eq!(found[0].0, 6);
        assert!(found[0].1.contains("record 5 was replaced"), "{found:?}");
        // The last one: only the head file knows.
        let (mut lines, head) = log(9);
        let mut record: Record = serde_json::from_str(&lines[8]).unwrap();
        record.entry.message = "nothing happened".to_owned();
        lines[8] = seal(&record).unwrap().0;
        assert!(check(&lines, &head)[0].1.contains("written anew"));
    }
}
