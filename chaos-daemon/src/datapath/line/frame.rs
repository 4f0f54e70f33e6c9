//! A frame as TAP devices and packet sockets pass it: a virtio header, then the bytes.

use chaos_ebpf_common::{
    abi::LineNote,
    corrupt::{self, Flip},
    csum::Sum,
    frame::{Packet, Parsed, parse},
    line::NOTE_LEN,
};

/// Length of the virtio header (include/uapi/linux/virtio_net.h, `virtio_net_hdr`).
pub const VIRTIO: usize = 10;
/// Offsets and flags in it.
const FLAGS: usize = 0;
const GSO_TYPE: usize = 1;
const HEADER_LENGTH: usize = 2;
const GSO_SIZE: usize = 4;
const CHECKSUM_START: usize = 6;
const CHECKSUM_OFFSET: usize = 8;
const NEEDS_CHECKSUM: u8 = 1;
const GSO_NONE: u8 = 0;
/// UDP segmentation (`VIRTIO_NET_HDR_GSO_UDP_L4`).
const GSO_UDP: u8 = 5;

/// Where VLAN tags stand in an Ethernet frame: behind both addresses.
const TAGS_AT: usize = VIRTIO + 12;

/// Makes what was read behind a note into what can be sent: puts VLAN tags back, and counts offsets from where the
/// frame begins now, because the kernel counted them from the note.
pub fn mend(bytes: &mut Vec<u8>, note: &LineNote) {
    let mut tags = Vec::new();
    for (kind, control) in note.tags() {
        tags.extend(kind.to_be_bytes());
        tags.extend(control.to_be_bytes());
    }
    if !tags.is_empty() && bytes.len() >= TAGS_AT {
        bytes.splice(TAGS_AT..TAGS_AT, tags.iter().copied());
    }
    if is_super(bytes) {
        shift(bytes, HEADER_LENGTH, tags.len());
    }
    if bytes[FLAGS] & NEEDS_CHECKSUM != 0 {
        shift(bytes, CHECKSUM_START, tags.len());
    }
}

fn shift(bytes: &mut [u8], at: usize, tags: usize) {
    let was = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let is = was.saturating_sub(NOTE_LEN as u16) + tags as u16;
    bytes[at..at + 2].copy_from_slice(&is.to_le_bytes());
}

/// Headers of a frame, when it is IP.
pub fn headers(bytes: &[u8]) -> Option<Packet> {
    match parse(&bytes[VIRTIO..], 0) {
        Parsed::Ip(packet) => Some(packet),
        Parsed::Other | Parsed::Broken => None,
    }
}

/// Whether a frame is a super-packet.
pub fn is_super(bytes: &[u8]) -> bool {
    bytes[GSO_TYPE] != GSO_NONE
}

/// Wire packets a frame stands for.
pub fn wire_packets(bytes: &[u8], packet: Option<&Packet>) -> u32 {
    let size = u32::from(u16::from_le_bytes([bytes[GSO_SIZE], bytes[GSO_SIZE + 1]]));
    let header = u32::from(u16::from_le_bytes([
        bytes[HEADER_LENGTH],
        bytes[HEADER_LENGTH + 1],
    ]));
    let all = (bytes.len() - VIRTIO) as u32;
    match packet {
        Some(_) if is_super(bytes) && size > 0 => all.saturating_sub(header).div_ceil(size).max(1),
        _ => 1,
    }
}

/// The same of a frame of which no more is known.
pub fn wire_packets_of(bytes: &[u8]) -> u64 {
    wire_packets(bytes, headers(bytes).as_ref()).into()
}

/// Whether a frame is no super-packet, and its device still owes it a checksum of all from `start` on, `offset` behind that.
pub fn owes_checksum(bytes: &[u8], start: usize, offset: u16) -> bool {
    let number = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    bytes[FLAGS] == NEEDS_CHECKSUM
        && bytes[GSO_TYPE] == GSO_NONE
        && usize::from(number(CHECKSUM_START)) == start
        && number(CHECKSUM_OFFSET) == offset
}

/// Makes the header of a datagram that of a super-packet which is cut into payloads of `size`.
pub fn make_super(head: &mut [u8], header_length: u16, size: u16) {
    head[GSO_TYPE] = GSO_UDP;
    head[HEADER_LENGTH..HEADER_LENGTH + 2].copy_from_slice(&header_length.to_le_bytes());
    head[GSO_SIZE..GSO_SIZE + 2].copy_from_slice(&size.to_le_bytes());
}

/// The bit that draw `n` flips; `None` when there is no payload.
pub fn choose(bytes: &[u8], packet: &Packet, seed: u64, n: u64) -> Option<Flip> {
    let frame = &bytes[VIRTIO..];
    let end = packet.end.min(frame.len() as u32);
    let data_offset = frame.get(packet.l4 as usize + 12).copied().unwrap_or(0);
    let flip = corrupt::flip(packet, data_offset, end, seed, n)?;
    (flip.checksum as usize + 2 <= frame.len()).then_some(flip)
}

/// Flips it; with `fix`, the checksum stays right.
pub fn flip(bytes: &mut [u8], flip: &Flip, fix: bool) {
    let owed = bytes[FLAGS] & NEEDS_CHECKSUM != 0;
    if owed && !fix {
        complete(bytes);
    }
    let frame = &mut bytes[VIRTIO..];
    let (at, check) = (flip.at as usize, flip.checksum as usize);
    let before = frame[at];
    frame[at] ^= flip.mask;
    let old = u16::from_ne_bytes([frame[check], frame[check + 1]]);
    // What the device still owes, it will make of what is there now.
    if fix && !owed {
        let new = flip.mend(old, before, frame[at]);
        frame[check..check + 2].copy_from_slice(&new.to_ne_bytes());
    }
}

/// Makes the checksum that a device would have made.
fn complete(bytes: &mut [u8]) {
    let number = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let (start, field) = (number(CHECKSUM_START), number(CHECKSUM_OFFSET));
    bytes[FLAGS] &= !NEEDS_CHECKSUM;
    let frame = &mut bytes[VIRTIO..];
    let at = start + field;
    if at + 2 > frame.len() {
        return;
    }
    // The field holds the sum of the pseudo header, so all of it is summed.
    let (words, rest) = frame[start..].as_chunks::<2>();
    let sum = words
        .iter()
        .fold(Sum::default(), |sum, word| sum.word(u16::from_ne_bytes(*word)));
    let sum = match rest {
        [last] => sum.word(u16::from_ne_bytes([*last, 0])),
        _ => sum,
    };
    // 0 would mean "none" in UDP; all ones mean the same number (RFC 768).
    let made = match sum.fold() {
        0 => u16::MAX,
        made => made,
    };
    frame[at..at + 2].copy_from_slice(&made.to_ne_bytes());
}

#[cfg(test)]
mod tests;
