//! Datagrams as fast as one sender makes them.

use std::net::UdpSocket;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use crate::{Pair, monotonic_nanos};

const PORT: u16 = 7001;
/// Longer than anything is on its way.
const SILENCE: Duration = Duration::from_millis(500);
/// Room for all of them, so that none is lost for want of a reader.
const BUFFER: usize = 1 << 30;

/// What came of them.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// Payload that arrived, Mbit/s of the time from the first to the last.
    pub mbit: f64,
    /// Share of those sent.
    pub lost: f64,
}

/// Sends `count` datagrams of `size` bytes.
///
/// # Panics
/// When none arrives, or the kernel's buffer had no room.
pub fn flood(net: &Pair, count: u32, size: usize) -> Flood {
    let to = net.server.at(PORT);
    let receiver = net.server.netns.enter(|| {
        let socket = UdpSocket::bind(to).expect("a free port");
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).expect("root may");
        socket.set_read_timeout(Some(SILENCE)).expect("not zero");
        socket
    });
    let sender = net.client.netns.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a free port");
        socket.connect(to).expect("the way is known");
        socket
    });
    let overflows = || udp_count(net, "RcvbufErrors");
    let before = overflows();
    let (came, first, last) = std::thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            let mut bytes = vec![0; size];
            let (mut came, mut first, mut last) = (0_u32, 0, 0);
            while came < count && receiver.recv(&mut bytes).is_ok() {
                last = monotonic_nanos();
                if came == 0 {
                    first = last;
                }
                came += 1;
            }
            (came, first, last)
        });
        let bytes = vec![0; size];
        for _ in 0..count {
            // A refusal is a datagram that does not come.
            let _ = sender.send(&bytes);
        }
        receiving.join().expect("the receiver does not panic")
    });
    assert!(came > 1, "nothing arrived");
    assert_eq!(overflows(), before, "the receiver's buffer had room");
    Flood {
        mbit: f64::from(came) * size as f64 * 8e3 / (last - first) as f64,
        lost: 1.0 - f64::from(came) / f64::from(count),
    }
}

/// A counter of the server's UDP.
fn udp_count(net: &Pair, name: &str) -> u64 {
    let read = || std::fs::read_to_string("/proc/thread-self/net/snmp");
    let text = net.server.netns.enter(read).expect("there is a proc");
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
    let (names, numbers) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut both = names.split(' ').zip(numbers.split(' '));
    both.find(|(known, _)| *known == name)
        .and_then(|(_, number)| number.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {names}"))
}
