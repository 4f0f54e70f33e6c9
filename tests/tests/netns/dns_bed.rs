//! A real name server at one end of the cable, and those who ask it at the other.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use chaos_tests::dns::long_name;
use chaos_tests::{FaultFile, Netns, Process, eventually, patience};
use serde_json::{Value, json};

use crate::bed::{Bed, SOON};

/// What the server knows: names, and its time to live, which no fault of ours gives.
pub(crate) const DB: &str = "db.example.test";
pub(crate) const OTHER: &str = "other.example.test";
const SERVED_TTL: u32 = 77;

/// Fields are dropped in this order: the server before its namespace.
pub(crate) struct DnsBed {
    servers: Vec<Process>,
    _hosts: tempfile::NamedTempFile,
    pub(crate) bed: Bed,
}

/// One of the four ways to ask: where the fault is, and where the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) direction: &'static str,
    pub(crate) server: SocketAddr,
}

/// A name that is as long as one may be.
pub(crate) fn longest() -> String {
    long_name(255, "example.test")
}

/// A dnsmasq that listens, and knows what its arguments say and nothing of the machine.
pub(crate) fn dnsmasq(netns: &Netns, port: u16, arguments: &[&str]) -> Process {
    let port_argument = format!("--port={port}");
    let alone = [
        "dnsmasq",
        "--keep-in-foreground",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
        "--pid-file=",
        "--conf-file=/dev/null",
        "--bind-interfaces",
        &port_argument,
    ];
    Process::spawn(netns, None, &[&alone, arguments].concat()).listens(netns, port)
}

impl DnsBed {
    /// Servers on both addresses, on port 53 and on 5300.
    pub(crate) fn new() -> Self {
        let bed = Bed::new();
        let mut hosts = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        let text = format!(
            "10.77.0.9 {DB}\nfd77::9 {DB}\n10.77.0.8 {OTHER}\nfd77::8 {OTHER}\n10.77.0.7 {}\n",
            longest()
        );
        std::io::Write::write_all(&mut hosts, text.as_bytes()).expect("writes");
        let server = &bed.net.server;
        let servers = [53, 5300]
            .map(|port| {
                dnsmasq(
                    &server.netns,
                    port,
                    &[
                        &format!("--local-ttl={SERVED_TTL}"),
                        "--log-queries",
                        "--log-facility=-",
                        &format!("--listen-address={}", server.v4),
                        &format!("--listen-address={}", server.v6),
                        "--local=/test/",
                        &format!("--txt-record={DB},served"),
                        &format!("--mx-host={DB},mail.{DB},10"),
                        &format!("--addn-hosts={}", hosts.path().display()),
                    ],
                )
            })
            .into();
        Self {
            servers,
            _hosts: hosts,
            bed,
        }
    }

    /// Over both families, as questions leave the client and as they reach the server.
    pub(crate) fn ways(&self) -> [Way; 4] {
        let server = &self.bed.net.server;
        [
            ("egress", server.at(53)),
            ("egress", server.at6(53)),
            ("ingress", server.at(53)),
            ("ingress", server.at6(53)),
        ]
        .map(|(direction, server)| Way { direction, server })
    }

    /// A fault on one side.
    pub(crate) fn on(&self, direction: &str, name: &str, dns: Value) -> FaultFile {
        let fault = json!({"dns": dns});
        let file = if direction == "egress" {
            self.bed.on_client(name, fault)
        } else {
            self.bed.on_server(name, fault)
        };
        file.traffic(json!({"direction": direction}))
    }

    /// A fault where questions leave.
    pub(crate) fn on_client(&self, name: &str, dns: Value) -> FaultFile {
        self.on("egress", name, dns)
    }

    /// Asks the server on 10.77.0.2, port 53.
    pub(crate) fn ask(&self, name: &str, kind: &str) -> Dig {
        self.ask_at(self.bed.net.server.at(53), name, kind, &[])
    }

    /// Asks with dig.
    pub(crate) fn ask_at(&self, server: SocketAddr, name: &str, kind: &str, more: &[&str]) -> Dig {
        dig(&self.bed.net.client.netns, server, name, kind, more)
    }

    /// How many questions for a name both servers have been asked so far, in whatever case.
    pub(crate) fn asked(&self, name: &str) -> usize {
        let about = format!(" {} from ", name.to_lowercase());
        self.servers
            .iter()
            .map(|server| {
                let log = server.stderr().to_lowercase();
                log.lines()
                    .filter(|line| line.contains("query[") && line.contains(&about))
                    .count()
            })
            .sum()
    }

    /// A socket of the client.
    pub(crate) fn asker(&self, server: SocketAddr) -> Asker {
        Asker::new(&self.bed.net.client.netns, server)
    }
}

/// What dig has said.
#[derive(Debug)]
pub(crate) struct Dig {
    pub(crate) text: String,
    pub(crate) elapsed: Duration,
}

/// One try of at most a second.
pub(crate) fn dig(netns: &Netns, server: SocketAddr, name: &str, kind: &str, more: &[&str]) -> Dig {
    let (at, port) = (format!("@{}", server.ip()), server.port().to_string());
    let mut argv = vec!["dig", &at, "-p", &port, "+tries=1", "+time=1"];
    argv.extend(more);
    argv.extend(["-q", name, "-t", kind]);
    let begun = std::time::Instant::now();
    let process = Process::spawn(netns, None, &argv);
    let finished = process.finish(Duration::from_secs(10));
    let dig = Dig {
        text: finished.stdout,
        elapsed: begun.elapsed(),
    };
    for complaint in ["malformed", "mismatch", "unexpected source", "BADCOOKIE"] {
        assert!(!dig.text.contains(complaint), "{dig:?}");
    }
    dig
}

