//! The daemon's socket without any client between: for exact times, and for requests that no client would send.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::{Daemon, FaultFile};

/// Requests to one daemon.
#[derive(Clone, Debug)]
pub struct Api {
    socket: PathBuf,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Api {
    pub fn of(daemon: &Daemon) -> Self {
        Self {
            socket: daemon.socket(),
        }
    }

    /// One request on a connection of its own.
    pub fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send_raw(&[head(method, path, body).as_bytes(), body.as_bytes()], true)
    }

    /// These bytes as they are. Without `whole` the sending side is closed after them, as by a client that died.
    ///
    /// # Panics
    /// When the daemon does not answer within 30 seconds.
    pub fn send_raw(&self, parts: &[&[u8]], whole: bool) -> Answer {
        let mut stream = UnixStream::connect(&self.socket).expect("the daemon listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a timeout can be set");
        for part in parts {
            // A daemon that refuses early stops reading; its answer tells why.
            if stream.write_all(part).is_err() {
                break;
            }
        }
        if !whole {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        let mut answer = Vec::new();
        let mut chunk = [0; 65536];
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => answer.extend(&chunk[..n]),
                // Reset after an early refusal: what came before it counts.
                Err(_) if !answer.is_empty() => break,
                Err(error) => panic!("no answer: {error}"),
            }
        }
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0);
        Answer {
            status,
            body: body.to_owned(),
        }
    }

    /// A request to a daemon that may be dead, or die meanwhile; what it answers does not matter.
    pub fn try_send(&self, method: &str, path: &str, body: &str) {
        let _ = self.attempt(method, path, body);
    }

    /// What a daemon answers that may not be there.
    pub fn try_get(&self, path: &str) -> Option<Value> {
        let answer = self.attempt("GET", path, "").ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    /// [`Api::apply`] to a daemon that may die meanwhile.
    pub fn try_apply(&self, faults: &[FaultFile]) {
        let items: Vec<&Value> = faults.iter().map(FaultFile::value).collect();
        self.try_send("POST", "/v1/faults", &json!({"items": items}).to_string());
    }

    fn attempt(&self, method: &str, path: &str, body: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(head(method, path, body).as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// All of them in one request.
    pub fn apply(&self, faults: &[FaultFile]) -> Answer {
        let items: Vec<&Value> = faults.iter().map(FaultFile::value).collect();
        self.send("POST", "/v1/faults", &json!({"items": items}).to_string())
    }
}

fn head(method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: chaos\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    )
}
