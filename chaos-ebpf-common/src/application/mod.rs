//! What lies in packets: requests of HTTP/1 and questions of DNS, as far as faults name them.
//!
//! The kernel copies the beginning of a payload next to its scratch space and looks at it there; tests look at a
//! slice. Loops go through [`Loops`], which is `bpf_loop` there, so both walk the same steps.

pub mod answer;
pub mod dns;
pub mod http;
pub mod memory;
pub mod slice;
pub mod text;

/// Another round of a loop.
pub const GO: i64 = 0;
/// No more rounds.
pub const STOP: i64 = 1;

/// The beginning of a payload. Bytes behind the length that goes with it can be anything.
pub trait Head: Copy {
    /// The byte at `at`.
    fn byte(self, at: u32) -> u8;
    /// The eight bytes from `at` on, the first one lowest.
    fn word(self, at: u32) -> u64;
    /// Keeps a number outside of registers and stack, where a verifier that knew it would walk a loop once for each
    /// value that it can have.
    fn keep(self, place: Place, number: u32);
    /// The number kept there.
    fn kept(self, place: Place) -> u32;
}

/// Where numbers are kept between the rounds of a loop.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub enum Place {
    /// Where a loop is in the text.
    At,
    /// Where it is in a pattern.
    Next,
    /// Behind the last star of a pattern; 0 = none so far.
    Star,
    /// Where the text stood when that star was met.
    Mark,
    /// What a loop has come to.
    Result,
    /// What is not of a loop.
    Other,
}

/// Number of places.
pub const PLACES: usize = 6;

/// The same number, as one of which nothing is known.
#[inline(always)]
fn wash<H: Head>(head: H, number: u32) -> u32 {
    head.keep(Place::Other, number);
    head.kept(Place::Other)
}

/// Something that runs loops.
pub trait Loops {
    /// Runs `body` for 0..`rounds`, until it says [`STOP`]. The state has to live on the stack.
    fn each<T>(rounds: u32, body: extern "C" fn(u32, &mut T) -> i64, state: &mut T);
}

#[cfg(test)]
mod tests;