impl Dig {
    /// `NXDOMAIN`, or what else stands in the header; `timeout` without any.
    pub(crate) fn status(&self) -> &str {
        if let Some((_, rest)) = self.text.split_once("status: ") {
            rest.split(',').next().unwrap_or_default()
        } else if self.text.contains("timed out") || self.text.contains("no servers could be reached") {
            "timeout"
        } else {
            "?"
        }
    }

    pub(crate) fn flags(&self) -> BTreeSet<&str> {
        self.text
            .split_once(";; flags: ")
            .and_then(|(_, rest)| rest.split(';').next())
            .map(|flags| flags.split(' ').filter(|flag| !flag.is_empty()).collect())
            .unwrap_or_default()
    }

    /// Type and data of each record of the answer, sorted.
    pub(crate) fn records(&self) -> Vec<(&str, &str)> {
        let mut records: Vec<_> = self.fields().map(|fields| (fields[3], fields[4])).collect();
        records.sort_unstable();
        records
    }

    /// Times to live of the records.
    pub(crate) fn ttls(&self) -> BTreeSet<&str> {
        self.fields().map(|fields| fields[1]).collect()
    }

    fn fields(&self) -> impl Iterator<Item = Vec<&str>> {
        let answer = self.text.split_once(";; ANSWER SECTION:\n");
        answer
            .and_then(|(_, rest)| rest.split("\n\n").next())
            .unwrap_or_default()
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|fields| fields.len() >= 5)
    }

    /// It is what the server says.
    #[track_caller]
    pub(crate) fn assert_served(&self, what: &str) {
        assert_eq!(self.status(), "NOERROR", "{what}: {self:?}");
        assert!(!self.records().is_empty(), "{what}: {self:?}");
        assert_eq!(self.ttls(), BTreeSet::from(["77"]), "{what}: {self:?}");
    }
}

/// A socket that asks by bytes.
pub(crate) struct Asker {
    socket: UdpSocket,
}

impl Asker {
    pub(crate) fn new(netns: &Netns, server: SocketAddr) -> Self {
        let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        Self::bound(netns, any.parse().expect("an address"), Some(server))
    }

    /// From a given place, and of whoever answers.
    pub(crate) fn bound(netns: &Netns, from: SocketAddr, server: Option<SocketAddr>) -> Self {
        let socket = netns.enter(|| UdpSocket::bind(from)).expect("it is free");
        if let Some(server) = server {
            socket.connect(server).expect("there is a way");
        }
        Self { socket }
    }

    pub(crate) fn send(&self, message: &[u8]) {
        self.socket.send(message).expect("it is sent");
    }

    /// The next message within so long.
    pub(crate) fn receive(&self, within: Duration) -> Option<Vec<u8>> {
        self.socket
            .set_read_timeout(Some(patience(within)))
            .expect("a time above zero");
        let mut buffer = [0; 65536];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(buffer[..length].to_vec())
    }

    pub(crate) fn ask(&self, message: &[u8], within: Duration) -> Option<Vec<u8>> {
        self.send(message);
        self.receive(within)
    }
}

/// A server that keeps what it is asked, and answers it with the code 9, which nobody else gives.
pub(crate) struct Witness {
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a [`Witness`] answers.
pub(crate) const WITNESS_CODE: u8 = 9;

impl Witness {
    pub(crate) fn start(netns: &Netns, at: SocketAddr) -> Self {
        let socket = netns.enter(|| UdpSocket::bind(at)).expect("it is free");
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .expect("a time above zero");
        let (seen, over) = (
            Arc::<Mutex<Vec<Vec<u8>>>>::default(),
            Arc::<AtomicBool>::default(),
        );
        let (kept, ends) = (Arc::clone(&seen), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while !ends.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                let mut message = buffer[..length].to_vec();
                kept.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(message.clone());
                if let Some(byte) = message.get_mut(3) {
                    *byte = *byte & 0xf0 | WITNESS_CODE;
                }
                // Its asker may have gone.
                let _ = socket.send_to(&message, from);
            }
        });
        Self {
            seen,
            over,
            thread: Some(thread),
        }
    }

    pub(crate) fn seen(&self) -> Vec<Vec<u8>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Vec<u8>> {
        eventually(SOON, &format!("{count} messages at the witness"), || {
            self.seen().len() >= count
        });
        self.seen()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What programs under `ip netns exec` find as /etc/resolv.conf; gone when dropped.
pub(crate) struct ResolvConf(PathBuf);

impl ResolvConf {
    pub(crate) fn new(netns: &Netns, text: &str) -> Self {
        let folder = Path::new("/etc/netns").join(netns.name());
        std::fs::create_dir_all(&folder).expect("root may write /etc");
        let guard = Self(folder);
        guard.write(text);
        guard
    }

    pub(crate) fn write(&self, text: &str) {
        std::fs::write(self.0.join("resolv.conf"), text).expect("the folder is there");
    }
}

impl Drop for ResolvConf {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
        // With the last of them; others may still have theirs.
        let _ = std::fs::remove_dir("/etc/netns");
    }
}
