//! The real binary against a daemon that says whatever a test wants.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

/// One request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path == path
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("the client sends JSON")
    }
}

/// What the daemon answers.
pub(crate) enum Reply {
    Json(u16, Value),
    /// These very bytes, then the end of the connection.
    Raw(String),
    /// Nothing, while the connection stays open.
    Hang,
    /// The same until another request has been answered, and then this.
    Late(u16, Value),
}

/// Listens at a socket of its own until the test ends.
pub(crate) struct FakeDaemon {
    dir: TempDir,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl FakeDaemon {
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + 'static) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(dir.path().join("api.sock")).expect("a socket");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        thread::spawn(move || {
            let mut hanging = Vec::new();
            let mut late: Vec<(UnixStream, String)> = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let Some(request) = read_request(&mut stream) else {
                    continue;
                };
                log.lock().expect("the log").push(request.clone());
                match answer(&request) {
                    Reply::Json(status, value) => drop(stream.write_all(response(status, &value).as_bytes())),
                    Reply::Raw(text) => drop(stream.write_all(text.as_bytes())),
                    Reply::Hang => hanging.push(stream),
                    Reply::Late(status, value) => {
                        late.push((stream, response(status, &value)));
                        continue;
                    }
                }
                for (mut stream, text) in late.drain(..) {
                    drop(stream.write_all(text.as_bytes()));
                }
            }
        });
        Self { dir, requests }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("api.sock")
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("the log").clone()
    }

    pub(crate) fn saw(&self, method: &str, path: &str) -> bool {
        self.requests().iter().any(|request| request.is(method, path))
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        run(&self.socket(), args)
    }
}

fn response(status: u16, value: &Value) -> String {
    let body = value.to_string();
    let kind = if status < 400 {
        "application/json"
    } else {
        "application/problem+json"
    };
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn read_request(stream: &mut UnixStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read(&mut chunk).ok()? {
            0 => return None,
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            value.trim().parse::<usize>().ok()
        } else {
            None
        }
    });
    let mut body = bytes[end..].to_vec();
    while body.len() < length.unwrap_or(0) {
        match stream.read(&mut chunk).ok()? {
            0 => return None,
            count => body.extend_from_slice(&chunk[..count]),
        }
    }
    let mut words = head.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    Some(Request {
        method,
        path,
        head,
        body: String::from_utf8(body).ok()?,
    })
}

/// How a run of chaosctl ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("ended by itself"),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

impl Ran {
    /// Checks the exit code, and that stderr has each of these texts.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, stderr: &[&str]) -> &Self {
        assert_eq!(self.code, code, "{self:#?}");
        for text in stderr {
            assert!(self.stderr.contains(text), "no {text:?} in {}", self.stderr);
        }
        self
    }

    /// Checks that it went well and what it printed.
    #[track_caller]
    pub(crate) fn prints(&self, stdout: &str) {
        assert_eq!(self.code, 0, "{self:#?}");
        assert_eq!(self.stdout, stdout, "stderr: {}", self.stderr);
    }
}

/// chaosctl with a clean environment and this socket.
pub(crate) fn chaosctl(socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaosctl"));
    command
        .env_remove("NO_COLOR")
        .env("CHAOS_SOCKET", socket)
        .stdin(Stdio::null());
    command
}

pub(crate) fn run(socket: &Path, args: &[&str]) -> Ran {
    chaosctl(socket)
        .args(args)
        .output()
        .expect("chaosctl runs")
        .into()
}

/// Without a daemon: the socket does not exist.
pub(crate) fn run_alone(args: &[&str]) -> Ran {
    run(Path::new("/nonexistent/api.sock"), args)
}

/// A file to pass with -f, and its directory.
pub(crate) fn file(name: &str, text: &str) -> (TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(name);
    std::fs::write(&path, text).expect("a file");
    let path = path.to_str().expect("UTF-8").to_owned();
    (dir, path)
}

/// A good fault.
pub(crate) const DROP: &str = "\
apiVersion: chaos-daemon.dev/v1alpha1
kind: NetworkFault
metadata: {name: lossy-orders}
spec:
  target:
    cgroup: /system.slice/orders.service
  traffic:
    protocol: tcp
    remote: {ports: [5432]}
  fault:
    drop: {chance: 30%}
  duration: 5m
";

/// What the daemon says about a fault that runs.
pub(crate) fn view(name: &str) -> Value {
    serde_json::json!({
        "metadata": {"name": name},
        "spec": {
            "target": {"cgroup": "/system.slice/orders.service"},
            "traffic": {"protocol": "tcp", "remote": {"ports": [5432]}},
            "fault": {"drop": {"chance": "30%"}},
            "duration": "5m"
        },
        "status": {
            "phase": "Active",
            "startedAt": "2024-05-01T10:00:00Z",
            "endsAt": "2999-05-01T10:05:00Z",
            "seed": 42,
            "packets": {"matched": 120, "passed": 84, "dropped": 36},
            "attachments": [
                {"netns": "host", "interface": "eth0", "hook": "tc-egress", "mode": "tcx"},
                {"netns": "host", "interface": "eth1", "hook": "tc-egress", "mode": "tcx"}
            ],
            "warnings": []
        }
    })
}

/// The same after its end.
pub(crate) fn ended(name: &str, reason: &str) -> Value {
    let mut view = view(name);
    view["status"]["phase"] = "Ended".into();
    view["status"]["reason"] = reason.into();
    view["status"]["endedAt"] = "2024-05-01T10:05:00Z".into();
    view
}

pub(crate) fn list(items: &[Value]) -> Value {
    serde_json::json!({ "items": items })
}

pub(crate) fn not_found() -> Reply {
    problem(404, "about:blank", "no such fault", &[])
}

pub(crate) fn problem(status: u16, kind: &str, detail: &str, errors: &[Value]) -> Reply {
    let title = "refused";
    let body = serde_json::json!({
        "type": kind, "title": title, "status": status, "detail": detail, "errors": errors
    });
    Reply::Json(status, body)
}
