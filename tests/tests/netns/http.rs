//! What the tests of `http` faults stand on: a web server that keeps connections and writes down every request, clients
//! at the other end of a cable, and a daemon beside them.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chaos_tests::{
    Chaosctl, Daemon, FaultFile, Netns, Pair, Process, Snapshot, View, eventually, keep_running_without_tcx,
    patience, settled,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bed::{BRIEF, SOON};

/// Where the web server speaks plain HTTP/1.1.
pub(crate) const PORT: u16 = 8080;
/// Longer than any request here should take.
pub(crate) const LATE: Duration = Duration::from_secs(10);

/// The answer that most tests ask for, and how it must look on the wire.
pub(crate) fn unavailable() -> Value {
    json!({"status": 503, "headers": {"Retry-After": "5", "X-Why": "a drill"}, "body": "try later\n"})
}

pub(crate) const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\n\
     Retry-After: 5\r\n\
     X-Why: a drill\r\n\
     Content-Type: text/plain; charset=utf-8\r\n\
     Content-Length: 10\r\n\
     Connection: close\r\n\
     \r\n\
     try later\n";

/// Sets fields of a fault.
pub(crate) fn with(mut fault: Value, fields: Value) -> Value {
    for (name, value) in fields.as_object().expect("fields") {
        fault[name] = value.clone();
    }
    fault
}

/// At its end the daemon must stop in order, and both ends of the cable must be as they were.
pub(crate) struct Site {
    pub(crate) web: Nginx,
    pub(crate) daemon: Daemon,
    pub(crate) ctl: Chaosctl,
    before: Snapshot,
    pub(crate) net: Pair,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::serving(
            "server { listen 8080; listen [::]:8080; location / { return 200 \"served $request_uri\\n\"; } }",
        )
    }

    /// With these `server` blocks of nginx, in which `AT` stands for its folder.
    pub(crate) fn serving(servers: &str) -> Self {
        Self::prepared(servers, |_| {})
    }

    /// The same, with something done to the folder before nginx starts.
    pub(crate) fn prepared(servers: &str, prepare: impl FnOnce(&Path)) -> Self {
        let net = Pair::new();
        for device in [&net.client.device, &net.server.device] {
            keep_running_without_tcx(device);
        }
        let web = Nginx::start(&net.server.netns, PORT, servers, prepare);
        let before = Snapshot::of_devices(&[&net.client.device, &net.server.device]);
        let daemon = Daemon::start();
        Self {
            web,
            ctl: daemon.ctl(),
            daemon,
            before,
            net,
        }
    }

    /// An `http` fault on what the client sends to the server's ports.
    pub(crate) fn fault(&self, name: &str, http: Value) -> FaultFile {
        self.fault_on(name, http, PORT)
    }

    pub(crate) fn fault_on(&self, name: &str, http: Value, port: u16) -> FaultFile {
        FaultFile::on_netns(name, &self.net.client.netns, json!({"http": http}))
            .traffic(json!({"protocol": "tcp", "remote": {"ports": [port]}}))
            .seed(1)
    }

    /// The same on what reaches the server.
    pub(crate) fn fault_at_server(&self, name: &str, http: Value) -> FaultFile {
        FaultFile::on_netns(name, &self.net.server.netns, json!({"http": http}))
            .traffic(json!({"direction": "ingress", "protocol": "tcp", "local": {"ports": [PORT]}}))
            .seed(1)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.net.server.at(PORT))
    }

    pub(crate) fn url6(&self, path: &str) -> String {
        format!("http://{}{path}", self.net.server.at6(PORT))
    }

    /// curl at the client, with these words; it must come to an end.
    pub(crate) fn try_curl(&self, words: &[&str]) -> Curled {
        let mut argv = vec!["curl", "-sS", "-i", "--max-time", "20"];
        argv.extend(words);
        let ended = Process::spawn(&self.net.client.netns, None, &argv).finish(LATE * 3);
        Curled {
            code: ended.status.code().unwrap_or(-1),
            text: ended.stdout,
            error: ended.stderr,
        }
    }

    /// The same, when it must succeed: status line, headers and body as they came.
    #[track_caller]
    pub(crate) fn curl(&self, words: &[&str]) -> Reply {
        let curled = self.try_curl(words);
        assert_eq!(curled.code, 0, "curl {}: {curled}", words.join(" "));
        Reply::read(&mut curled.text.as_bytes(), false).unwrap_or_else(|error| panic!("{error}: {curled}"))
    }

    /// The status that a request without anything special gets.
    #[track_caller]
    pub(crate) fn status(&self, path: &str) -> u16 {
        self.curl(&[&self.url(path)]).status
    }

    /// A connection by hand.
    pub(crate) fn connect(&self, to: SocketAddr) -> Wire {
        Wire::open(&self.net.client.netns, to)
    }

    /// Deletes the fault, and expects the devices to be as they were. Returns its last state.
    #[track_caller]
    pub(crate) fn delete(&self, name: &str) -> View {
        self.ctl.delete(name);
        let view = self.ctl.wait_for_phase(name, "Ended");
        assert_eq!(view.reason(), "Deleted", "{}", view.0);
        view
    }

    /// Both namespaces have no connection that waits for something which will not come.
    #[track_caller]
    pub(crate) fn assert_nothing_hangs(&self) {
        for netns in [&self.net.client.netns, &self.net.server.netns] {
            eventually(
                LATE,
                &format!("all connections are over: {:#?}", unfinished(netns)),
                || unfinished(netns).is_empty(),
            );
        }
    }

    /// How the devices are now is how they must be at the end, for the test has set them up like this.
    pub(crate) fn remember(&mut self) {
        self.before = Snapshot::of_devices(&[&self.net.client.device, &self.net.server.device]);
    }

    pub(crate) fn assert_untouched(&self) {
        let now = || Snapshot::of_devices(&[&self.net.client.device, &self.net.server.device]);
        if now() != self.before {
            // The kernel lets go of a detached program a moment later.
            settled(BRIEF, || now() == self.before);
            now().assert_same_as(&self.before);
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.daemon.stop_well();
            self.assert_untouched();
        }
    }
}

