//! Text, eight bytes at a time.

use super::{GO, Head, Loops, Place, STOP, wash};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = ONES << 7;

/// Eight times the same byte.
pub const fn every(byte: u8) -> u64 {
    ONES * byte as u64
}

/// The lowest `bytes` bytes of a word, 0 to 8.
#[inline(always)]
pub const fn lowest(bytes: u32) -> u64 {
    if bytes >= 8 {
        u64::MAX
    } else {
        (1 << (8 * bytes)) - 1
    }
}

/// The high bit of the lowest byte that is zero, and of none below it.
#[inline(always)]
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGH
}

/// Which byte is the lowest of those that [`zeros`] marks; 8 when there is none.
#[inline(always)]
const fn place(marks: u64) -> u32 {
    if marks == 0 {
        return 8;
    }
    // The lowest mark alone, as a power of 256: the product's highest byte is then its exponent. BPF cannot count zeros.
    let lowest = (marks & marks.wrapping_neg()) >> 7;
    (lowest.wrapping_mul(0x0001_0203_0405_0607) >> 56) as u32
}

/// Where a word has its first `byte`; 8 when it has none.
#[inline(always)]
pub const fn position(word: u64, byte: u8) -> u32 {
    place(zeros(word ^ every(byte)))
}

/// The high bit of every byte that is zero.
#[inline(always)]
const fn all_zeros(word: u64) -> u64 {
    !(((word & !HIGH) + !HIGH) | word) & HIGH
}

/// How many spaces and tabs a word begins with.
#[inline(always)]
pub const fn blanks(word: u64) -> u32 {
    let blank = all_zeros(word ^ every(b' ')) | all_zeros(word ^ every(b'\t'));
    place(!blank & HIGH)
}

/// A word with its ASCII letters in lower case.
#[inline(always)]
pub const fn lower(word: u64) -> u64 {
    let low = word & !HIGH;
    let from_a = low + every(0x80 - b'A');
    let past_z = low + every(0x7f - b'Z');
    word | (from_a & !past_z & !word & HIGH) >> 2
}

/// Whether the lowest `bytes` bytes of a word, at least one, are letters of A to Z.
#[inline(always)]
pub const fn is_upper(word: u64, bytes: u32) -> bool {
    let word = word & lowest(bytes) | every(b'A') & !lowest(bytes);
    let from_a = (word | HIGH).wrapping_sub(every(b'A'));
    let to_z = (every(b'Z') | HIGH).wrapping_sub(word & !HIGH);
    word & HIGH == 0 && from_a & to_z & HIGH == HIGH
}

struct Seek<H> {
    head: H,
    end: u32,
    needle: u64,
}

/// Words that a search looks at in one round.
const ROUND: u32 = 4;

/// Where the first `needle` is at or after `from`; `end` or more when there is none before `end`.
#[inline(always)]
pub fn seek<L: Loops, H: Head>(head: H, from: u32, end: u32, needle: u8) -> u32 {
    let mut state = Seek {
        head,
        end,
        needle: every(needle),
    };
    head.keep(Place::At, from);
    if from < end {
        L::each((end - from) / (8 * ROUND) + 1, seek_words::<H>, &mut state);
    }
    head.kept(Place::At)
}

extern "C" fn seek_words<H: Head>(_: u32, state: &mut Seek<H>) -> i64 {
    let head = state.head;
    let mut i = 0;
    while i < ROUND {
        let at = head.kept(Place::At);
        if at >= state.end {
            return STOP;
        }
        let marks = zeros(head.word(at) ^ state.needle);
        head.keep(Place::At, at + place(marks));
        if marks != 0 {
            return STOP;
        }
        i += 1;
    }
    GO
}

/// Where a word that one of four bytes ends has its end at or after `from`; `end` or more when there is none before it.
#[inline(always)]
pub fn seek_any<L: Loops, H: Head>(head: H, from: u32, end: u32, needles: [u8; 4]) -> u32 {
    let [a, b, c, d] = needles;
    let mut state = SeekAny {
        head,
        end,
        needles: [every(a), every(b), every(c), every(d)],
    };
    head.keep(Place::At, from);
    if from < end {
        L::each((end - from) / 8 + 1, seek_any_word::<H>, &mut state);
    }
    head.kept(Place::At)
}

struct SeekAny<H> {
    head: H,
    end: u32,
    needles: [u64; 4],
}

extern "C" fn seek_any_word<H: Head>(_: u32, state: &mut SeekAny<H>) -> i64 {
    let at = state.head.kept(Place::At);
    if at >= state.end {
        return STOP;
    }
    let word = state.head.word(at);
    let [a, b, c, d] = state.needles;
    let marks = zeros(word ^ a) | zeros(word ^ b) | zeros(word ^ c) | zeros(word ^ d);
    state.head.keep(Place::At, at + place(marks));
    if marks == 0 { GO } else { STOP }
}

