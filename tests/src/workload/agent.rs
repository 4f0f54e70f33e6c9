//! The helper process: reads operations, keeps sockets, answers.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;

use super::protocol::{Handle, Op, Reply};
use super::{flood, tcp, udp};

/// Everything that the helper has open.
enum Thing {
    Socket(UdpSocket),
    Sink(Arc<udp::Sink>),
    Counter(Arc<flood::Counter>),
    Probe(Arc<udp::Probe>),
    Server(Arc<tcp::Server>),
    Stream(TcpStream),
    /// Runs by itself; there is nothing to ask it.
    Echo,
}

#[derive(Default)]
struct Agent {
    things: BTreeMap<Handle, Thing>,
    next: u32,
}

/// Reads operations from stdin until it is closed.
///
/// # Errors
/// When stdin or stdout breaks.
pub fn serve() -> io::Result<()> {
    let mut agent = Agent::default();
    for line in io::stdin().lock().lines() {
        let reply = match serde_json::from_str(&line?) {
            Ok(op) => agent.handle(op).unwrap_or_else(|e| Reply::Failed(e.to_string())),
            Err(e) => Reply::Failed(e.to_string()),
        };
        let mut stdout = io::stdout().lock();
        serde_json::to_writer(&mut stdout, &reply)?;
        writeln!(stdout)?;
        stdout.flush()?;
    }
    Ok(())
}

impl Agent {
    fn handle(&mut self, op: Op) -> io::Result<Reply> {
        Ok(match op {
            Op::Hello => Reply::Done,
            Op::UdpSink { bind } => self.keep(Thing::Sink(udp::Sink::start(bind)?)),
            Op::UdpSinkReport { sink } => match self.get(sink)? {
                Thing::Sink(sink) => Reply::Sink(sink.report()),
                _ => return Err(wrong_kind()),
            },
            Op::UdpOpen { bind, connect } => self.keep(Thing::Socket(udp::open(bind, connect)?)),
            Op::UdpSend {
                socket,
                to,
                first,
                count,
                size,
            } => {
                let fresh;
                let socket = match socket {
                    Some(handle) => match self.get(handle)? {
                        Thing::Socket(socket) => socket,
                        _ => return Err(wrong_kind()),
                    },
                    None => {
                        fresh = udp::open(Some(udp::any_like(to)), None)?;
                        &fresh
                    }
                };
                Reply::Sent(udp::send(socket, to, first, count, size))
            }
            Op::UdpFlood(order) => Reply::Flooded(flood::send(&order)?),
            Op::UdpCount { bind, size, together } => {
                self.keep(Thing::Counter(flood::Counter::start(bind, size, together)?))
            }
            Op::UdpCounted { counter } => match self.get(counter)? {
                Thing::Counter(counter) => Reply::Counted(counter.counted()),
                _ => return Err(wrong_kind()),
            },
            Op::UdpEcho { bind } => {
                udp::echo(bind)?;
                self.keep(Thing::Echo)
            }
            Op::UdpAsk { socket, timeout_ms } => match self.get(socket)? {
                Thing::Socket(socket) => Reply::Asked(udp::ask(socket, timeout_ms)?),
                _ => return Err(wrong_kind()),
            },
            Op::TcpServe { bind } => self.keep(Thing::Server(tcp::Server::start(bind)?)),
            Op::TcpServerReport { server } => match self.get(server)? {
                Thing::Server(server) => Reply::Server(server.report()),
                _ => return Err(wrong_kind()),
            },
            Op::TcpOpen { from, to, timeout_ms } => {
                let (result, micros) = tcp::open(from, to, timeout_ms)?;
                let local = result.as_ref().ok().and_then(|stream| stream.local_addr().ok());
                let result = result.map(|stream| self.insert(Thing::Stream(stream)));
                Reply::Opened(super::Opened {
                    result,
                    micros,
                    local,
                })
            }
            Op::TcpExchange {
                stream,
                bytes,
                timeout_ms,
            } => match self.get(stream)? {
                Thing::Stream(stream) => Reply::Exchanged(tcp::exchange(stream, bytes, timeout_ms)?),
                _ => return Err(wrong_kind()),
            },
            Op::Close { handle } => {
                self.things.remove(&handle);
                Reply::Done
            }
            Op::Probe { to, interval_us } => self.keep(Thing::Probe(udp::Probe::start(to, interval_us)?)),
            Op::ProbeReport { probe } => match self.get(probe)? {
                Thing::Probe(probe) => Reply::Probed(probe.report()),
                _ => return Err(wrong_kind()),
            },
        })
    }

    fn insert(&mut self, thing: Thing) -> Handle {
        let handle = Handle(self.next);
        self.next += 1;
        self.things.insert(handle, thing);
        handle
    }

    fn keep(&mut self, thing: Thing) -> Reply {
        Reply::Handle(self.insert(thing))
    }

    fn get(&self, handle: Handle) -> io::Result<&Thing> {
        self.things
            .get(&handle)
            .ok_or_else(|| io::Error::other("no such handle"))
    }
}

fn wrong_kind() -> io::Error {
    io::Error::other("the handle is of another kind")
}

/// The name of an error as C has it, or `timeout`.
pub(super) fn name_of(error: &io::Error) -> String {
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut, Some(libc::ETIMEDOUT)) => {
            "ETIMEDOUT".to_owned()
        }
        (io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut, _) | (_, Some(libc::EINPROGRESS)) => {
            "timeout".to_owned()
        }
        (_, Some(code)) => format!("{:?}", nix::errno::Errno::from_raw(code)),
        (kind, None) => kind.to_string(),
    }
}
