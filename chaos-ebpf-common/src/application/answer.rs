//! The packets that answer a request or a question in its server's stead. Words are as they stand in memory.

use crate::{
    frame::{Packet, tcp},
    reply::{Numbers, pseudo, pseudo_seed},
};

/// Length of a TCP header without options.
pub const TCP_LEN: u32 = 20;
/// Length of the option that carries time stamps, with two bytes before it.
pub const STAMPS_LEN: u32 = 12;
/// Length of a UDP header.
pub const UDP_LEN: u32 = 8;
/// What stands before time stamps as every Linux sends them: two fillers, kind 8, length 10.
pub const STAMPS: u32 = u32::from_ne_bytes([1, 1, 8, 10]);

/// A segment without options that goes back to where `packet` came from.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Its numbers and flags.
    pub numbers: Numbers,
    /// Time stamps, when both ends use them: value and echo, as they stand in the packet that is answered.
    pub stamps: Option<[u32; 2]>,
    /// Length of what it carries.
    pub length: u32,
    /// Internet sum of that, not complemented.
    pub sum: u16,
    /// The device still owes the checksum.
    pub partial: bool,
}

/// The window of an answer: enough for what a client still has to say.
const WINDOW: u16 = u16::MAX;

impl Segment {
    /// Length of its header.
    #[inline(always)]
    pub fn header_length(&self) -> u32 {
        if self.stamps.is_some() {
            TCP_LEN + STAMPS_LEN
        } else {
            TCP_LEN
        }
    }

    /// Its header; the last six words are there with time stamps only.
    #[inline(always)]
    pub fn header(&self, packet: &Packet) -> [u16; 16] {
        let (sequence, acknowledgement) = (
            self.numbers.sequence.to_be(),
            self.numbers.acknowledgement.to_be(),
        );
        let length = self.header_length();
        let mut header = [0u16; 16];
        header[0] = packet.destination_port.to_be();
        header[1] = packet.source_port.to_be();
        (header[2], header[3]) = (sequence as u16, (sequence >> 16) as u16);
        (header[4], header[5]) = (acknowledgement as u16, (acknowledgement >> 16) as u16);
        header[6] = (((length / 4) as u16 * 0x1000) | self.numbers.flags as u16).to_be();
        header[7] = WINDOW.to_be();
        if let Some([value, echo]) = self.stamps {
            (header[10], header[11]) = (STAMPS as u16, (STAMPS >> 16) as u16);
            // Turned round: what the sender hears is the newest it has heard, and its own comes back to it.
            (header[12], header[13]) = (echo as u16, (echo >> 16) as u16);
            (header[14], header[15]) = (value as u16, (value >> 16) as u16);
        }
        let all = length + self.length;
        header[8] = if self.partial {
            pseudo_seed(packet, all)
        } else {
            pseudo(packet, packet.protocol, all)
                .words(&header)
                .word(self.sum)
                .fold()
        };
        header
    }
}

/// The numbers of the answer to a request: it stands where the client expects it, acknowledges all of the request,
/// and ends the connection.
#[inline(always)]
pub fn response(request: Numbers, payload: u32) -> Numbers {
    const PUSH: u8 = 0x08;
    Numbers {
        sequence: request.acknowledgement,
        acknowledgement: end_of(request, payload),
        flags: tcp::ACK | PUSH | tcp::FIN,
    }
}

/// The numbers of an acknowledgement of what a client still sends after its answer; `next` is the number after that.
#[inline(always)]
pub fn acknowledgement(segment: Numbers, payload: u32, next: u32) -> Numbers {
    Numbers {
        sequence: next,
        acknowledgement: end_of(segment, payload),
        flags: tcp::ACK,
    }
}

#[inline(always)]
fn end_of(segment: Numbers, payload: u32) -> u32 {
    let fin = u32::from(segment.flags & tcp::FIN != 0);
    segment.sequence.wrapping_add(payload).wrapping_add(fin)
}

/// The UDP header of an answer that carries `length` bytes with this sum. Without a checksum when the question had none.
#[inline(always)]
pub fn datagram(packet: &Packet, length: u32, sum: u32, partial: bool, bare: bool) -> [u16; 4] {
    let all = UDP_LEN + length;
    let mut header = [
        packet.destination_port.to_be(),
        packet.source_port.to_be(),
        (all as u16).to_be(),
        0,
    ];
    if partial {
        header[3] = pseudo_seed(packet, all);
    } else if !bare {
        let sum = pseudo(packet, packet.protocol, all)
            .words(&header)
            .double(sum)
            .fold();
        // 0 stands for none.
        header[3] = if sum == 0 { u16::MAX } else { sum };
    }
    header
}

/// The flags of the answer to a question whose flags are these, as bytes: what the client asked for stays, and
/// recursion was available.
#[inline(always)]
pub fn flags(question: [u8; 2], code: u32) -> [u8; 2] {
    const ANSWER: u8 = 0x80;
    const KEPT: [u8; 2] = [0x79, 0x10];
    const RECURSION: u8 = 0x80;
    [
        ANSWER | question[0] & KEPT[0],
        RECURSION | question[1] & KEPT[1] | code as u8 & 0x0f,
    ]
}
