//! Clients and servers of our own, for what needs exact counts: a helper process in a namespace and a cgroup, which
//! opens sockets and moves data as it is told. It is a process, not a thread, because the cgroup of a socket is that
//! of the process that opened it.

mod agent;
mod flood;
mod payload;
mod protocol;
mod tcp;
mod udp;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

pub use self::agent::serve;
pub use self::flood::{Counted, Flood, Flooded, Handing};
pub use self::protocol::{
    Asked, Exchanged, Handle, Op, Opened, Probed, Reply, Sample, Sent, ServerReport, SinkReport,
};
use crate::process::in_cgroup;
use crate::{Cgroup, Netns};

/// Longer than any single operation may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A helper process. It ends when dropped.
#[derive(Debug)]
pub struct Workload {
    child: Child,
    channel: Mutex<(ChildStdin, mpsc::Receiver<String>)>,
}

impl Workload {
    pub fn start(netns: &Netns, cgroup: Option<&Cgroup>) -> Self {
        let program = traffic_binary();
        Self::from_command(
            netns,
            &mut in_cgroup(cgroup, &[program.to_str().expect("a path of cargo's is text")]),
        )
    }

    /// A command whose stdin and stdout become those of a helper.
    pub(crate) fn from_command(netns: &Netns, command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = netns
            .enter(|| command.spawn())
            .expect("the helper can be started");
        let stdin = child.stdin.take().expect("stdin is a pipe");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let workload = Self {
            child,
            channel: Mutex::new((stdin, lines)),
        };
        // An answer shows that it has moved into its cgroup: before that it cannot read.
        assert!(
            matches!(workload.call(&Op::Hello), Reply::Done),
            "the helper answers"
        );
        workload
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// One operation. Operations of one helper run one after the other; sinks, servers and probes run beside them.
    #[track_caller]
    pub fn call(&self, op: &Op) -> Reply {
        let mut channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        let request = serde_json::to_string(op).expect("an operation is plain data");
        writeln!(channel.0, "{request}").expect("the helper reads");
        let line = channel
            .1
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|e| panic!("the helper is silent ({e}): {op:?}"));
        match serde_json::from_str(&line) {
            Ok(Reply::Failed(why)) => panic!("{op:?}: {why}"),
            Ok(reply) => reply,
            Err(e) => panic!("the helper's answer is odd ({e}): {line}"),
        }
    }

    /// Receives datagrams on `bind` and keeps account of them, until the workload ends.
    #[track_caller]
    pub fn udp_sink(&self, bind: SocketAddr) -> Handle {
        self.handle(&Op::UdpSink { bind })
    }

    #[track_caller]
    pub fn sink_report(&self, sink: Handle) -> SinkReport {
        match self.call(&Op::UdpSinkReport { sink }) {
            Reply::Sink(report) => report,
            other => panic!("odd answer: {other:?}"),
        }
    }

    /// Opens a UDP socket; a connected one is told of ICMP errors.
    #[track_caller]
    pub fn udp_open(&self, bind: Option<SocketAddr>, connect: Option<SocketAddr>) -> Handle {
        self.handle(&Op::UdpOpen { bind, connect })
    }

    /// Sends numbered datagrams from a fresh socket: numbers from 0, 64 bytes each, as fast as it can.
    #[track_caller]
    pub fn udp_send(&self, to: SocketAddr, count: u64) -> Sent {
        self.udp_send_from(None, to, 0, count, 64)
    }

    #[track_caller]
    pub fn udp_send_from(
        &self,
        socket: Option<Handle>,
        to: SocketAddr,
        first: u64,
        count: u64,
        size: usize,
    ) -> Sent {
        match self.call(&Op::UdpSend {
            socket,
            to,
            first,
            count,
            size,
        }) {
            Reply::Sent(sent) => sent,
            other => panic!("odd answer: {other:?}"),
        }
    }

    /// Sends many datagrams at a pace.
    #[track_caller]
    pub fn udp_flood(&self, flood: &Flood) -> Flooded {
        match self.call(&Op::UdpFlood(*flood)) {
            Reply::Flooded(flooded) => flooded,
            other => panic!("odd answer: {other:?}"),
        }
    }

