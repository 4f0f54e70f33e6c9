//! Where sockets and programs of probes come from.

use std::any::Any;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::OnceLock;

use futures_util::future::BoxFuture;
use hickory_resolver::TokioResolver;
use tokio::net::{TcpStream, UdpSocket};
use tokio::process::{Child, Command};

/// Something that lasts as long as a socket is in use; dropped right after it.
pub type Pass = Box<dyn Any + Send + Sync>;

/// A connection of a probe. Fields are dropped in this order.
pub struct Connection {
    pub stream: TcpStream,
    pub pass: Option<Pass>,
}

/// A connected datagram socket of a probe. Fields are dropped in this order.
pub struct Datagrams {
    pub socket: UdpSocket,
    pub pass: Option<Pass>,
}

/// The network that probes use. Dropping a future gives up what it was about.
pub trait Net: Send + Sync + 'static {
    /// Addresses of a host, best first; an address stands for itself.
    ///
    /// # Errors
    /// There is no such name, or nobody answers.
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;

    /// # Errors
    /// Refused, unreachable, or no socket can be opened.
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Connection>>;

    /// # Errors
    /// No socket can be opened, or there is no way there.
    fn datagrams(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Datagrams>>;

    /// # Errors
    /// The program cannot be started.
    fn spawn<'a>(&'a self, command: &'a mut Command) -> BoxFuture<'a, io::Result<Child>>;
}

/// Plain sockets and programs where the process itself is, names by the system's name servers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Direct;

impl Net for Direct {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(look_up(host))
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move {
            let stream = TcpStream::connect(to).await?;
            Ok(Connection { stream, pass: None })
        })
    }

    fn datagrams(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Datagrams>> {
        Box::pin(async move {
            let socket = UdpSocket::bind(unspecified(to)).await?;
            socket.connect(to).await?;
            Ok(Datagrams { socket, pass: None })
        })
    }

    fn spawn<'a>(&'a self, command: &'a mut Command) -> BoxFuture<'a, io::Result<Child>> {
        Box::pin(async move { command.spawn() })
    }
}

/// Any address of the family of `to`, any port.
fn unspecified(to: SocketAddr) -> SocketAddr {
    let address = match to {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(address, 0)
}

/// Asks without a thread: a name server that is silent must not hold up other probes, as the C library's look-up on
/// a pool of threads would.
async fn look_up(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    static RESOLVER: OnceLock<Option<TokioResolver>> = OnceLock::new();
    let resolver =
        RESOLVER.get_or_init(|| TokioResolver::builder_tokio().ok().map(|builder| builder.build()));
    let Some(resolver) = resolver else {
        return Err(io::Error::other(
            "/etc/resolv.conf names no server that can be asked",
        ));
    };
    let found = resolver.lookup_ip(host).await.map_err(io::Error::other)?;
    Ok(found.iter().collect())
}
