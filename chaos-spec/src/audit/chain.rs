//! Sealing and opening one line.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Record;

/// What the first record of all follows.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Stands between the text that is hashed and its hash.
const SEAL: &str = r#","hash":""#;
const HEX: usize = 64;

/// What a line says of its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub seq: u64,
    pub previous: String,
    pub hash: String,
}

/// Why a line is no link of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("is not a whole record: it was cut short or written over")]
    Broken,
    #[error("was edited: its text does not have the hash it carries")]
    Edited,
}

/// SHA-256 in hex.
pub fn hash_of(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(HEX);
    for byte in Sha256::digest(bytes) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The line of a record, newline included, and its hash.
///
/// # Errors
/// The record cannot be rendered as JSON.
pub fn seal(record: &Record) -> Result<(String, String), serde_json::Error> {
    let mut line = serde_json::to_string(record)?;
    // The seal goes inside the object.
    line.pop();
    let hash = hash_of(line.as_bytes());
    line.push_str(SEAL);
    line.push_str(&hash);
    line.push_str("\"}\n");
    Ok((line, hash))
}

/// Reads a line (without its newline) and checks its own seal.
///
/// # Errors
/// It is no sealed record.
pub fn open(line: &[u8]) -> Result<Link, Flaw> {
    #[derive(Deserialize)]
    struct Written {
        seq: u64,
        previous: String,
        hash: String,
    }
    let written: Written = serde_json::from_slice(line).map_err(|_| Flaw::Broken)?;
    let text = line
        .len()
        .checked_sub(SEAL.len() + HEX + 2)
        .map(|length| &line[..length])
        .ok_or(Flaw::Broken)?;
    if !line[text.len()..].starts_with(SEAL.as_bytes()) || hash_of(text) != written.hash {
        return Err(Flaw::Edited);
    }
    Ok(Link {
        seq: written.seq,
        previous: written.previous,
        hash: written.hash,
    })
}
