//! A TCP proxy in user space that makes what clients send wait: how faults are injected by those who do not touch the
//! kernel. Two threads a direction: one reads, one writes when the time has come; up to 64 MiB wait between them.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

use crate::Netns;

const CHUNK: usize = 64 << 10;
const WAITING: usize = 1024;

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    over: Arc<AtomicBool>,
    netns: Netns,
    at: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// In a namespace, from `at` to `to`; what goes there waits for `latency`, what comes back does not.
    pub fn start(netns: &Netns, at: SocketAddr, to: SocketAddr, latency: Duration) -> Self {
        let listener = netns.enter(|| TcpListener::bind(at).expect("a free port"));
        let over = Arc::new(AtomicBool::new(false));
        let (stop, home) = (Arc::clone(&over), netns.clone());
        let thread = thread::spawn(move || {
            let handle = std::fs::File::open(home.path()).expect("a namespace with a handle is mounted");
            setns(&handle, CloneFlags::CLONE_NEWNET).expect("root may enter its own namespace");
            for client in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(server) = TcpStream::connect(to) else {
                    continue;
                };
                for stream in [&client, &server] {
                    stream.set_nodelay(true).expect("a TCP socket has it");
                }
                let twin = |stream: &TcpStream| stream.try_clone().expect("a descriptor is free");
                pass(twin(&client), twin(&server), latency);
                pass(server, client, Duration::ZERO);
            }
        });
        Self {
            over,
            netns: netns.clone(),
            at,
            thread: Some(thread),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes it.
        let woken = self.netns.enter(|| TcpStream::connect(self.at));
        drop(woken);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, latency: Duration) {
    let (sender, receiver) = sync_channel::<(Instant, Vec<u8>)>(WAITING);
    thread::spawn(move || {
        loop {
            let mut chunk = vec![0; CHUNK];
            match from.read(&mut chunk) {
                Ok(n) if n > 0 => {
                    chunk.truncate(n);
                    if sender.send((Instant::now() + latency, chunk)).is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    });
    thread::spawn(move || {
        for (due, chunk) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&chunk).is_err() {
                return;
            }
        }
        // The other end may have closed already.
        let _ = to.shutdown(Shutdown::Write);
    });
}