/// Connections that are neither over nor waiting for their number to be free again.
pub(crate) fn unfinished(netns: &Netns) -> Vec<String> {
    let text = netns.run(&["ss", "-tanH"]);
    let over = |line: &&str| !line.starts_with("LISTEN") && !line.starts_with("TIME-WAIT");
    text.lines().filter(over).map(str::to_owned).collect()
}

/// nginx that keeps connections.
pub(crate) struct Nginx {
    pub(crate) folder: TempDir,
    _process: Process,
}

/// A request that the server has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) status: u16,
    /// Number of its connection, and its own in that.
    pub(crate) connection: u64,
    pub(crate) nth: u64,
    /// Length of its body.
    pub(crate) body: u64,
}

impl Nginx {
    pub(crate) fn start(netns: &Netns, port: u16, servers: &str, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let at = folder.path().display().to_string();
        prepare(folder.path());
        let conf = format!(
            "daemon off; master_process off; pid AT/pid; error_log AT/error.log;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ log_format seen '$request_method $request_uri $status $connection $connection_requests $request_length';\n\
             access_log AT/access.log seen; keepalive_timeout 60s; keepalive_requests 1000000; lingering_close off;\n\
             client_max_body_size 20m; default_type text/plain;\n\
             client_body_temp_path AT/b; proxy_temp_path AT/p; fastcgi_temp_path AT/f; uwsgi_temp_path AT/u; scgi_temp_path AT/s;\n\
             {servers} }}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, conf.replace("AT/", &format!("{at}/"))).expect("writes");
        // Files are read by a worker that gave up root, where there is one.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("chmod");
        let conf = file.display().to_string();
        let process =
            Process::spawn(netns, None, &["nginx", "-c", &conf, "-e", "stderr"]).listens(netns, port);
        Self {
            folder,
            _process: process,
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// All that it has answered so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let text = std::fs::read_to_string(self.file("access.log")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(Seen::read).collect()
    }

    /// Waits until it has answered `count`, and no more come.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Seen> {
        eventually(SOON, &format!("{count} requests: {:?}", self.seen()), || {
            self.seen().len() >= count
        });
        let seen = self.seen();
        assert_eq!(seen.len(), count, "{seen:#?}");
        seen
    }

    pub(crate) fn uris(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.uri).collect()
    }
}

impl Seen {
    fn read(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| {
            words
                .get(at)
                .and_then(|word| word.parse::<u64>().ok())
                .unwrap_or_else(|| panic!("an odd line in the log: {line}"))
        };
        Self {
            method: words[0].to_owned(),
            uri: words[1].to_owned(),
            status: number(2) as u16,
            connection: number(3),
            nth: number(4),
            body: number(5),
        }
    }
}

