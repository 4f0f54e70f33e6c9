//! What must become of a packet.

use chaos_daemon::sys::bpf::TestResult;
use etherparse::{NetHeaders, PacketHeaders, TransportHeader};

use super::Packet;

/// TCX_NEXT, as the kernel reports it.
const NEXT: u32 = u32::MAX;
/// TC_ACT_SHOT: lost; at egress the sender is told.
const SHOT: u32 = 2;
/// TC_ACT_REDIRECT: lost in silence (to device 0), or sent elsewhere.
const REDIRECT: u32 = 7;

/// Verdict and frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It goes on, byte by byte the same.
    Untouched,
    /// It is lost and its sender not told.
    Vanished,
    /// It is lost by the verdict.
    Shot,
    /// It comes back as this frame.
    Answered(Vec<u8>),
    /// It goes on with one bit of its payload flipped and a right checksum.
    Corrupted,
    /// XDP lets it pass.
    XdpPass,
    /// XDP drops it.
    XdpDrop,
}

/// Whether a tc or XDP program lost the packet, by its verdict.
pub fn is_lost(result: &TestResult) -> bool {
    const XDP_DROP: u32 = 1;
    [SHOT, REDIRECT, XDP_DROP].contains(&result.verdict)
}

impl Expect {
    /// Says what is wrong with a result.
    ///
    /// # Errors
    /// The difference, for people.
    pub fn check(&self, packet: &Packet, result: &TestResult) -> Result<(), String> {
        let frame = packet.frame();
        let verdict = match self {
            Self::Untouched | Self::Corrupted => NEXT,
            Self::Vanished | Self::Answered(_) => REDIRECT,
            Self::Shot => SHOT,
            Self::XdpPass => 2,
            Self::XdpDrop => 1,
        };
        if result.verdict != verdict {
            return Err(format!(
                "verdict {} instead of {}",
                result.verdict as i32, verdict as i32
            ));
        }
        match self {
            Self::Corrupted => flipped_bit(packet, &result.frame).map(drop),
            Self::Answered(want) => same(want, &result.frame),
            _ => same(&frame, &result.frame),
        }
    }
}

fn same(want: &[u8], found: &[u8]) -> Result<(), String> {
    if want == found {
        return Ok(());
    }
    let at = want
        .iter()
        .zip(found)
        .position(|(a, b)| a != b)
        .unwrap_or(want.len().min(found.len()));
    Err(format!(
        "the frame differs from byte {at} on ({} bytes wanted, {} found)\n wanted {}\n found  {}",
        want.len(),
        found.len(),
        hex(want),
        hex(found)
    ))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The one payload bit (counted from the payload's start) in which a frame differs from its packet, its checksum being
/// right and everything else the same.
///
/// # Errors
/// The difference, for people.
pub fn flipped_bit(packet: &Packet, found: &[u8]) -> Result<usize, String> {
    let sent = packet.frame();
    if sent.len() != found.len() {
        return Err(format!("{} bytes became {}", sent.len(), found.len()));
    }
    let payload = packet.payload_at();
    let flips: Vec<usize> = (payload * 8..sent.len() * 8)
        .filter(|bit| (sent[bit / 8] ^ found[bit / 8]) & (1 << (bit % 8)) != 0)
        .collect();
    let [flip] = flips[..] else {
        return Err(format!("{} payload bits are flipped instead of one", flips.len()));
    };
    let (sent_sum, found_sum) = (checksum(&sent)?, checksum(found)?);
    let headers_differ = sent[..payload]
        .iter()
        .zip(&found[..payload])
        .filter(|(a, b)| a != b)
        .count();
    if headers_differ > 2 || sent_sum.0 == found_sum.0 {
        return Err("more of the headers than the checksum has changed, or not even that".to_owned());
    }
    if found_sum.0 != found_sum.1 {
        return Err(format!(
            "checksum {:#06x} instead of {:#06x}",
            found_sum.0, found_sum.1
        ));
    }
    Ok(flip - payload * 8)
}

/// The transport checksum as it stands, and as it should.
fn checksum(frame: &[u8]) -> Result<(u16, u16), String> {
    let headers = PacketHeaders::from_ethernet_slice(frame).map_err(|e| e.to_string())?;
    let payload = headers.payload.slice();
    let pair = match (headers.net, headers.transport) {
        (Some(NetHeaders::Ipv4(ip, _)), Some(transport)) => {
            if ip.header_checksum != ip.calc_header_checksum() {
                return Err("the IPv4 header's checksum is wrong".to_owned());
            }
            match transport {
                TransportHeader::Tcp(tcp) => (tcp.checksum, tcp.calc_checksum_ipv4(&ip, payload).ok()),
                TransportHeader::Udp(udp) => (udp.checksum, udp.calc_checksum_ipv4(&ip, payload).ok()),
                TransportHeader::Icmpv4(icmp) => (icmp.checksum, Some(icmp.icmp_type.calc_checksum(payload))),
                _ => return Err("no transport with a checksum".to_owned()),
            }
        }
        (Some(NetHeaders::Ipv6(ip, _)), Some(transport)) => match transport {
            TransportHeader::Tcp(tcp) => (tcp.checksum, tcp.calc_checksum_ipv6(&ip, payload).ok()),
            TransportHeader::Udp(udp) => (udp.checksum, udp.calc_checksum_ipv6(&ip, payload).ok()),
            TransportHeader::Icmpv6(icmp) => (
                icmp.checksum,
                icmp.icmp_type
                    .calc_checksum(ip.source, ip.destination, payload)
                    .ok(),
            ),
            _ => return Err("no transport with a checksum".to_owned()),
        },
        _ => return Err("no IP packet".to_owned()),
    };
    Ok((pair.0, pair.1.ok_or("too long for a checksum")?))
}
