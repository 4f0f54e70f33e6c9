//! Against a name server of the test's own on 127.0.0.1, whose answers live one second.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chaos_spec::{Hostname, WarningKind};
use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::hosts::HostsFile;
use super::lookup::Resolver;
use super::{NameWatcher, NamesChanged, Servers};

/// What the server says about a name. A name that is not in its zone does not exist.
#[derive(Clone)]
enum Zone {
    Addresses(Vec<IpAddr>),
    ServFail,
    Silence,
}

#[derive(Clone)]
struct Server {
    address: SocketAddr,
    zone: Arc<Mutex<HashMap<String, Zone>>>,
}

impl Server {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: socket.local_addr().unwrap(),
            zone: Arc::default(),
        };
        tokio::spawn(server.clone().serve(socket));
        server
    }

    async fn serve(self, socket: UdpSocket) {
        let mut buffer = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            if let Some(answer) = self.answer(&buffer[..length]) {
                let _ = socket.send_to(&answer, client).await;
            }
        }
    }

    fn answer(&self, request: &[u8]) -> Option<Vec<u8>> {
        let mut message = Message::from_vec(request).unwrap();
        let query = message.queries()[0].clone();
        message
            .set_message_type(MessageType::Response)
            .set_recursion_available(true);
        let name = query.name().to_ascii().trim_end_matches('.').to_owned();
        match self.zone.lock().unwrap().get(&name) {
            Some(Zone::Silence) => return None,
            Some(Zone::ServFail) => {
                message.set_response_code(ResponseCode::ServFail);
            }
            None => {
                message.set_response_code(ResponseCode::NXDomain);
            }
            Some(Zone::Addresses(addresses)) => {
                let fits = |address: &&IpAddr| address.is_ipv4() == (query.query_type() == RecordType::A);
                message.add_answers(addresses.iter().filter(fits).map(|&address| {
                    let data = match address {
                        IpAddr::V4(address) => RData::A(address.into()),
                        IpAddr::V6(address) => RData::AAAA(address.into()),
                    };
                    Record::from_rdata(query.name().clone(), 1, data)
                }));
            }
        }
        Some(message.to_vec().unwrap())
    }

    fn say(&self, name: &str, zone: Zone) {
        self.zone.lock().unwrap().insert(name.to_owned(), zone);
    }

    fn addresses(&self, name: &str, addresses: &[&str]) {
        self.say(name, Zone::Addresses(parse(addresses)));
    }

    fn watcher(&self) -> (NameWatcher, mpsc::Receiver<NamesChanged>) {
        let (sender, receiver) = mpsc::channel(16);
        let watcher = NameWatcher::new(&Servers::Addresses(vec![self.address]), sender).unwrap();
        assert_eq!(watcher.servers(), [self.address]);
        (watcher, receiver)
    }
}

fn parse(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|text| text.parse().unwrap()).collect()
}

fn host(name: &str) -> Hostname {
    name.parse().unwrap()
}

/// The next change, which must come within TTL + 5 s.
async fn next(changes: &mut mpsc::Receiver<NamesChanged>) -> NamesChanged {
    timeout(Duration::from_secs(6), changes.recv())
        .await
        .expect("no change in time")
        .unwrap()
}

