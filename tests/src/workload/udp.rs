//! Numbered datagrams, and those who count them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use super::agent::name_of;
use super::payload;
use super::protocol::{Asked, Probed, Sample, Sent, SinkReport};
use crate::monotonic_nanos;

/// Room for hundreds of thousands of datagrams, so that none is lost for want of a reader.
const BUFFER: usize = 1 << 30;

/// Counts what arrives.
pub(super) struct Sink(Mutex<SinkReport>);

impl Sink {
    pub(super) fn start(bind: SocketAddr) -> io::Result<Arc<Self>> {
        let socket = open(Some(bind), None)?;
        let sink = Arc::new(Self(Mutex::default()));
        let shared = Arc::clone(&sink);
        thread::spawn(move || {
            let mut buffer = [0; 65536];
            loop {
                // Errors (ICMP for an earlier answer) are no datagrams.
                let Ok(n) = socket.recv(&mut buffer) else { continue };
                if let Some((number, flipped)) = payload::check(&buffer[..n]) {
                    let mut report = lock(&shared.0);
                    report.sequences.push(number);
                    if flipped > 0 {
                        report.flipped.push((number, flipped));
                    }
                }
            }
        });
        Ok(sink)
    }

    pub(super) fn report(&self) -> SinkReport {
        lock(&self.0).clone()
    }
}

pub(super) fn open(bind: Option<SocketAddr>, connect: Option<SocketAddr>) -> io::Result<UdpSocket> {
    let bind = bind
        .or_else(|| connect.map(any_like))
        .unwrap_or_else(|| any_like((Ipv4Addr::UNSPECIFIED, 0).into()));
    let socket = UdpSocket::bind(bind)?;
    // Fails without privilege; then the default buffer has to do.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &BUFFER);
    if let Some(peer) = connect {
        socket.connect(peer)?;
    }
    Ok(socket)
}

/// Any port of any address, of the same family.
pub(super) fn any_like(peer: SocketAddr) -> SocketAddr {
    match peer {
        SocketAddr::V4(_) => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0).into(),
        SocketAddr::V6(_) => (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0).into(),
    }
}

pub(super) fn send(socket: &UdpSocket, to: SocketAddr, first: u64, count: u64, size: usize) -> Sent {
    // So that refusals of the local queue are told, as ping and QUIC libraries ask for.
    match to {
        SocketAddr::V4(_) => drop(setsockopt(socket, sockopt::Ipv4RecvErr, &true)),
        SocketAddr::V6(_) => drop(setsockopt(socket, sockopt::Ipv6RecvErr, &true)),
    }
    let mut sent = Sent::default();
    for number in first..first + count {
        match socket.send_to(&payload::fill(number, size), to) {
            Ok(_) => sent.accepted += 1,
            Err(error) => *sent.errors.entry(name_of(&error)).or_default() += 1,
        }
    }
    sent
}

pub(super) fn echo(bind: SocketAddr) -> io::Result<()> {
    let socket = open(Some(bind), None)?;
    thread::spawn(move || {
        let mut buffer = [0; 65536];
        loop {
            if let Ok((n, from)) = socket.recv_from(&mut buffer) {
                // The asker may be gone.
                let _ = socket.send_to(&buffer[..n], from);
            }
        }
    });
    Ok(())
}

pub(super) fn ask(socket: &UdpSocket, timeout_ms: u64) -> io::Result<Asked> {
    socket.set_read_timeout(Some(Duration::from_millis(timeout_ms.max(1))))?;
    let start = Instant::now();
    let number = monotonic_nanos();
    let mut buffer = [0; 2048];
    let result = (|| {
        socket.send(&payload::fill(number, payload::MIN))?;
        loop {
            let n = socket.recv(&mut buffer)?;
            // An echo of an earlier question may still have been under way.
            if payload::check(&buffer[..n]).is_some_and(|(got, _)| got == number) {
                return Ok(());
            }
        }
    })();
    Ok(Asked {
        result: result.map_err(|e: io::Error| name_of(&e)),
        nanos: u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
    })
}

/// Asks an echo again and again.
pub(super) struct Probe(Mutex<Vec<Sample>>);

impl Probe {
    pub(super) fn start(to: SocketAddr, interval_us: u64) -> io::Result<Arc<Self>> {
        let socket = Arc::new(open(None, Some(to))?);
        let probe = Arc::new(Self(Mutex::default()));
        // Closed, a probe is dropped, and both threads end.
        let (reader, answers) = (Arc::clone(&socket), Arc::downgrade(&probe));
        reader.set_read_timeout(Some(Duration::from_secs(1)))?;
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            loop {
                let received = reader.recv(&mut buffer);
                let now = monotonic_nanos();
                let Some(answers) = answers.upgrade() else { return };
                let Ok(n) = received else { continue };
                if let Some((number, 0)) = payload::check(&buffer[..n])
                    && let Ok(index) = usize::try_from(number)
                    && let Some(sample) = lock(&answers.0).get_mut(index)
                {
                    sample.answered.get_or_insert(now);
                }
            }
        });
        let questions = Arc::downgrade(&probe);
        thread::spawn(move || {
            let start = Instant::now();
            for number in 0_u64.. {
                let Some(questions) = questions.upgrade() else {
                    return;
                };
                lock(&questions.0).push(Sample {
                    asked: monotonic_nanos(),
                    answered: None,
                });
                drop(questions);
                // A refusal is a question without an answer.
                let _ = socket.send(&payload::fill(number, payload::MIN));
                // By the start, so that the pace holds although sending takes time.
                let next = start + Duration::from_micros(interval_us * (number + 1));
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        Ok(probe)
    }

    pub(super) fn report(&self) -> Probed {
        let samples = lock(&self.0).clone();
        Probed {
            samples,
            now: monotonic_nanos(),
        }
    }
}

pub(super) fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
