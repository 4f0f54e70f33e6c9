//! A remote named by its hostname, also when its addresses change.

use std::io::Write as _;
use std::time::{Duration, Instant};

use chaos_tests::{Daemon, FaultFile, Netns, Pair, Workload, eventually, need, require_program};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::bed::{BRIEF, SOON};
use crate::dns_bed::dnsmasq;

#[test]
fn both_families_are_hit_and_the_filter_follows_a_changed_name() {
    need!(require_program("dnsmasq"));
    let net = Pair::new();
    net.server.device.add_v4("10.77.0.3".parse().expect("v4"), 24);
    net.server.device.add_v6("fd77::3".parse().expect("v6"), 64);
    let machine = Netns::new();
    let mut hosts = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    let mut write = |text: &str| {
        hosts.as_file_mut().set_len(0).expect("truncates");
        std::io::Seek::rewind(hosts.as_file_mut()).expect("rewinds");
        hosts.write_all(text.as_bytes()).expect("writes");
        hosts.path().to_str().expect("a path in text").to_owned()
    };
    let path = write("10.77.0.2 db.example.test\nfd77::2 db.example.test\n");
    // dnsmasq gives up root, and reads the file again after that.
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("chmod");
    let dnsmasq = dnsmasq(
        &machine,
        53,
        &[
            "--local-ttl=1",
            "--listen-address=127.0.0.1",
            "--local=/test/",
            &format!("--addn-hosts={path}"),
        ],
    );
    let daemon = Daemon::builder()
        .netns(&machine)
        .resolv_conf("nameserver 127.0.0.1\n")
        .start();
    let ctl = daemon.ctl();
    let (client, server) = (
        Workload::start(&net.client.netns, None),
        Workload::start(&net.server.netns, None),
    );
    let places = [
        "10.77.0.2:9001",
        "[fd77::2]:9001",
        "10.77.0.3:9001",
        "[fd77::3]:9001",
    ]
    .map(|text| {
        let place = text.parse().expect("an address and a port");
        server.udp_echo(place);
        (text, place)
    });
    let cut_off = || -> Vec<&str> {
        let silent = |place| {
            client
                .udp_ask(client.udp_open(None, Some(place)), BRIEF)
                .result
                .is_err()
        };
        places
            .iter()
            .filter(|(_, place)| silent(*place))
            .map(|(text, _)| *text)
            .collect()
    };
    assert!(cut_off().is_empty(), "before");
    let fault = FaultFile::on_netns("db-gone", &net.client.netns, json!({"partition": {}}));
    ctl.apply(&[fault.traffic(json!({"remote": {"hosts": ["db.example.test"], "ports": [9001]}}))]);
    eventually(SOON, "both addresses of the name are cut off", || {
        cut_off() == ["10.77.0.2:9001", "[fd77::2]:9001"]
    });

    write("10.77.0.3 db.example.test\nfd77::3 db.example.test\n");
    dnsmasq.signal(Signal::SIGHUP);
    let changed = Instant::now();
    // Its time to live is one second, and five more are allowed.
    eventually(Duration::from_secs(6), "the filter follows", || {
        cut_off() == ["10.77.0.3:9001", "[fd77::3]:9001"]
    });
    println!("followed after {:?}", changed.elapsed());
    assert_eq!(ctl.fault("db-gone").phase(), "Active");
    ctl.delete("db-gone");
    assert!(cut_off().is_empty(), "after");
}
