//! Connections that report how they went.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::agent::name_of;
use super::protocol::{Exchanged, ServerReport};
use super::udp::micros;

/// Echoes every connection.
#[derive(Default)]
pub(super) struct Server {
    accepted: AtomicU64,
    closed: AtomicU64,
    reset: AtomicU64,
    failed: AtomicU64,
}

impl Server {
    pub(super) fn start(bind: SocketAddr) -> io::Result<Arc<Self>> {
        let listener = TcpListener::bind(bind)?;
        let server = Arc::new(Self::default());
        let shared = Arc::clone(&server);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&shared);
                // A small stack, for a test may open a thousand.
                let spawned = thread::Builder::new()
                    .stack_size(128 << 10)
                    .spawn(move || shared.echo(stream));
                drop(spawned);
            }
        });
        Ok(server)
    }

    fn echo(&self, mut stream: TcpStream) {
        let mut buffer = [0; 16384];
        let end = loop {
            match stream.read(&mut buffer) {
                Ok(0) => break &self.closed,
                Ok(n) => {
                    if let Err(error) = stream.write_all(&buffer[..n]) {
                        break self.end_of(&error);
                    }
                }
                Err(error) => break self.end_of(&error),
            }
        };
        end.fetch_add(1, Ordering::SeqCst);
    }

    fn end_of(&self, error: &io::Error) -> &AtomicU64 {
        match error.raw_os_error() {
            Some(libc::ECONNRESET | libc::EPIPE) => &self.reset,
            _ => &self.failed,
        }
    }

    pub(super) fn report(&self) -> ServerReport {
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        ServerReport {
            accepted: count(&self.accepted),
            closed: count(&self.closed),
            reset: count(&self.reset),
            failed: count(&self.failed),
        }
    }
}

/// A connection or the name of what went wrong, and how long that took in microseconds.
pub(super) fn open(
    from: Option<SocketAddr>,
    to: SocketAddr,
    timeout_ms: u64,
) -> io::Result<(Result<TcpStream, String>, u64)> {
    let family = if to.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    if let Some(from) = from {
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(from))?;
    }
    let limit = i64::try_from(timeout_ms.max(1)).unwrap_or(i64::MAX);
    // Linux bounds a blocking connect by the send timeout.
    setsockopt(&fd, sockopt::SendTimeout, &TimeVal::milliseconds(limit))?;
    let start = Instant::now();
    let result = connect(fd.as_raw_fd(), &SockaddrStorage::from(to));
    let took = micros(start);
    let result = match result {
        Ok(()) => {
            let stream = TcpStream::from(fd);
            stream.set_nodelay(true)?;
            Ok(stream)
        }
        Err(errno) => Err(name_of(&io::Error::from(errno))),
    };
    Ok((result, took))
}

/// Sends a pattern and reads it back; counts bytes that came back changed.
pub(super) fn exchange(mut stream: &TcpStream, bytes: usize, timeout_ms: u64) -> io::Result<Exchanged> {
    let timeout = Duration::from_millis(timeout_ms.max(1));
    let start = Instant::now();
    stream.set_write_timeout(Some(timeout))?;
    let sent: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
    let mut writer = stream.try_clone()?;
    let result = thread::scope(|scope| {
        // Beside the reading, because more than both buffers hold may be under way.
        let writing = scope.spawn(|| writer.write_all(&sent));
        let reading = read_back(&mut stream, &sent, start, timeout);
        if reading.is_err() {
            // Else the writer could wait for its whole timeout.
            let _ = stream.shutdown(Shutdown::Both);
        }
        let writing = writing
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the writer panicked")));
        reading.and_then(|wrong| writing.map(|()| wrong).map_err(|e| name_of(&e)))
    });
    Ok(Exchanged {
        result,
        micros: micros(start),
    })
}

fn read_back(stream: &mut &TcpStream, sent: &[u8], start: Instant, timeout: Duration) -> Result<u64, String> {
    let mut buffer = vec![0; 65536];
    let (mut at, mut wrong) = (0, 0);
    while at < sent.len() {
        let left = timeout
            .checked_sub(start.elapsed())
            .filter(|left| !left.is_zero())
            .ok_or("timeout")?;
        stream.set_read_timeout(Some(left)).map_err(|e| name_of(&e))?;
        let want = buffer.len().min(sent.len() - at);
        match stream.read(&mut buffer[..want]) {
            Ok(0) => return Err("closed".to_owned()),
            Ok(n) => {
                wrong += sent[at..at + n]
                    .iter()
                    .zip(&buffer[..n])
                    .filter(|(a, b)| a != b)
                    .count() as u64;
                at += n;
            }
            Err(error) => return Err(name_of(&error)),
        }
    }
    Ok(wrong)
}
