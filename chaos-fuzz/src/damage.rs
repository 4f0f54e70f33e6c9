//! Real documents with a few things done to them.

use std::ops::Range;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::{Bytes, deep, nasty};

/// No document grows beyond this: what is large on purpose has tests of its own.
const MOST: usize = 64 << 10;

/// One thing that is done to a document.
#[derive(Clone, Debug)]
enum Damage {
    Flip(Index, u8),
    Set(Index, u8),
    Cut(Index),
    Remove(Index, usize),
    /// What stands there, so many times more.
    Repeat(Index, usize, usize),
    /// The line, written once more: a key that is there twice.
    RepeatLine(Index),
    RemoveLine(Index),
    Indent(Index, usize),
    Insert(Index, Bytes),
    /// The word or number that stands there, for another: the document stays well-formed.
    Replace(Index, Bytes),
    /// A piece of another document.
    Splice(Index, Index, Index, usize),
    /// What YAML and JSON read alike.
    SwapLines(Index, Index),
}

/// Documents with up to eight things done to them, bytes of no meaning, and single words.
///
/// `documents` are real ones: most of what a parser can do wrong it does with something nearly right.
///
/// # Panics
/// When there are no documents.
pub fn damaged(documents: Vec<Vec<u8>>) -> impl Strategy<Value = Bytes> {
    assert!(!documents.is_empty(), "nothing to damage");
    let documents = Arc::new(documents);
    let count = documents.len();
    let mended = (0..count, vec(damage(), 0..8)).prop_map(move |(which, damage)| {
        let mut text = documents[which].clone();
        for one in &damage {
            one.inflict(&mut text, &documents);
            text.truncate(MOST);
        }
        Bytes(text)
    });
    prop_oneof![
        12 => mended,
        1 => vec(any::<u8>(), 0..300).prop_map(Bytes),
        1 => select(deep(3000)).prop_map(|mut text| {
            text.truncate(MOST);
            Bytes(text)
        }),
        1 => word(),
    ]
}

fn word() -> impl Strategy<Value = Bytes> {
    select(nasty().collect::<Vec<_>>()).prop_map(Bytes)
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    prop_oneof![
        2 => (at(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        1 => (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        1 => at().prop_map(Damage::Cut),
        2 => (at(), 0..40usize).prop_map(|(at, length)| Damage::Remove(at, length)),
        1 => (at(), 1..40usize, 1..200usize).prop_map(|(at, length, times)| Damage::Repeat(at, length, times)),
        2 => at().prop_map(Damage::RepeatLine),
        1 => at().prop_map(Damage::RemoveLine),
        1 => (at(), 1..9usize).prop_map(|(at, by)| Damage::Indent(at, by)),
        2 => (at(), word()).prop_map(|(at, word)| Damage::Insert(at, word)),
        6 => (at(), word()).prop_map(|(at, word)| Damage::Replace(at, word)),
        2 => (at(), at(), at(), 0..200usize)
            .prop_map(|(at, other, from, length)| Damage::Splice(at, other, from, length)),
        1 => (at(), at()).prop_map(|(one, other)| Damage::SwapLines(one, other)),
    ]
}

impl Damage {
    fn inflict(&self, text: &mut Vec<u8>, documents: &[Vec<u8>]) {
        if text.is_empty() {
            text.extend_from_slice(b"a");
        }
        let length = text.len();
        let piece = |at: &Index, most: usize| {
            let start = at.index(length);
            start..(start + most).min(length)
        };
        match self {
            Self::Flip(at, bit) => text[at.index(length)] ^= 1 << bit,
            Self::Set(at, byte) => text[at.index(length)] = *byte,
            Self::Cut(at) => text.truncate(at.index(length)),
            Self::Remove(at, most) => drop(text.drain(piece(at, *most))),
            Self::Repeat(at, most, times) => {
                let piece = piece(at, *most);
                let more = text[piece.clone()].repeat(*times);
                text.splice(piece.end..piece.end, more);
            }
            Self::RepeatLine(at) => {
                let line = line(text, at.index(length));
                let again = text[line.clone()].to_vec();
                text.splice(line.end..line.end, again);
            }
            Self::RemoveLine(at) => drop(text.drain(line(text, at.index(length)))),
            Self::Indent(at, by) => {
                let start = line(text, at.index(length)).start;
                text.splice(start..start, vec![b' '; *by]);
            }
            Self::Insert(at, Bytes(word)) => {
                let at = at.index(length);
                text.splice(at..at, word.iter().copied());
            }
            Self::Replace(at, Bytes(with)) => {
                let word = word_around(text, at.index(length));
                text.splice(word, with.iter().copied());
            }
            Self::Splice(at, other, from, most) => {
                let other = &documents[other.index(documents.len())];
                if !other.is_empty() {
                    let start = from.index(other.len());
                    let piece = other[start..(start + most).min(other.len())].to_vec();
                    let at = at.index(length);
                    text.splice(at..at, piece);
                }
            }
            Self::SwapLines(one, other) => {
                let (one, other) = (line(text, one.index(length)), line(text, other.index(length)));
                if one.end <= other.start {
                    let first = text[one.clone()].to_vec();
                    let second = text[other.clone()].to_vec();
                    text.splice(other, first);
                    text.splice(one, second);
                }
            }
        }
    }
}

/// The line around a place, with its end.
fn line(text: &[u8], at: usize) -> Range<usize> {
    let start = text[..at]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    let end = text[at..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(text.len(), |end| at + end + 1);
    start..end
}

/// The run of letters, digits and what stands inside numbers around a place, or the one byte there.
fn word_around(text: &[u8], at: usize) -> Range<usize> {
    let is_word =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'%' | b'-' | b'/' | b'_');
    if !is_word(&text[at]) {
        return at..at + 1;
    }
    let start = text[..at]
        .iter()
        .rposition(|byte| !is_word(byte))
        .map_or(0, |end| end + 1);
    let end = text[at..]
        .iter()
        .position(|byte| !is_word(byte))
        .map_or(text.len(), |end| at + end);
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_lines_are_found() {
        let text = b"a: 10%\nb: [x]\n";
        assert_eq!(&text[word_around(text, 4)], b"10%");
        assert_eq!(word_around(text, 1), 1..2);
        assert_eq!(&text[line(text, 8)], b"b: [x]\n");
        assert_eq!(&text[line(text, 6)], b"a: 10%\n");
    }

    proptest! {
        #[test]
        fn nothing_grows_beyond_the_most(text in damaged(vec![b"chance: 30%\nduration: 5m\n".to_vec()])) {
            prop_assert!(text.0.len() <= MOST);
        }
    }
}
