//! What the hook tells the line of a packet: a fixed number of bytes before its frame.

use crate::abi::{
    Entrance, FOLLOWS, HELD_BACK, Hook, LINE_RULES, LineNote, Rule, SERVICE_TAG, VLAN_TAGS, flags, protocol,
};

/// First word of a note; a frame without it did not come from a hook.
pub const MAGIC: u32 = 0xc4a0_5e11;
/// Frames that may wait to be read at an entrance.
pub const BACKLOG: u32 = 16_384;
/// Frames of sockets that could keep them which may wait there. No more, because a long queue is a delay that nobody asked
/// for, and no less, because the line's thread has to wait for a processor at times. What is left is for packets that nobody
/// could keep, and for what other processors send meanwhile.
pub const FULL: u64 = BACKLOG as u64 / 4;
/// Devices that can have a line.
pub const ENTRANCES: u32 = 2048;

/// Bytes before the frame.
pub const NOTE_LEN: usize = size_of::<LineNote>();

/// In `LINES`, the gate of a namespace in place of a device: where packets wait, owned by their sockets, while copies
/// of them travel by a line of limited rate.
pub const GATE: u32 = 0;
/// Major number of the classes of a gate, in the upper half of a packet's priority.
pub const GATE_MAJOR: u32 = 0xc4a0;

/// The class of a gate for a rule state; 0 when there are no more.
#[inline(always)]
pub fn gate_class(state: u32) -> u16 {
    if state < GATE_CLASSES { state as u16 + 1 } else { 0 }
}

/// Classes of a gate; the last number stands for the root (`TC_H_ROOT`).
const GATE_CLASSES: u32 = u16::MAX as u32 - 1;

/// The bits of `LineNote::tags` that count them.
const TAG_COUNT: u16 = SERVICE_TAG - 1;
/// Types of VLAN tags (IEEE 802.1Q, 802.1ad).
pub const ETH_CUSTOMER: u16 = 0x8100;
/// As [`ETH_CUSTOMER`], of the outer tag of two.
pub const ETH_SERVICE: u16 = 0x88a8;

/// A slot as a note has it: without [`FOLLOWS`], and whether it was there.
pub fn plain_slot(noted: u32) -> (u32, bool) {
    (noted & !FOLLOWS, noted & FOLLOWS != 0)
}

/// Whether a rule is carried out on the line for a packet of this protocol. All of a TCP flow goes the same way, since
/// its small packets would overtake its large ones otherwise.
#[inline(always)]
pub fn takes(rule: &Rule, protocol: u8, wire_packets: u32) -> bool {
    rule.flags & flags::LINE != 0
        || rule.flags & flags::LINE_BULK != 0 && (protocol == protocol::TCP || wire_packets > 1)
}

/// Whether a packet would travel by the line while others of its flow, which stand for themselves alone, stay at the hook and
/// overtake it; and the daemon can change that.
#[inline(always)]
pub fn parts_flow(rule: &Rule, protocol: u8, wire_packets: u32) -> bool {
    const PARTED: u8 = flags::LINE_BULK | flags::REFIT;
    rule.flags & (flags::LINE | PARTED) == PARTED && protocol != protocol::TCP && wire_packets > 1
}

/// Whether the socket of a leaving packet keeps it, and sends it later, when it is told that a queue is full: TCP does, with
/// what is more than an acknowledgement. `length`: of the packet from its TCP header on.
#[inline(always)]
pub fn keeps(protocol: u8, length: u32) -> bool {
    /// The longest that a TCP header is. A segment of data that is no longer than that is taken for an acknowledgement.
    const HEADER: u32 = 60;
    protocol == protocol::TCP && length > HEADER
}

impl Entrance {
    /// Whether sockets are to keep what they would send.
    #[inline(always)]
    pub fn is_full(&self) -> bool {
        self.sent.wrapping_sub(self.read) >= FULL
    }

    /// Frames that a packet becomes.
    #[inline(always)]
    pub fn frames(&self, wire_packets: u32) -> u64 {
        if self.whole != 0 { 1 } else { wire_packets as u64 }
    }
}