/// What curl came to.
pub(crate) struct Curled {
    pub(crate) code: i32,
    pub(crate) text: String,
    pub(crate) error: String,
}

impl fmt::Display for Curled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}\n{}{}", self.code, self.text, self.error)
    }
}

/// An answer, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    /// Reads one; with `bare`, one that has no body, as to a HEAD request.
    fn read(from: &mut impl io::Read, bare: bool) -> io::Result<Self> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            from.read_exact(&mut byte).map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("after {:?}: {error}", String::from_utf8_lossy(&head)),
                )
            })?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| io::Error::other(format!("no status: {head}")))?;
        let length = header(&head, "content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; if bare { 0 } else { length.unwrap_or(0) }];
        from.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Self { status, head, body })
    }

    /// One of several that came one after the other.
    #[track_caller]
    pub(crate) fn read_one(from: &mut impl io::Read) -> Self {
        Self::read(from, false).expect("an answer")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// All of it.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.head, self.body)
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(have, _)| have.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// A connection by hand.
#[derive(Debug)]
pub(crate) struct Wire(pub(crate) TcpStream);

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// In order.
    Closed,
    Reset,
}

impl Wire {
    pub(crate) fn open(netns: &Netns, to: SocketAddr) -> Self {
        let stream = netns
            .enter(|| TcpStream::connect_timeout(&to, patience(LATE)))
            .unwrap_or_else(|error| panic!("{to}: {error}"));
        Self::over(stream)
    }

    /// From a port of the client's choice.
    pub(crate) fn open_from(netns: &Netns, port: u16, to: SocketAddr) -> Self {
        use nix::sys::socket::{
            AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
        };
        use std::os::fd::AsRawFd as _;
        let (family, any) = if to.is_ipv4() {
            (AddressFamily::Inet, SocketAddr::from(([0; 4], port)))
        } else {
            (AddressFamily::Inet6, SocketAddr::from(([0_u16; 8], port)))
        };
        let stream = netns.enter(|| {
            let socket =
                socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket can be made");
            setsockopt(&socket, sockopt::ReuseAddr, &true).expect("an option can be set");
            bind(socket.as_raw_fd(), &SockaddrStorage::from(any)).expect("the port is free");
            connect(socket.as_raw_fd(), &SockaddrStorage::from(to)).expect("the server listens");
            TcpStream::from(socket)
        });
        Self::over(stream)
    }

    fn over(stream: TcpStream) -> Self {
        stream
            .set_read_timeout(Some(patience(LATE)))
            .expect("a timeout can be set");
        stream.set_nodelay(true).expect("an option can be set");
        Self(stream)
    }

    /// Dropped, it is gone without a farewell.
    pub(crate) fn reset_on_close(&self) {
        let now = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        nix::sys::socket::setsockopt(&self.0, nix::sys::socket::sockopt::Linger, &now)
            .expect("an option can be set");
    }

    /// Whether something has come that was not read yet.
    pub(crate) fn has_data(&self) -> bool {
        self.0.set_nonblocking(true).expect("an option can be set");
        let there = self.0.peek(&mut [0]).is_ok();
        self.0.set_nonblocking(false).expect("an option can be set");
        there
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.0
            .write_all(text.as_bytes())
            .expect("the connection takes it");
    }

    /// A request without a body.
    pub(crate) fn ask(&mut self, method: &str, path: &str) {
        self.say(&format!("{method} {path} HTTP/1.1\r\nHost: shop.test\r\n\r\n"));
    }

    #[track_caller]
    pub(crate) fn reply(&mut self) -> Reply {
        Reply::read(&mut self.0, false).expect("an answer")
    }

    /// To a HEAD request.
    #[track_caller]
    pub(crate) fn bare_reply(&mut self) -> Reply {
        Reply::read(&mut self.0, true).expect("an answer")
    }

    /// What comes before the end, and how that comes.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> (String, End) {
        let mut text = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            match self.0.read(&mut chunk) {
                Ok(0) => return (String::from_utf8_lossy(&text).into_owned(), End::Closed),
                Ok(n) => text.extend(&chunk[..n]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return (String::from_utf8_lossy(&text).into_owned(), End::Reset);
                }
                Err(error) => panic!("no end after {:?}: {error}", String::from_utf8_lossy(&text)),
            }
        }
    }

    /// Nothing more comes, and it ends in order.
    #[track_caller]
    pub(crate) fn assert_closed(&mut self) {
        assert_eq!(self.rest(), (String::new(), End::Closed));
    }
}
