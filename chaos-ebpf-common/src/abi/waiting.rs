//! What the kernel line reads, and what it keeps.

/// Sizes of the maps of this part.
pub mod waits {
    /// Rules that wait there at the same time.
    pub const RULES: u32 = 1024;
    /// Distributions of jitter; [`NORMAL`] is one of them.
    pub const SHAPES: u32 = 33;
    /// The quantiles of the normal distribution, by which all others are drawn.
    pub const NORMAL: u32 = 0;
    /// Flows of which it is known when their last packet leaves; the least used are forgotten.
    pub const FLOWS: u32 = 1 << 15;
    /// The longest that a packet may wait on average, its jitter included, nanoseconds.
    pub const LONGEST: u64 = 2_000_000_000;
}

/// Value of the `WAITS` array: how long the packets of a rule wait.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    /// As in [`crate::delay::Delay`], and so are the next three.
    pub latency: u64,
    pub jitter: u64,
    pub correlation: i64,
    pub freshness: i64,
    /// Index into `SHAPES`.
    pub shape: u32,
    /// 1: packets of a flow keep their order.
    pub keeps_order: u32,
}

/// Value of the `CABLES` hash, whose key is a [`super::LineKey`]: of a device, where its cable begins; of the near end of a
/// cable, its device.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cable {
    /// Index of the near end, or of the device.
    pub ifindex: u32,
    /// Always 0.
    pub _pad: u32,
    /// Wire packets that found no room in it.
    pub lost: u64,
    /// When the last packet in it leaves, CLOCK_MONOTONIC nanoseconds.
    pub until: u64,
    /// These two are unused in the entry of a near end.
    pub pace: Pace,
    pub way: Way,
}

/// How far apart packets are that enter a cable; see [`crate::pace`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// From one to the next, in the window before, nanoseconds; 0 as long as there was none.
    pub gap: u64,
    /// Packets of this window.
    pub packets: u64,
    /// When it began, CLOCK_MONOTONIC.
    pub since: u64,
}

/// How long packets have been on their way lately after they had waited; see [`crate::way`]. Nanoseconds, 0 as long as
/// there is nothing to go by.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// The least of this window.
    pub least: u64,
    /// The least of the window before.
    pub before: u64,
    /// What most packets have stayed below.
    pub usual: u64,
    /// Packets of this window.
    pub packets: u64,
    /// When it began, CLOCK_MONOTONIC.
    pub since: u64,
}
