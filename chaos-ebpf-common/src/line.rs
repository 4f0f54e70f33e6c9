//! What the hook tells the line of a packet: a fixed number of bytes before its frame.

use crate::abi::{Hook, LINE_RULES, LineNote, Rule, flags, protocol};

/// First word of a note; a frame without it did not come from a hook.
pub const MAGIC: u32 = 0xc4a0_5e11;
/// Bytes before the frame.
pub const NOTE_LEN: usize = size_of::<LineNote>();

/// Whether a rule is carried out on the line for a packet of this protocol. All of a TCP flow goes the same way, since
/// its small packets would overtake its large ones otherwise.
#[inline(always)]
pub fn takes(rule: &Rule, protocol: u8, wire_packets: u32) -> bool {
    rule.flags & flags::LINE != 0
        || rule.flags & flags::LINE_BULK != 0 && (protocol == protocol::TCP || wire_packets > 1)
}

impl LineNote {
    /// Reads the note that stands before a frame; `None` when there is none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; NOTE_LEN] = bytes.get(..NOTE_LEN)?.try_into().ok()?;
        let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| u64::from(word(at + LOW)) | u64::from(word(at + HIGH)) << 32;
        let note = Self {
            magic: word(0),
            hook: word(4),
            time: long(8),
            mark: word(16),
            count: word(20),
            rules: core::array::from_fn(|i| word(24 + 4 * i)),
        };
        let sound = note.magic == MAGIC
            && note.count as usize <= LINE_RULES
            && (note.hook == Hook::Egress as u32 || note.hook == Hook::Ingress as u32);
        sound.then_some(note)
    }

    /// Slots of the rules that act on the packet, in their order.
    pub fn slots(&self) -> &[u32] {
        &self.rules[..self.count as usize]
    }
}

/// Offsets of the halves of a u64.
const LOW: usize = if cfg!(target_endian = "little") { 0 } else { 4 };
const HIGH: usize = 4 - LOW;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_of_single_datagrams_are_taken_at_the_hook() {
        let rule = |flags| Rule {
            flags,
            ..Rule::default()
        };
        for (flags, protocol, wire, want) in [
            (0, protocol::TCP, 40, false),
            (flags::LINE, protocol::ICMP, 1, true),
            (flags::LINE_BULK, protocol::TCP, 1, true),
            (flags::LINE_BULK, protocol::UDP, 2, true),
            (flags::LINE_BULK, protocol::UDP, 1, false),
        ] {
            assert_eq!(
                takes(&rule(flags), protocol, wire),
                want,
                "{flags} {protocol} {wire}"
            );
        }
    }

    #[test]
    fn a_note_is_read_as_it_lies_in_memory() {
        let mut bytes = [0u8; NOTE_LEN];
        bytes[..4].copy_from_slice(&MAGIC.to_ne_bytes());
        bytes[4..8].copy_from_slice(&1u32.to_ne_bytes());
        bytes[8..16].copy_from_slice(&0x0102_0304_0506_0708u64.to_ne_bytes());
        bytes[16..20].copy_from_slice(&9u32.to_ne_bytes());
        bytes[20..24].copy_from_slice(&2u32.to_ne_bytes());
        bytes[24..28].copy_from_slice(&77u32.to_ne_bytes());
        bytes[28..32].copy_from_slice(&78u32.to_ne_bytes());
        let note = LineNote::read(&bytes).unwrap();
        assert_eq!((note.hook, note.time, note.mark), (1, 0x0102_0304_0506_0708, 9));
        assert_eq!(note.slots(), [77, 78]);
        for (at, wrong) in [(0, 1u32), (4, 2), (20, LINE_RULES as u32 + 1)] {
            let mut bytes = bytes;
            bytes[at..at + 4].copy_from_slice(&wrong.to_ne_bytes());
            assert_eq!(LineNote::read(&bytes), None);
        }
        assert_eq!(LineNote::read(&bytes[1..]), None);
    }
}
