//! The audit log: JSON lines, each sealed with the hash of its own text, which holds the hash of the line before.
//! Pure text: who writes it durably is the daemon, who reads it is `chaosctl audit verify`.

mod chain;
mod record;
mod verify;

pub use chain::{Flaw, GENESIS, Link, hash_of, open, seal};
pub use record::{AuditedFault, Entry, Head, Kind, Record, Who};
pub use verify::{Finding, Verdict, Verifier};

/// Name of the file that is written to, in its directory; older ones carry the number of their first record.
pub const FILE: &str = "audit.jsonl";
/// Directory of the audit files, in the state directory.
pub const DIRECTORY: &str = "audit";
/// Name of the file, beside the directory, that has the newest record's number and hash.
pub const HEAD_FILE: &str = "audit.head";

/// Name of a file that is full: its first record has this number. Names sort as the records do.
pub fn rotated(first: u64) -> String {
    format!("audit-{first:012}.jsonl")
}