impl LineNote {
    /// Reads the note that stands before a frame; `None` when there is none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; NOTE_LEN] = bytes.get(..NOTE_LEN)?.try_into().ok()?;
        let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| u64::from(word(at + LOW)) | u64::from(word(at + HIGH)) << 32;
        let half = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let note = Self {
            magic: word(0),
            hook: bytes[4],
            count: bytes[5],
            tags: half(6),
            time: long(8),
            ticket: long(16),
            mark: word(24),
            vlans: core::array::from_fn(|i| half(28 + 2 * i)),
            rules: core::array::from_fn(|i| word(32 + 4 * i)),
        };
        let sound = note.magic == MAGIC
            && usize::from(note.count) <= LINE_RULES
            && usize::from(note.tags & TAG_COUNT) <= VLAN_TAGS
            && (note.hook == Hook::Egress as u8 || note.hook == Hook::Ingress as u8);
        sound.then_some(note)
    }

    /// Whether its sender is held back while it waits.
    pub fn is_held_back(&self) -> bool {
        self.tags & HELD_BACK != 0
    }

    /// VLAN tags that belong into the frame, outermost first: type and control information, host byte order.
    pub fn tags(&self) -> impl ExactSizeIterator<Item = (u16, u16)> {
        (0..usize::from(self.tags & TAG_COUNT)).map(|i| {
            let service = self.tags & SERVICE_TAG << i != 0;
            (if service { ETH_SERVICE } else { ETH_CUSTOMER }, self.vlans[i])
        })
    }

    /// Slots of the rules that act on the packet, in their order, each perhaps with [`FOLLOWS`].
    pub fn slots(&self) -> &[u32] {
        &self.rules[..usize::from(self.count)]
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
    fn super_packets_part_the_flows_of_datagrams() {
        const BULK: u8 = flags::LINE_BULK | flags::REFIT;
        for (flags, protocol, wire, want) in [
            (BULK, protocol::UDP, 2, true),
            (BULK, protocol::UDP, 1, false),
            (BULK, protocol::TCP, 2, false),
            (BULK | flags::LINE, protocol::UDP, 2, false),
            (flags::LINE_BULK, protocol::UDP, 2, false),
            (flags::CUT | flags::REFIT, protocol::UDP, 2, false),
        ] {
            let rule = Rule {
                flags,
                ..Rule::default()
            };
            assert_eq!(
                parts_flow(&rule, protocol, wire),
                want,
                "{flags} {protocol} {wire}"
            );
        }
    }

    #[test]
    fn sockets_keep_what_they_would_send_again() {
        for (protocol, length, want) in [
            (protocol::TCP, 20, false),
            (protocol::TCP, 60, false),
            (protocol::TCP, 61, true),
            (protocol::TCP, 65_000, true),
            (protocol::UDP, 1_400, false),
            (protocol::ICMP, 1_400, false),
        ] {
            assert_eq!(keeps(protocol, length), want, "{protocol} {length}");
        }
    }

    #[test]
    fn an_entrance_is_full_by_what_was_not_read_wherever_the_count_began() {
        for (sent, read, full) in [
            (0, 0, false),
            (FULL - 1, 0, false),
            (FULL, 0, true),
            (FULL - 2, u64::MAX, false),
            (FULL - 1, u64::MAX, true),
        ] {
            let entrance = Entrance {
                sent,
                read,
                ..Entrance::default()
            };
            assert_eq!(entrance.is_full(), full, "{sent} {read}");
        }
        let whole = Entrance {
            whole: 1,
            ..Entrance::default()
        };
        assert_eq!((Entrance::default().frames(44), whole.frames(44)), (44, 1));
    }

    #[test]
    fn a_note_is_read_as_it_lies_in_memory() {
        let mut bytes = [0u8; NOTE_LEN];
        bytes[..4].copy_from_slice(&MAGIC.to_ne_bytes());
        (bytes[4], bytes[5]) = (1, 2);
        bytes[6..8].copy_from_slice(&(SERVICE_TAG | 2).to_ne_bytes());
        bytes[8..16].copy_from_slice(&0x0102_0304_0506_0708u64.to_ne_bytes());
        bytes[16..24].copy_from_slice(&0x1112_1314_1516_1718u64.to_ne_bytes());
        bytes[24..28].copy_from_slice(&9u32.to_ne_bytes());
        bytes[28..30].copy_from_slice(&5u16.to_ne_bytes());
        bytes[30..32].copy_from_slice(&6u16.to_ne_bytes());
        bytes[32..36].copy_from_slice(&77u32.to_ne_bytes());
        bytes[36..40].copy_from_slice(&78u32.to_ne_bytes());
        let note = LineNote::read(&bytes).unwrap();
        assert_eq!((note.hook, note.mark), (1, 9));
        assert_eq!(
            (note.time, note.ticket),
            (0x0102_0304_0506_0708, 0x1112_1314_1516_1718)
        );
        assert_eq!(note.slots(), [77, 78]);
        assert!(note.tags().eq([(ETH_SERVICE, 5), (ETH_CUSTOMER, 6)]));
        for (at, wrong) in [(0, 1u8), (4, 2), (5, LINE_RULES as u8 + 1), (6, 3)] {
            let mut bytes = bytes;
            bytes[at] = wrong;
            assert_eq!(LineNote::read(&bytes), None, "{at}");
        }
        assert_eq!(LineNote::read(&bytes[1..]), None);
    }
}
