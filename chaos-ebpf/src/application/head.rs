//! The beginning of a payload, copied to where it can be looked at in any order.

use aya_ebpf::helpers::{bpf_csum_diff, bpf_skb_load_bytes, bpf_skb_store_bytes};
use chaos_ebpf_common::{
    abi::HEAD,
    application::{Head, Loops, PLACES, Place},
};

use crate::{each::each, maps::HEADS, skb::Skb, skb::opaque};

/// Room for a message and what an answer adds to it.
const ROOM: usize = 2 * HEAD as usize + 64;
const _: () = assert!(ROOM >= 3 * SUMMED as usize);
/// Offsets below [`HEAD`].
const OFFSET: usize = HEAD as usize - 1;
/// Bytes that kernels before 6.13 sum at once.
const SUMMED: u32 = 512;

/// See [`At`].
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Buffer {
    room: [u8; ROOM],
    kept: [u32; PLACES],
}

/// The room of this CPU. Offsets are taken modulo [`HEAD`], so that whatever a packet says stays within.
#[derive(Clone, Copy)]
pub struct At(*mut u8);

impl At {
    /// Finds it.
    #[inline(always)]
    pub fn hand() -> Option<Self> {
        Some(Self(HEADS.get_ptr_mut(0)?.cast()))
    }

    /// Copies `length` bytes at `from` of a packet to `to`; at most [`HEAD`] bytes.
    #[inline(always)]
    pub fn fill(self, skb: Skb, from: u32, to: u32, length: u32) -> bool {
        let Some(length) = within(length, HEAD as usize) else {
            return false;
        };
        // SAFETY: the helper writes as many bytes into a map value that has them.
        unsafe { bpf_skb_load_bytes(skb.raw().cast(), from, self.byte_at(to).cast(), length) == 0 }
    }

    /// Copies its first `length` bytes to `to` of a packet.
    #[inline(always)]
    pub fn store(self, skb: Skb, to: u32, length: u32) -> bool {
        let Some(length) = within(length, ROOM) else {
            return false;
        };
        // SAFETY: the helper reads as many bytes of a map value that has them.
        unsafe { bpf_skb_store_bytes(skb.raw(), to, self.0.cast(), length, 0) == 0 }
    }

    /// Writes a byte.
    #[inline(always)]
    pub fn set(self, at: u32, byte: u8) {
        // SAFETY: inside of a map value.
        unsafe { core::ptr::write_volatile(self.byte_at(at), byte) }
    }

    /// Writes eight bytes, the lowest first.
    #[inline(always)]
    pub fn set_word(self, at: u32, word: u64) {
        let to = self.byte_at(at);
        // SAFETY: inside of a map value; one instruction, where LLVM would write one byte after the other.
        unsafe { core::arch::asm!("*(u64 *)({p} + 0) = {v}", p = in(reg) to, v = in(reg) word) };
    }

    /// The Internet sum of its first `length` bytes, behind which four more are set to 0; not folded.
    #[inline(always)]
    pub fn sum(self, length: u32) -> u32 {
        let mut i = 0;
        while i < 4 {
            self.set_behind(length, i);
            i += 1;
        }
        let rounded = (length + 3) & !3;
        let sum = self.part::<0>(rounded, 0);
        let sum = self.part::<SUMMED>(rounded, sum);
        self.part::<{ 2 * SUMMED }>(rounded, sum)
    }

    /// Adds what lies at `FROM`, up to the end or as much as the helper takes.
    #[inline(always)]
    fn part<const FROM: u32>(self, end: u32, sum: u32) -> u32 {
        let left = opaque(end.saturating_sub(FROM) as usize);
        let length = if left > SUMMED as usize {
            SUMMED as usize
        } else {
            left
        };
        // SAFETY: the helper reads as many bytes of a map value that has them.
        unsafe {
            let words = self.0.add(FROM as usize).cast();
            bpf_csum_diff(core::ptr::null_mut(), 0, words, length as u32, sum) as u32
        }
    }

    #[inline(always)]
    fn set_behind(self, length: u32, i: u32) {
        let at = opaque((length + i) as usize);
        if at < ROOM {
            // SAFETY: inside of a map value.
            unsafe { core::ptr::write_volatile(self.0.add(at), 0) }
        }
    }

    #[inline(always)]
    fn byte_at(self, at: u32) -> *mut u8 {
        // Where LLVM knows that a number is small enough it leaves the mask out, and the verifier does not know.
        let at = opaque(at as usize) & OFFSET;
        // SAFETY: inside of a map value.
        unsafe { self.0.add(at) }
    }
}

/// A length of at least one, for helpers. Kernels before 6.8 do not learn from a comparison with 0 that a number is at
/// least 1, but from adding one to a number that is at least 0.
#[inline(always)]
pub fn within(length: u32, most: usize) -> Option<u32> {
    let less = opaque((length as usize).wrapping_sub(1));
    if less >= most { None } else { Some(less as u32 + 1) }
}

impl Head for At {
    #[inline(always)]
    fn byte(self, at: u32) -> u8 {
        // SAFETY: inside of a map value.
        unsafe { core::ptr::read_volatile(self.byte_at(at)) }
    }

    #[inline(always)]
    fn word(self, at: u32) -> u64 {
        let from = self.byte_at(at);
        let word;
        // SAFETY: inside of a map value, with room behind it; one instruction, as in `set_word`.
        unsafe { core::arch::asm!("{v} = *(u64 *)({p} + 0)", v = out(reg) word, p = in(reg) from) };
        word
    }

    #[inline(always)]
    fn keep(self, place: Place, number: u32) {
        // SAFETY: inside of a map value, behind the room.
        unsafe { core::ptr::write_volatile(self.0.add(ROOM).cast::<u32>().add(place as usize), number) }
    }

    #[inline(always)]
    fn kept(self, place: Place) -> u32 {
        // SAFETY: as in `keep`.
        unsafe { core::ptr::read_volatile(self.0.add(ROOM).cast::<u32>().add(place as usize)) }
    }
}

/// `bpf_loop`.
pub struct Rounds;

impl Loops for Rounds {
    #[inline(always)]
    fn each<T>(rounds: u32, body: extern "C" fn(u32, &mut T) -> i64, state: &mut T) {
        each(rounds, body, state);
    }
}
