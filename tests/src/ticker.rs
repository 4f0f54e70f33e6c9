//! Numbered datagrams at an even pace, and which of them came: for the moment at which a fault begins or ends, known to a
//! fraction of a millisecond and without anybody who asks.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use crate::{Host, monotonic_nanos, until};

/// Longer than a datagram is on its way where nothing delays it.
const SILENCE: Duration = Duration::from_millis(50);
const BUFFER: usize = 16 << 20;

/// Sends until it is stopped.
#[derive(Debug)]
pub struct Ticker {
    over: Arc<AtomicBool>,
    sender: JoinHandle<Vec<u64>>,
    receiver: JoinHandle<Vec<u64>>,
}

/// What became of the datagrams.
#[derive(Clone, Debug)]
pub struct Ticks {
    /// When each was sent, by the monotonic clock, and whether it came.
    pub sent: Vec<(u64, bool)>,
    /// Arrivals, with those of copies.
    pub came: u64,
}

impl Ticker {
    /// From a host to an address of another, one each `pace`.
    pub fn start(from: &Host, at: &Host, to: SocketAddr, pace: Duration) -> Self {
        let receiver = at.netns.enter(|| {
            let socket = UdpSocket::bind(to).expect("a free port");
            setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).expect("root may");
            socket.set_read_timeout(Some(SILENCE)).expect("not zero");
            socket
        });
        let sender = from.netns.enter(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a free port");
            socket.connect(to).expect("the way is known");
            socket
        });
        let over = Arc::new(AtomicBool::new(false));
        let pace = u64::try_from(pace.as_nanos()).expect("a short time");
        let (stop, last) = (Arc::clone(&over), Arc::new(AtomicBool::new(false)));
        let ended = Arc::clone(&last);
        let sender = thread::spawn(move || {
            let mut sent = Vec::new();
            let mut due = monotonic_nanos();
            while !stop.load(Ordering::Relaxed) {
                sent.push(monotonic_nanos());
                // A refusal is a datagram that does not come.
                let _ = sender.send(&(sent.len() as u64 - 1).to_le_bytes());
                due = monotonic_nanos().max(due + pace);
                until(due);
            }
            last.store(true, Ordering::Release);
            sent
        });
        let receiver = thread::spawn(move || {
            let mut came = Vec::new();
            let mut bytes = [0; 8];
            loop {
                let over = ended.load(Ordering::Acquire);
                match receiver.recv(&mut bytes) {
                    Ok(8) => came.push(u64::from_le_bytes(bytes)),
                    // An error of an earlier datagram is none.
                    Ok(_) => {}
                    Err(_) if over => return came,
                    Err(_) => {}
                }
            }
        });
        Self {
            over,
            sender,
            receiver,
        }
    }

    pub fn stop(self) -> Ticks {
        self.over.store(true, Ordering::Relaxed);
        let sent = self.sender.join().expect("the sender does not panic");
        let came = self.receiver.join().expect("the receiver does not panic");
        let mut ticks: Vec<(u64, bool)> = sent.into_iter().map(|at| (at, false)).collect();
        for number in &came {
            ticks[*number as usize].1 = true;
        }
        Ticks {
            sent: ticks,
            came: came.len() as u64,
        }
    }
}

impl Ticks {
    /// When the first was sent, at or after `from`, that never came.
    pub fn first_lost(&self, from: u64) -> Option<u64> {
        let found = self.sent.iter().find(|(at, came)| *at >= from && !came);
        found.map(|(at, _)| *at)
    }

    /// How many were sent before `to` and never came.
    pub fn lost_before(&self, to: u64) -> usize {
        self.sent.iter().filter(|(at, came)| *at < to && !came).count()
    }
}
