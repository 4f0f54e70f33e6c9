//! A payload in plain memory: the same steps for tests and whoever wants to know what a rule would name.

use core::cell::Cell;

use super::{GO, Head, Loops, PLACES, Place};
use crate::abi::HEAD;

const ROOM: usize = 2 * HEAD as usize + 64;

/// The beginning of a payload with whatever lies behind it.
#[derive(Debug)]
pub struct Slice {
    bytes: [u8; ROOM],
    length: u32,
    kept: [Cell<u32>; PLACES],
}

impl Slice {
    /// The first [`HEAD`] bytes of a payload; behind its end, `noise` is repeated.
    pub fn new(payload: &[u8], noise: &[u8]) -> Self {
        let mut bytes = [0; ROOM];
        let length = payload.len().min(HEAD as usize);
        let behind = noise.iter().cycle();
        let all = payload[..length].iter().chain(behind);
        for (place, byte) in bytes.iter_mut().zip(all) {
            *place = *byte;
        }
        Self {
            bytes,
            length: length as u32,
            kept: Default::default(),
        }
    }

    /// How many bytes of the payload are here.
    pub fn length(&self) -> u32 {
        self.length
    }
}

impl Head for &Slice {
    fn byte(self, at: u32) -> u8 {
        self.bytes[(at & (HEAD - 1)) as usize]
    }

    fn word(self, at: u32) -> u64 {
        (0..8).fold(0, |word, i| {
            word | u64::from(self.bytes[((at & (HEAD - 1)) + i) as usize]) << (8 * i)
        })
    }

    fn keep(self, place: Place, number: u32) {
        self.kept[place as usize].set(number);
    }

    fn kept(self, place: Place) -> u32 {
        self.kept[place as usize].get()
    }
}

/// Loops as everybody writes them.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Loops for Plain {
    fn each<T>(rounds: u32, body: extern "C" fn(u32, &mut T) -> i64, state: &mut T) {
        for i in 0..rounds {
            if body(i, state) != GO {
                break;
            }
        }
    }
}
