//! What a TAP device may hand over: a virtio header that promises anything, a note, and a frame that others sent.

use chaos_ebpf_common::abi::Hook;
use chaos_ebpf_common::line::MAGIC;
use chaos_fuzz::{Bytes, cases, damaged};
use proptest::prelude::*;

use super::*;

/// A note as a hook writes it, with `tags` VLAN tags.
fn note(tags: u16) -> Vec<u8> {
    let mut note = vec![0; NOTE_LEN];
    note[..4].copy_from_slice(&MAGIC.to_ne_bytes());
    (note[4], note[5]) = (Hook::Egress as u8, 2);
    note[6..8].copy_from_slice(&tags.to_ne_bytes());
    note
}

/// A TCP segment in one frame; `v6` in IPv6.
fn frame(v6: bool) -> Vec<u8> {
    let mut frame = vec![2; 12];
    if v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 60, 6, 64]);
        frame.extend([0xfd; 32]);
    } else {
        frame.extend([
            8, 0, 0x45, 0, 0, 80, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ]);
    }
    frame.extend([
        0x9c, 0x40, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 255, 255, 0x12, 0x34, 0, 0,
    ]);
    frame.extend([7; 40]);
    frame
}

/// Header, note and frame: one that owes its checksum and is a super-packet, and a plain one.
fn read_from_a_device() -> Vec<Vec<u8>> {
    let start = (NOTE_LEN + 34) as u16;
    let owing = |kind: u8| {
        let mut header = vec![NEEDS_CHECKSUM, kind];
        for number in [start + 20, 20, start, 16] {
            header.extend(number.to_le_bytes());
        }
        header
    };
    vec![
        [owing(1), note(0), frame(false)].concat(),
        [owing(4), note(2), frame(true)].concat(),
        [vec![0; VIRTIO], note(1), frame(false)].concat(),
    ]
}

/// What the line's thread does with what it has read.
fn treat(read: &[u8], seed: u64) {
    let Some(note) = read.get(VIRTIO..).and_then(LineNote::read) else {
        return;
    };
    let mut bytes = read[..VIRTIO].to_vec();
    bytes.extend_from_slice(&read[VIRTIO + NOTE_LEN..]);
    mend(&mut bytes, &note);
    let tags = if bytes.len() >= TAGS_AT {
        4 * note.tags().len()
    } else {
        0
    };
    assert!(bytes.len() <= read.len() - NOTE_LEN + tags);
    let packet = headers(&bytes);
    let wire = wire_packets(&bytes, packet.as_ref());
    assert!(wire >= 1 && wire as usize <= bytes.len().max(1), "{wire} packets");
    let Some(packet) = packet else { return };
    for n in 0..4 {
        let Some(chosen) = choose(&bytes, &packet, seed, n) else {
            continue;
        };
        for fix in [false, true] {
            let mut after = bytes.clone();
            flip(&mut after, &chosen, fix);
            assert_eq!(after.len(), bytes.len());
            let at = VIRTIO + chosen.at as usize;
            let changed = bytes.iter().zip(&after).filter(|(old, new)| old != new).count();
            // The byte, the two of a checksum, and the flag that one is owed.
            assert!(changed <= 4, "{changed} bytes are others");
            let is_owed = bytes[FLAGS] & NEEDS_CHECKSUM != 0;
            if !is_owed || fix {
                assert_eq!(after[at], bytes[at] ^ chosen.mask);
            }
        }
    }
}

#[test]
fn what_ends_anywhere_is_treated() {
    for read in read_from_a_device() {
        assert!(headers(&[&[0; VIRTIO], &read[VIRTIO + NOTE_LEN..]].concat()).is_some());
        for length in 0..=read.len() {
            treat(&read[..length], 7);
        }
    }
}

proptest! {
    #![proptest_config(cases(1000))]
    #[test]
    fn damaged_frames_are_treated(read in damaged(read_from_a_device()), seed: u64) {
        treat(&read.0, seed);
    }

    /// Damage to the note makes most of it unreadable: here only the frame and its header are damaged.
    #[test]
    fn damaged_frames_behind_a_sound_note_are_treated(
        frame in damaged(vec![frame(false), frame(true)]), header: [u8; VIRTIO], tags in 0..3u16, seed: u64,
    ) {
        let Bytes(frame) = frame;
        treat(&[header.to_vec(), note(tags), frame].concat(), seed);
    }
}