#[tokio::test]
async fn both_families_and_their_changes() {
    let server = Server::start().await;
    server.addresses("db.test", &["10.0.0.2", "10.0.0.1", "fd00::1"]);
    let (watcher, mut changes) = server.watcher();
    let watched = watcher.watch(&[host("db.test")]).await;
    assert_eq!(
        watched.addresses[&host("db.test")],
        parse(&["10.0.0.1", "10.0.0.2", "fd00::1"])
    );
    assert!(watched.warnings.is_empty());
    // The same set in another order is no change; the next message is about the real one.
    server.addresses("db.test", &["fd00::1", "10.0.0.1", "10.0.0.2"]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    server.addresses("db.test", &["10.0.0.9", "fd00::1"]);
    let change = next(&mut changes).await;
    assert_eq!(
        (change.host, change.addresses),
        (host("db.test"), parse(&["10.0.0.9", "fd00::1"]))
    );
    assert_eq!(
        watcher.addresses(&host("db.test")).unwrap(),
        parse(&["10.0.0.9", "fd00::1"])
    );
}

#[tokio::test]
async fn a_failure_keeps_the_last_answer_and_an_nxdomain_does_not() {
    let server = Server::start().await;
    server.addresses("db.test", &["10.0.0.1"]);
    let (watcher, mut changes) = server.watcher();
    let name = host("db.test");
    let _watched = watcher.watch(std::slice::from_ref(&name)).await;
    server.say("db.test", Zone::ServFail);
    let stale = [WarningKind::StaleAddresses {
        host: "db.test".to_owned(),
    }];
    let begin = Instant::now();
    while watcher.warnings([&name]) != stale {
        assert!(begin.elapsed() < Duration::from_secs(6), "no warning in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(watcher.addresses(&name).unwrap(), parse(&["10.0.0.1"]));
    server.zone.lock().unwrap().clear();
    assert!(next(&mut changes).await.addresses.is_empty());
    let unresolved = WarningKind::UnresolvedHost {
        host: "db.test".to_owned(),
    };
    assert_eq!(watcher.warnings([&name]), [unresolved]);
}

#[tokio::test]
async fn a_name_that_appears_later() {
    let server = Server::start().await;
    let (watcher, mut changes) = server.watcher();
    let watched = watcher.watch(&[host("late.test")]).await;
    assert!(matches!(
        watched.warnings.as_slice(),
        [WarningKind::UnresolvedHost { .. }]
    ));
    server.addresses("late.test", &["10.0.0.7"]);
    assert_eq!(next(&mut changes).await.addresses, parse(&["10.0.0.7"]));
}

#[tokio::test]
async fn a_silent_server_does_not_hold_up_a_fault() {
    let server = Server::start().await;
    server.say("a.test", Zone::Silence);
    server.say("b.test", Zone::Silence);
    let (watcher, mut changes) = server.watcher();
    let begin = Instant::now();
    let watched = watcher.watch(&[host("a.test"), host("b.test")]).await;
    assert!(
        (1900..3000).contains(&begin.elapsed().as_millis()),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(watched.warnings.len(), 2);
    server.addresses("a.test", &["fd00::7"]);
    assert_eq!(next(&mut changes).await.addresses, parse(&["fd00::7"]));
}

#[tokio::test]
async fn a_name_is_watched_once_and_only_as_long_as_it_is_needed() {
    let server = Server::start().await;
    server.addresses("db.test", &["10.0.0.1"]);
    let (watcher, mut changes) = server.watcher();
    let name = host("db.test");
    let first = watcher.watch(&[name.clone(), name.clone()]).await;
    let second = watcher.watch(std::slice::from_ref(&name)).await;
    assert_eq!(second.addresses, first.addresses);
    drop(first);
    server.addresses("db.test", &["10.0.0.2"]);
    assert_eq!(next(&mut changes).await.addresses, parse(&["10.0.0.2"]));
    drop(second);
    assert_eq!(watcher.addresses(&name), None);
    server.addresses("db.test", &["10.0.0.3"]);
    assert!(
        timeout(Duration::from_millis(1500), changes.recv())
            .await
            .is_err(),
        "nobody watches any more"
    );
}

#[tokio::test]
async fn the_hosts_file_comes_first_and_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts");
    std::fs::write(&path, "10.0.0.5 db.test\n").unwrap();
    let server = Server::start().await;
    server.addresses("db.test", &["10.0.0.1"]);
    let (sender, mut changes) = mpsc::channel(16);
    let mut resolver = Resolver::new(&Servers::Addresses(vec![server.address])).unwrap();
    resolver.hosts = HostsFile::from(path.as_path());
    let watcher = NameWatcher::with(resolver, sender);
    let watched = watcher.watch(&[host("db.test")]).await;
    assert_eq!(watched.addresses[&host("db.test")], parse(&["10.0.0.5"]));
    std::fs::write(&path, "# empty\n").unwrap();
    assert_eq!(next(&mut changes).await.addresses, parse(&["10.0.0.1"]));
}

#[test]
fn a_file_of_servers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resolv.conf");
    std::fs::write(&path, "search test\nnameserver 192.0.2.1\nnameserver fd00::53\n").unwrap();
    let resolver = Resolver::new(&Servers::File(path.clone())).unwrap();
    let expected: [SocketAddr; 2] = ["192.0.2.1:53".parse().unwrap(), "[fd00::53]:53".parse().unwrap()];
    assert_eq!(resolver.servers(), expected);
    std::fs::write(&path, "search test\n").unwrap();
    let error = Resolver::new(&Servers::File(path)).err().unwrap().to_string();
    assert!(error.contains("--resolver IP:PORT"), "{error}");
    assert!(Resolver::new(&Servers::Addresses(Vec::new())).is_err());
}
