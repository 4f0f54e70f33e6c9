//! Frames as they pass a device, by tcpdump.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::{Device, eventually};

/// A running capture of one device; ends when dropped.
///
/// Frames that a program drops at egress are not seen here, frames that one drops at ingress are: the capture's tap
/// sits between the hook and the wire.
#[derive(Debug)]
pub struct Capture {
    child: Child,
    frames: Arc<Mutex<Vec<Frame>>>,
}

/// A whole frame, beginning with its Ethernet header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Wall clock, nanoseconds since 1970.
    pub nanos: u64,
    pub bytes: Vec<u8>,
}

/// Which frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    In,
    Out,
    Both,
}

impl Capture {
    /// Starts one and waits until it runs. `filter` is a pcap expression, such as `udp port 53`.
    pub fn start(device: &Device, way: Way, filter: &str) -> Self {
        let way = match way {
            Way::In => "in",
            Way::Out => "out",
            Way::Both => "inout",
        };
        let mut command = Command::new("tcpdump");
        command
            .args([
                "-i",
                device.name(),
                "-Q",
                way,
                "-n",
                "-p",
                "-U",
                "-s",
                "0",
                "-B",
                "16384",
            ])
            .args([
                "--immediate-mode",
                "--time-stamp-precision=nano",
                "-Z",
                "root",
                "-w",
                "-",
                filter,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = device
            .netns()
            .enter(|| command.spawn())
            .expect("tcpdump is installed");
        let mut stdout = child.stdout.take().expect("stdout is a pipe");
        let mut stderr = child.stderr.take().expect("stderr is a pipe");
        let frames = Arc::new(Mutex::new(Vec::new()));
        let started = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&frames);
        thread::spawn(move || {
            let _ = read_pcap(&mut stdout, &sink);
        });
        let text = Arc::clone(&started);
        thread::spawn(move || {
            let mut chunk = [0; 256];
            while let Ok(n @ 1..) = stderr.read(&mut chunk) {
                lock(&text).push_str(&String::from_utf8_lossy(&chunk[..n]));
            }
        });
        let capture = Self { child, frames };
        eventually(Duration::from_secs(10), "tcpdump listens", || {
            lock(&started).contains("listening on")
        });
        capture
    }

    /// What has been seen so far.
    pub fn frames(&self) -> Vec<Frame> {
        lock(&self.frames).clone()
    }

    pub fn count(&self) -> usize {
        lock(&self.frames).len()
    }

    /// Waits until `n` frames have been seen, and returns all.
    #[track_caller]
    pub fn wait_for(&self, n: usize) -> Vec<Frame> {
        eventually(
            Duration::from_secs(10),
            &format!("{n} frames in the capture"),
            || self.count() >= n,
        );
        self.frames()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Frame {
    /// The payload of an untagged UDP datagram over IPv4 or IPv6 without options.
    pub fn udp_payload(&self) -> &[u8] {
        let l4 = if self.bytes[12..14] == [0x86, 0xdd] {
            54
        } else {
            34
        };
        &self.bytes[l4 + 8..]
    }

    /// The flags byte of an untagged TCP segment over IPv4 or IPv6 without options.
    pub fn tcp_flags(&self) -> u8 {
        let l4 = if self.bytes[12..14] == [0x86, 0xdd] {
            54
        } else {
            34
        };
        self.bytes[l4 + 13]
    }
}

fn read_pcap(from: &mut impl Read, sink: &Mutex<Vec<Frame>>) -> std::io::Result<()> {
    let mut header = [0; 24];
    from.read_exact(&mut header)?;
    loop {
        let mut record = [0_u8; 16];
        from.read_exact(&mut record)?;
        let word =
            |at: usize| u32::from_ne_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
        let mut bytes = vec![0; word(8) as usize];
        from.read_exact(&mut bytes)?;
        let nanos = u64::from(word(0)) * 1_000_000_000 + u64::from(word(4));
        lock(sink).push(Frame { nanos, bytes });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
