//! What the hook and the user line tell one another.

use super::{LINE_RULES, VLAN_TAGS};

/// Key of the `LINES` hash: a device of a target namespace, or the entrance of its line.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LineKey {
    /// Index into `NETNS`.
    pub netns: u32,
    /// Index of the device.
    pub ifindex: u32,
}

/// Value of the `LINES` hash: where the line of a device begins, or the device that a line belongs to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Of a device: cookie of the socket through which packets come back and leave by it.
    pub cookie: u64,
    /// Index of the entrance, or of the device.
    pub ifindex: u32,
    /// Of a device: index into `ENTRANCES`, or [`NOBODY_TOLD`].
    pub entrance: u32,
}

/// In place of an index: whatever the entrance does with a packet, its sender hears nothing of it (the port of a bridge,
/// `br_dev_xmit`), so that none is kept out for its socket's sake.
pub const NOBODY_TOLD: u32 = u32::MAX;

/// Value of the `ENTRANCES` array: how full an entrance is with packets that their sockets could have kept. Counted in
/// frames, from some number on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entrance {
    /// Sent into it.
    pub sent: u64,
    /// [`LineNote::ticket`] of the last one that the line has read; less when the line has no room for more.
    pub read: u64,
    /// 1: super-packets stay whole there, and are one frame each; 0: they are cut into their wire packets.
    pub whole: u64,
    /// Always 0.
    pub _pad: u64,
}

/// What stands before a frame on its way into the line.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineNote {
    /// [`crate::line::MAGIC`].
    pub magic: u32,
    /// [`super::Hook`] the packet was at.
    pub hook: u8,
    /// Used entries of `rules`.
    pub count: u8,
    /// VLAN tags that were taken off (0 to [`VLAN_TAGS`]); with [`super::SERVICE_TAG`] shifted by `i`, tag `i` is of IEEE
    /// 802.1ad. And [`super::HELD_BACK`].
    pub tags: u16,
    /// CLOCK_MONOTONIC nanoseconds at the hook.
    pub time: u64,
    /// [`Entrance::sent`] with this packet; 0: its socket could not have kept it.
    pub ticket: u64,
    /// Its mark.
    pub mark: u32,
    /// The tags' control information, host byte order, outermost first. The kernel keeps a tag beside the frame, and
    /// would put it back behind the twelfth byte of whatever the frame has become.
    pub vlans: [u16; VLAN_TAGS],
    /// Slots of the rules that act on it, in their order, each perhaps with [`super::FOLLOWS`].
    pub rules: [u32; LINE_RULES],
}
