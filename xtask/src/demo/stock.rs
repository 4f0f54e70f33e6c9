//! A hidden verb: a web server that asks redis what is in stock, once for each request, on a connection of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// Far more patient than nginx: whoever wants less time has to say so.
const PATIENCE: Duration = Duration::from_secs(5);
const ON_SHELF: &str = "12 apples, 3 pears";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    redis: SocketAddr,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let listener =
        TcpListener::bind(args.listen).with_context(|| format!("cannot listen on {}", args.listen))?;
    let redis = args.redis;
    for stream in listener.incoming() {
        let stream = stream.context("cannot accept")?;
        thread::spawn(move || {
            // Whoever asked has gone, or has been told.
            let _ = answer(stream, redis);
        });
    }
    Ok(())
}

fn answer(mut stream: TcpStream, redis: SocketAddr) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while let Some(line) = lines.next().transpose()? {
        if line.is_empty() {
            break;
        }
    }
    let (status, body) = match stock(redis) {
        Ok(stock) => ("200 OK", stock),
        Err(error) => ("502 Bad Gateway", error.to_string()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}

/// What is in stock; the first one to ask puts it there.
fn stock(redis: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&redis, PATIENCE).context("redis does not answer")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    write!(stream, "SET stock \"{ON_SHELF}\" NX\r\nGET stock\r\n")?;
    // `+OK`, or `$-1` when it was there already.
    reader.read_line(&mut String::new())?;
    let mut length = String::new();
    reader.read_line(&mut length)?;
    let Some(length) = length
        .trim()
        .strip_prefix('$')
        .and_then(|it| it.parse::<usize>().ok())
    else {
        bail!("redis answered {length:?}");
    };
    let mut body = vec![0; length.min(1000)];
    reader.read_exact(&mut body)?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}
