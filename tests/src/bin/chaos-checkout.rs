//! A small shop's checkout, to experiment on: it charges a payment provider over HTTP. What the provider does not take
//! waits in a queue until it does.
//!
//! | request | answer |
//! |---|---|
//! | `GET /checkout` | a new order: 200 when it is paid, 202 when it is queued |
//! | `GET /queueing` | 200 while orders go to the queue, else 503 |
//! | `GET /orders/complete` | 200 while every accepted order is paid or in the queue, else 500 |
//!
//! Orders are empty files, named by their number, in the folders `accepted`, `queue` and `paid`, so that anybody can count
//! them. An order is on record before its customer is told that it is accepted.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long the provider may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the oldest order in the queue is tried again.
const RETRY: Duration = Duration::from_millis(50);
/// How long one order in the queue means that orders go there.
const SWITCHED: Duration = Duration::from_secs(1);

/// What becomes of an order that the provider does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnFailure {
    /// It is queued, as it should be.
    Queue,
    /// It is said to be queued, and forgotten.
    Forget,
    /// The customer is told to go away.
    Fail,
}

struct Shop {
    provider: SocketAddr,
    folder: PathBuf,
    on_failure: OnFailure,
    next: AtomicU64,
    queued_at: Mutex<Option<Instant>>,
    /// Connections to the provider that may be used again.
    kept: Mutex<Vec<BufReader<TcpStream>>>,
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [listen, provider, folder, on_failure] = words.as_slice() else {
        bail!("usage: chaos-checkout LISTEN PROVIDER FOLDER queue|forget|fail");
    };
    let on_failure = match on_failure.as_str() {
        "queue" => OnFailure::Queue,
        "forget" => OnFailure::Forget,
        "fail" => OnFailure::Fail,
        other => bail!("`{other}` is none of queue, forget, fail"),
    };
    let shop = Shop {
        provider: provider.parse().context("the provider's address")?,
        folder: folder.into(),
        on_failure,
        next: AtomicU64::new(1),
        queued_at: Mutex::default(),
        kept: Mutex::default(),
    };
    for name in ["accepted", "queue", "paid"] {
        fs::create_dir_all(shop.folder.join(name))?;
    }
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    thread::scope(|scope| -> Result<()> {
        scope.spawn(|| shop.drain());
        for stream in listener.incoming() {
            let stream = stream.context("cannot accept")?;
            let shop = &shop;
            scope.spawn(move || {
                // A customer who has gone has been told, or does not want to be.
                let _ = shop.serve(stream);
            });
        }
        Ok(())
    })
}

impl Shop {
    /// One connection of a customer.
    fn serve(&self, stream: TcpStream) -> Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        loop {
            let Some(head) = head(&mut reader)? else {
                return Ok(());
            };
            let path = head.split(' ').nth(1).unwrap_or_default();
            let (status, body) = match path {
                "/checkout" => self.checkout()?,
                "/queueing" if self.is_queueing() => ("200 OK", "orders are queued".to_owned()),
                "/queueing" => ("503 Service Unavailable", "orders are paid at once".to_owned()),
                "/orders/complete" => self.complete()?,
                _ => ("404 Not Found", String::new()),
            };
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}"
            )?;
        }
    }

    fn checkout(&self) -> Result<(&'static str, String)> {
        let order = self.next.fetch_add(1, Ordering::Relaxed);
        let paid = self.charge(order).is_ok();
        match (paid, self.on_failure) {
            (true, _) => self.put("paid", order)?,
            (false, OnFailure::Fail) => return Ok(("502 Bad Gateway", format!("order {order}: no"))),
            (false, OnFailure::Queue) => self.put("queue", order)?,
            (false, OnFailure::Forget) => {}
        }
        self.put("accepted", order)?;
        if paid {
            return Ok(("200 OK", format!("order {order} is paid")));
        }
        *lock(&self.queued_at) = Some(Instant::now());
        Ok(("202 Accepted", format!("order {order} is queued")))
    }

    fn is_queueing(&self) -> bool {
        lock(&self.queued_at).is_some_and(|at| at.elapsed() < SWITCHED)
    }

    /// Whether each order that was accepted is somewhere.
    fn complete(&self) -> Result<(&'static str, String)> {
        // In the order in which an order moves, so that none is missed on its way.
        let [accepted, queue, paid] =
            ["accepted", "queue", "paid"].map(|name| orders(&self.folder.join(name)));
        let (accepted, queue, paid) = (accepted?, queue?, paid?);
        let lost = accepted
            .iter()
            .filter(|order| !queue.contains(order) && !paid.contains(order))
            .count();
        let text = format!(
            "accepted {}, queued {}, paid {}, lost {lost}",
            accepted.len(),
            queue.len(),
            paid.len()
        );
        Ok((
            if lost == 0 {
                "200 OK"
            } else {
                "500 Internal Server Error"
            },
            text,
        ))
    }

    /// Pays what is in the queue, the oldest order first, as long as the provider takes it.
    fn drain(&self) {
        loop {
            let waiting = orders(&self.folder.join("queue")).unwrap_or_default();
            for order in waiting {
                if self.charge(order).is_err() {
                    break;
                }
                let (from, to) = (self.place("queue", order), self.place("paid", order));
                if let Err(error) = fs::rename(&from, &to) {
                    eprintln!("order {order} is paid, but still in the queue: {error}");
                }
            }
            thread::sleep(RETRY);
        }
    }

    fn place(&self, folder: &str, order: u64) -> PathBuf {
        self.folder.join(folder).join(order.to_string())
    }

    fn put(&self, folder: &str, order: u64) -> io::Result<()> {
        fs::write(self.place(folder, order), "")
    }

    /// Has the provider take the money.
    fn charge(&self, order: u64) -> Result<()> {
        let kept = lock(&self.kept).pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect_timeout(&self.provider, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        let provider = self.provider;
        let request =
            format!("POST /pay/{order} HTTP/1.1\r\nHost: {provider}\r\nContent-Length: 4\r\n\r\n9.99");
        connection.get_mut().write_all(request.as_bytes())?;
        let head = head(&mut connection)?.context("the provider has hung up")?;
        let length = header(&head, "content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or(0_usize).min(4096)];
        connection.read_exact(&mut body)?;
        if header(&head, "connection") != Some("close") {
            lock(&self.kept).push(connection);
        }
        match head.split(' ').nth(1) {
            Some("200") => Ok(()),
            status => bail!("the provider says {status:?}"),
        }
    }
}

/// Numbers of the orders in a folder, the oldest first.
fn orders(folder: &Path) -> io::Result<BTreeSet<u64>> {
    let entries = fs::read_dir(folder)?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(names.collect())
}

/// The lines of a request or an answer up to the empty one; `None` at the end of the connection.
fn head(reader: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        if reader.read_line(&mut text)? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(text))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(have, _)| have.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
