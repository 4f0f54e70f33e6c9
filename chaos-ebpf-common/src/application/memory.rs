//! What a segment of a connection is, whose last request is remembered.

use crate::{
    abi::{RequestMemory, fate},
    frame::tcp,
    reply::Numbers,
};

/// Time after a request's wait, or after what followed it, during which what follows takes the line as well, so that it does
/// not overtake when the line is late, nanoseconds. No shorter than TCP waits at least before it sends again
/// (`TCP_RTO_MIN`).
const GRACE: u64 = 200_000_000;
/// No answer is longer, with the end of the connection; what a client acknowledges lies no further back.
const ANSWERED_WITHIN: u32 = 2048;

/// A segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// What its header says.
    pub numbers: Numbers,
    /// Whether it carries anything.
    pub carries: bool,
    /// Whether that looks like the head of a request.
    pub asks: bool,
}

/// What it is to the request that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// Of another connection, or the end of this one.
    Ended,
    /// That request once more, which was answered.
    Again,
    /// Of a connection that was answered.
    After,
    /// The next request, after one that waited.
    Another,
    /// What follows a request that waits, and until when, nanoseconds, what comes next does so as well.
    Follows(u64),
    /// That request once more.
    Same,
    /// Nothing.
    Fresh,
}

/// Until when what follows a request that waits until `due` waits, too.
#[inline(always)]
pub fn graced(due: u64) -> u64 {
    due + GRACE
}

/// What a segment is. The clock, CLOCK_MONOTONIC nanoseconds, is only looked at where it matters.
#[inline(always)]
pub fn past(memory: &RequestMemory, segment: &Segment, now: impl FnOnce() -> u64) -> Past {
    let Numbers {
        sequence,
        acknowledgement,
        flags,
    } = segment.numbers;
    if flags & (tcp::SYN | tcp::RST) != 0 {
        return Past::Ended;
    }
    let same = segment.carries && sequence == memory.sequence;
    // A later connection with the same ends acknowledges something else.
    if memory.fate == fate::ANSWERED && memory.next.wrapping_sub(acknowledgement) < ANSWERED_WITHIN {
        return if same { Past::Again } else { Past::After };
    }
    if memory.fate == fate::WAITS {
        // Whoever waits for an answer does not ask again before it has come, so what was acknowledged since has moved.
        if segment.asks && acknowledgement != memory.next {
            return Past::Another;
        }
        if segment.carries || flags & tcp::FIN != 0 {
            let now = now();
            if memory.until > now {
                let until = graced(now);
                return Past::Follows(if memory.until < until { until } else { memory.until });
            }
        }
    }
    if same { Past::Same } else { Past::Fresh }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 5_000_000_000;
    const SENT: u32 = 1_000;
    const HAD: u32 = u32::MAX - 100;

    fn memory(fate: u32, until: u64) -> RequestMemory {
        RequestMemory {
            sequence: SENT,
            fate,
            next: HAD,
            until,
            ..RequestMemory::default()
        }
    }

    fn segment(sequence: u32, acknowledgement: u32, flags: u8, carries: bool, asks: bool) -> Segment {
        Segment {
            numbers: Numbers {
                sequence,
                acknowledgement,
                flags,
            },
            carries,
            asks,
        }
    }

    #[test]
    fn a_segment_is_what_the_request_before_it_makes_of_it() {
        let late = |past: u64| memory(fate::WAITS, NOW + past);
        let (waits, waited) = (late(GRACE / 2), late(0));
        let answered = memory(fate::ANSWERED, 0);
        let ack = tcp::ACK;
        let follows = Past::Follows(NOW + GRACE);
        for (memory, segment, expected) in [
            // A connection begins or ends.
            (waits, segment(SENT, 0, tcp::SYN, false, false), Past::Ended),
            (answered, segment(SENT, HAD, tcp::RST, false, false), Past::Ended),
            // It was answered: the same once more, more of it, what acknowledges the answer, a later connection.
            (
                answered,
                segment(SENT, HAD.wrapping_sub(9), ack, true, true),
                Past::Again,
            ),
            (answered, segment(SENT + 9, HAD, ack, true, false), Past::After),
            (
                answered,
                segment(SENT + 9, HAD.wrapping_sub(ANSWERED_WITHIN - 1), ack, false, false),
                Past::After,
            ),
            (
                answered,
                segment(SENT + 9, HAD.wrapping_sub(ANSWERED_WITHIN), ack, true, true),
                Past::Fresh,
            ),
            (
                answered,
                segment(SENT + 9, HAD.wrapping_add(1), ack, true, true),
                Past::Fresh,
            ),
            // It waits: itself, its body, what looks like a request in its body, the end; what carries nothing.
            (waits, segment(SENT, HAD, ack, true, true), follows),
            (waits, segment(SENT + 9, HAD, ack, true, false), follows),
            (waits, segment(SENT + 9, HAD, ack, true, true), follows),
            (
                waits,
                segment(SENT + 9, HAD, ack | tcp::FIN, false, false),
                follows,
            ),
            (waits, segment(SENT + 9, HAD, ack, false, false), Past::Fresh),
            // Its wait is far from over.
            (
                late(3 * GRACE),
                segment(SENT + 9, HAD, ack, true, false),
                Past::Follows(NOW + 3 * GRACE),
            ),
            // An answer has come, across the end of the numbers, and the next is asked.
            (
                waits,
                segment(SENT + 9, HAD.wrapping_add(300), ack, true, true),
                Past::Another,
            ),
            (
                waited,
                segment(SENT + 9, HAD.wrapping_add(300), ack, true, true),
                Past::Another,
            ),
            (
                waits,
                segment(SENT + 9, HAD.wrapping_add(300), ack, true, false),
                follows,
            ),
            // All has arrived.
            (waited, segment(SENT + 9, HAD, ack, true, false), Past::Fresh),
            (waited, segment(SENT, HAD, ack, true, true), Past::Same),
            (
                memory(fate::GOES_ON, 0),
                segment(SENT, HAD, ack, true, false),
                Past::Same,
            ),
        ] {
            let found = past(&memory, &segment, || NOW);
            assert_eq!(found, expected, "{memory:?} {segment:?}");
        }
    }

    #[test]
    fn what_follows_keeps_its_way_until_for_a_while_none_comes() {
        let mut memory = memory(fate::WAITS, graced(NOW));
        let body = segment(SENT + 9, HAD, tcp::ACK, true, false);
        let mut now = NOW;
        for _ in 0..100 {
            now += GRACE - 1;
            let Past::Follows(until) = past(&memory, &body, || now) else {
                panic!("it goes past those before it");
            };
            memory.until = until;
        }
        assert_eq!(past(&memory, &body, || now + GRACE), Past::Fresh);
    }
}