/// Whether the first word at `at` is none of a text that begins with this pattern, of `length` bytes; `fold` as in
/// [`same`]. One look, where [`same`] would begin a loop.
#[inline(always)]
pub fn differs<H: Head>(head: H, at: u32, pattern: u64, length: u32, fold: bool) -> bool {
    let word = head.word(at);
    let word = if fold { lower(word) } else { word };
    (word ^ pattern) & lowest(length) != 0
}

struct Compare<'a, H, const N: usize> {
    head: H,
    at: u32,
    pattern: &'a [u64; N],
    length: u32,
    fold: bool,
}

/// Whether the `length` bytes at `at` are those of the pattern; with `fold`, which wants a pattern in lower case, in
/// whatever case.
#[inline(always)]
pub fn same<L: Loops, H: Head, const N: usize>(
    head: H,
    at: u32,
    pattern: &[u64; N],
    length: u32,
    fold: bool,
) -> bool {
    if differs(head, at, pattern[0], length, fold) {
        return false;
    }
    if length <= 8 {
        return true;
    }
    let mut state = Compare {
        head,
        at,
        pattern,
        length,
        fold,
    };
    head.keep(Place::Result, 1);
    L::each((length - 1) / 8, compare_word::<H, N>, &mut state);
    head.kept(Place::Result) != 0
}

extern "C" fn compare_word<H: Head, const N: usize>(i: u32, state: &mut Compare<'_, H, N>) -> i64 {
    // The first word is the same already.
    let i = i + 1;
    let Some(wanted) = state.pattern.get(i as usize) else {
        return STOP;
    };
    let word = state.head.word(state.at + 8 * i);
    let word = if state.fold { lower(word) } else { word };
    if (word ^ wanted) & lowest(state.length.saturating_sub(8 * i)) != 0 {
        state.head.keep(Place::Result, 0);
        return STOP;
    }
    GO
}

/// Steps that a glob may take; a path that needs more is not looked at further, and not named.
const GLOB_STEPS: u32 = 4096;

struct Glob<'a, H, const N: usize> {
    head: H,
    end: u32,
    pattern: &'a [u64; N],
    length: u32,
}

/// Whether the text from `at` to `end` is what a pattern says, in which `*` stands for any bytes, or none.
#[inline(always)]
pub fn glob<L: Loops, H: Head, const N: usize>(
    head: H,
    at: u32,
    end: u32,
    pattern: &[u64; N],
    length: u32,
) -> bool {
    if ends_otherwise(head, at, end, pattern, length) {
        return false;
    }
    let mut state = Glob {
        head,
        end,
        pattern,
        length,
    };
    head.keep(Place::At, at);
    head.keep(Place::Next, 0);
    head.keep(Place::Star, 0);
    head.keep(Place::Result, 0);
    L::each(GLOB_STEPS, glob_byte::<H, N>, &mut state);
    head.kept(Place::Result) != 0
}

/// Bytes of a pattern's end that are held against the text's before a glob is tried.
const TAIL: u32 = 8;

/// Whether the end of a text is not what stands behind the last star, as far as that is quickly told.
#[inline(always)]
fn ends_otherwise<H: Head, const N: usize>(
    head: H,
    at: u32,
    end: u32,
    pattern: &[u64; N],
    length: u32,
) -> bool {
    let mut i = 1;
    while i <= TAIL {
        if i > length {
            return false;
        }
        let wanted = byte_of(pattern, wash(head, length - i));
        if wanted == b'*' {
            return false;
        }
        if end < at + i || head.byte(end - i) != wanted {
            return true;
        }
        i += 1;
    }
    false
}

#[inline(always)]
fn byte_of<const N: usize>(pattern: &[u64; N], at: u32) -> u8 {
    match pattern.get((at >> 3) as usize) {
        Some(word) => (word >> (8 * (at & 7))) as u8,
        None => 0,
    }
}

extern "C" fn glob_byte<H: Head, const N: usize>(_: u32, state: &mut Glob<'_, H, N>) -> i64 {
    let (head, at, next) = (
        state.head,
        state.head.kept(Place::At),
        state.head.kept(Place::Next),
    );
    let over = next >= state.length;
    let wanted = if over { 0 } else { byte_of(state.pattern, next) };
    if at >= state.end {
        // Only a star may be left, and two never stand side by side.
        let matches = over || next + 1 == state.length && wanted == b'*';
        head.keep(Place::Result, u32::from(matches));
        return STOP;
    }
    if wanted == b'*' {
        head.keep(Place::Next, next + 1);
        head.keep(Place::Star, next + 1);
        head.keep(Place::Mark, at);
    } else if !over && wanted == head.byte(at) {
        head.keep(Place::Next, next + 1);
        head.keep(Place::At, at + 1);
    } else {
        let star = head.kept(Place::Star);
        if star == 0 {
            return STOP;
        }
        // The star takes one byte more.
        let mark = head.kept(Place::Mark) + 1;
        head.keep(Place::Mark, mark);
        head.keep(Place::At, mark);
        head.keep(Place::Next, star);
    }
    GO
}
