//! A TCP stream as its sender's kernel sees it.

use chaos_tests::Netns;

/// What `ss -ti` tells of the stream to a port that has sent the most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stream {
    /// Wire packets with data, those sent again included.
    pub(crate) segments: u64,
    /// Of these, sent again.
    pub(crate) retransmitted: u64,
    /// What the receiver says it got twice.
    pub(crate) twice: u64,
    /// How often it found that they had been swapped.
    pub(crate) swapped: u64,
    /// Bytes that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Smoothed round trip time, milliseconds.
    pub(crate) rtt: f64,
    /// Congestion window, packets.
    pub(crate) window: f64,
}

impl Stream {
    /// `None` when there is none that has sent anything.
    pub(crate) fn of(netns: &Netns, port: u16) -> Option<Self> {
        let text = netns.run(&["ss", "-tinH", "dport", "=", &format!(":{port}")]);
        text.lines()
            .filter_map(Self::read)
            .max_by_key(|stream| stream.acknowledged)
    }

    fn read(line: &str) -> Option<Self> {
        let word = |name: &str| {
            line.split_whitespace()
                .find_map(|word| word.strip_prefix(name)?.strip_prefix(':'))
        };
        Some(Self {
            segments: word("data_segs_out")?.parse().ok()?,
            // Left out as long as it is zero; `now/ever`.
            retransmitted: word("retrans").map_or(Some(0), |both| both.split_once('/')?.1.parse().ok())?,
            twice: word("dsack_dups").map_or(Some(0), |n| n.parse().ok())?,
            swapped: word("reord_seen").map_or(Some(0), |n| n.parse().ok())?,
            acknowledged: word("bytes_acked")?.parse().ok()?,
            window: word("cwnd")?.parse().ok()?,
            rtt: word("rtt")?.split_once('/')?.0.parse().ok()?,
        })
    }
}
