//! Where the sockets and programs of checks come from: any network namespace, guarded against every fault.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use chaos_probe::{Connection, Datagrams, Direct, Net, Pass};
use futures_util::future::BoxFuture;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

use crate::target::Netns;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Keeps faults away from connections. `protocol` is 6 or 17; what it gives is dropped when the connection is over.
pub trait Guardian: Send + Sync + 'static {
    /// # Errors
    /// The connection would not be guarded; the text says why.
    fn guard(&self, protocol: u8, local: SocketAddr, remote: SocketAddr) -> Result<Pass, String>;
}

/// The sockets of one check.
#[derive(Clone)]
pub struct Sockets {
    guardian: Arc<dyn Guardian>,
    /// None: the daemon's own namespace.
    netns: Option<String>,
}

impl Sockets {
    pub fn new(guardian: Arc<dyn Guardian>) -> Self {
        Self {
            guardian,
            netns: None,
        }
    }

    /// The same, in a network namespace by path or name. It is looked for with each sample.
    #[must_use]
    pub fn within(&self, netns: Option<String>) -> Self {
        Self {
            guardian: Arc::clone(&self.guardian),
            netns,
        }
    }

    /// Opens something where it belongs.
    async fn open<T: Send + 'static>(
        &self,
        open: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let Some(name) = self.netns.clone() else {
            return open();
        };
        let inside = move || -> io::Result<T> {
            let netns = Netns::named(&name).map_err(io::Error::other)?;
            netns.run(open).map_err(io::Error::other)?
        };
        tokio::task::spawn_blocking(inside)
            .await
            .map_err(io::Error::other)?
    }

    fn pass(&self, protocol: u8, local: SocketAddr, remote: SocketAddr) -> io::Result<Option<Pass>> {
        self.guardian
            .guard(protocol, local, remote)
            .map(Some)
            .map_err(io::Error::other)
    }
}

/// The address that packets to `to` come from; nothing is sent to find out.
fn source(to: SocketAddr) -> io::Result<IpAddr> {
    let probe = std::net::UdpSocket::bind(any(to))?;
    probe.connect(to)?;
    Ok(probe.local_addr()?.ip())
}

fn any(to: SocketAddr) -> SocketAddr {
    let address = match to {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(address, 0)
}

/// Bound to a port already: it is guarded before the first packet leaves.
fn bound(to: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.bind(SocketAddr::new(source(to)?, 0))?;
    Ok(socket)
}

impl Net for Sockets {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Direct.resolve(host)
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move {
            let socket = self.open(move || bound(to)).await?;
            let pass = self.pass(TCP, socket.local_addr()?, to)?;
            let stream = socket.connect(to).await?;
            // Many checks would use up the ports by connections that wait for stragglers.
            stream.set_zero_linger()?;
            Ok(Connection { stream, pass })
        })
    }

    fn datagrams(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Datagrams>> {
        Box::pin(async move {
            let open = move || {
                let socket = std::net::UdpSocket::bind(any(to))?;
                socket.connect(to)?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            };
            let socket = self.open(open).await?;
            let pass = self.pass(UDP, socket.local_addr()?, to)?;
            let socket = UdpSocket::from_std(socket)?;
            Ok(Datagrams { socket, pass })
        })
    }

    fn spawn<'a>(&'a self, command: &'a mut Command) -> BoxFuture<'a, io::Result<Child>> {
        Box::pin(async move {
            let Some(name) = &self.netns else {
                return command.spawn();
            };
            let runtime = Handle::current();
            // A short thread that waits for no network: the program itself runs on.
            tokio::task::block_in_place(|| {
                let netns = Netns::named(name).map_err(io::Error::other)?;
                let inside = || {
                    let _runtime = runtime.enter();
                    command.spawn()
                };
                netns.run(inside).map_err(io::Error::other)?
            })
        })
    }
}