    /// Counts the datagrams of a [`Workload::udp_flood`], until the workload ends; `together` asks the kernel for those of
    /// one flow in one piece, where it has them so (`UDP_GRO`).
    #[track_caller]
    pub fn udp_count(&self, bind: SocketAddr, size: usize, together: bool) -> Handle {
        self.handle(&Op::UdpCount { bind, size, together })
    }

    #[track_caller]
    pub fn udp_counted(&self, counter: Handle) -> Counted {
        match self.call(&Op::UdpCounted { counter }) {
            Reply::Counted(counted) => counted,
            other => panic!("odd answer: {other:?}"),
        }
    }

    /// Answers every datagram with itself, until the workload ends.
    #[track_caller]
    pub fn udp_echo(&self, bind: SocketAddr) -> Handle {
        self.handle(&Op::UdpEcho { bind })
    }

    /// Sends one datagram on a connected socket and waits for its echo.
    #[track_caller]
    pub fn udp_ask(&self, socket: Handle, timeout: Duration) -> Asked {
        match self.call(&Op::UdpAsk {
            socket,
            timeout_ms: millis(timeout),
        }) {
            Reply::Asked(asked) => asked,
            other => panic!("odd answer: {other:?}"),
        }
    }

    /// Accepts connections and echoes what they send, until the workload ends.
    #[track_caller]
    pub fn tcp_serve(&self, bind: SocketAddr) -> Handle {
        self.handle(&Op::TcpServe { bind })
    }

    #[track_caller]
    pub fn server_report(&self, server: Handle) -> ServerReport {
        match self.call(&Op::TcpServerReport { server }) {
            Reply::Server(report) => report,
            other => panic!("odd answer: {other:?}"),
        }
    }

    /// Opens a connection, from a given address and port if `from` says so.
    #[track_caller]
    pub fn tcp_open(&self, from: Option<SocketAddr>, to: SocketAddr, timeout: Duration) -> Opened {
        match self.call(&Op::TcpOpen {
            from,
            to,
            timeout_ms: millis(timeout),
        }) {
            Reply::Opened(opened) => opened,
            other => panic!("odd answer: {other:?}"),
        }
    }

    /// Sends `bytes` bytes on a connection and waits until as many have come back.
    #[track_caller]
    pub fn tcp_exchange(&self, stream: Handle, bytes: usize, timeout: Duration) -> Exchanged {
        match self.call(&Op::TcpExchange {
            stream,
            bytes,
            timeout_ms: millis(timeout),
        }) {
            Reply::Exchanged(exchanged) => exchanged,
            other => panic!("odd answer: {other:?}"),
        }
    }

    #[track_caller]
    pub fn close(&self, handle: Handle) {
        self.call(&Op::Close { handle });
    }

    /// Asks a UDP echo every `interval`, each with a number of its own, until [`Workload::close`].
    #[track_caller]
    pub fn probe(&self, to: SocketAddr, interval: Duration) -> Handle {
        self.handle(&Op::Probe {
            to,
            interval_us: u64::try_from(interval.as_micros()).unwrap_or(u64::MAX),
        })
    }

    /// What the probe has seen so far; it goes on.
    #[track_caller]
    pub fn probe_report(&self, probe: Handle) -> Probed {
        match self.call(&Op::ProbeReport { probe }) {
            Reply::Probed(report) => report,
            other => panic!("odd answer: {other:?}"),
        }
    }

    #[track_caller]
    fn handle(&self, op: &Op) -> Handle {
        match self.call(op) {
            Reply::Handle(handle) => handle,
            other => panic!("odd answer: {other:?}"),
        }
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The helper that makes traffic.
pub(crate) fn traffic_binary() -> PathBuf {
    helper_binary("chaos-traffic")
}

/// A helper lies beside the folder of the running test program, where cargo builds it for every test.
///
/// # Panics
/// When it is not there.
pub fn helper_binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a program knows its own file");
    test.ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("cargo builds the binary {name} with the tests"))
}
