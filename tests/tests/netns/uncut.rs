//! Super-packets that cannot be cut at the hook, and where cutting is not chosen.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use chaos_tests::workload::Handle;
use chaos_tests::{
    Device, FaultFile, Since, Skip, binomial_999, eventually, need, require_feature, require_tcx, vxlan,
};
use serde_json::json;

use crate::bed::{Bed, SOON};
use crate::line_full::short_queue;
use crate::stream::Stream;

const BULK: usize = 1 << 20;
const PORT: u16 = 8000;

/// A fault that begins in a way that does not suit a stream's super-packets: it takes another, and then hits wire packets by
/// chance, in order, and as many as it should.
fn finds_its_way(bed: &Bed, fault: FaultFile, counter: &str, stream: Handle) {
    let exchange = || {
        let exchanged = bed.client.tcp_exchange(stream, BULK, Duration::from_secs(20));
        assert_eq!(exchanged.result, Ok(0), "{counter}: TCP mends it");
        bed.ctl.fault("acts")
    };
    let changed = || bed.daemon.log().matches("it met super-packets").count();
    let changes = changed();
    bed.ctl.apply(&[fault]);
    eventually(Duration::from_secs(10), "the fault finds its way", || {
        exchange();
        changed() > changes
    });
    let met = exchange();
    let lines: Vec<_> = met
        .attachments()
        .iter()
        .map(|place| place["line"].clone())
        .collect();
    assert_eq!(lines, ["user"], "{}", met.0);
    let begun = Stream::of(&bed.net.client.netns, PORT).expect("the stream is open");
    let mut view = exchange();
    for _ in 0..10 {
        view = exchange();
    }
    let ended = Stream::of(&bed.net.client.netns, PORT).expect("the stream is open");
    let since = |counter: &str| view.packets(counter) - met.packets(counter);
    let (hits, matched) = (since(counter), since("matched"));
    println!(
        "{counter}: {hits} of {matched}, {} before; {begun:?}, {ended:?}",
        met.packets("unseen")
    );
    assert!(binomial_999(matched, 0.01).contains(&hits), "{hits} of {matched}");
    assert_eq!(view.packets("unseen"), met.packets("unseen"), "{}", view.0);
    assert_eq!(view.own_warnings(), [""; 0], "{}", view.0);
    assert_eq!(ended.swapped, begun.swapped, "{begun:?}, {ended:?}");
    bed.delete("acts");
}

/// A bed with a tunnel between its ends, and the address of its far end.
fn tunnel(line: &str) -> Result<(Bed, [Device; 2], SocketAddr), Skip> {
    let mut bed = Bed::with(&["--line", line]);
    let (client, server) = (&bed.net.client, &bed.net.server);
    for end in [client, server] {
        end.device.steer();
    }
    let c1 = vxlan(&client.device, "c-tunnel", server.v4)?;
    let s1 = vxlan(&server.device, "s-tunnel", client.v4)?;
    let there = Ipv4Addr::new(10, 88, 0, 2);
    c1.add_v4(Ipv4Addr::new(10, 88, 0, 1), 24);
    s1.add_v4(there, 24);
    bed.remember();
    Ok((bed, [c1, s1], (there, PORT).into()))
}

/// Below a tunnel, TCP's super-packets are the tunnel's datagrams.
#[test]
fn what_a_tunnel_carries_is_hit_as_a_whole_where_there_is_no_other_way() {
    need!(require_tcx());
    let (bed, _tunnel, to) = need!(tunnel("kernel"));
    bed.server.tcp_serve(to);
    let stream = bed.client.tcp_open(None, to, SOON).stream();
    for (fault, counter) in [
        (json!({"drop": {"chance": "1%"}}), "dropped"),
        (json!({"duplicate": {"chance": "1%"}}), "duplicated"),
    ] {
        bed.ctl.apply(&[bed
            .on_client("acts", fault)
            .traffic(json!({"protocol": "udp", "remote": {"ports": [4789]}}))]);
        for _ in 0..4 {
            let exchanged = bed.client.tcp_exchange(stream, BULK, Duration::from_secs(20));
            assert_eq!(exchanged.result, Ok(0), "{counter}: TCP mends it");
        }
        let view = bed.delete("acts");
        let hits = view.packets(counter);
        println!("{counter}: {hits} of {}", view.packets("matched"));
        assert!(hits > 0, "{counter}");
        assert!(view.packets("matched") > hits, "{counter}");
        assert!(
            view.warnings().contains(&"SuperPackets"),
            "{counter}: {:?}",
            view.warnings()
        );
    }
}

/// A tunnel's datagrams by a way that treats them as super-packets, or apart from those that are none.
#[test]
fn what_a_tunnel_carries_goes_by_the_user_line() {
    for line in ["auto", "user"] {
        let (bed, _tunnel, to) = need!(tunnel(line));
        bed.server.tcp_serve(to);
        let stream = bed.client.tcp_open(None, to, SOON).stream();
        let lossy = json!({"drop": {"chance": "1%"}});
        let doubling = json!({"duplicate": {"chance": "1%"}});
        for (fault, counter) in [(lossy, "dropped"), (doubling, "duplicated")] {
            let leaving = FaultFile::on_device("acts", &bed.net.client.device, fault.clone())
                .seed(1)
                .traffic(json!({"protocol": "udp", "remote": {"ports": [4789]}}));
            let arriving = FaultFile::on_device("acts", &bed.net.server.device, fault)
                .seed(1)
                .traffic(json!({"protocol": "udp", "direction": "ingress", "local": {"ports": [4789]}}));
            for fault in [leaving, arriving] {
                finds_its_way(&bed, fault, counter, stream);
            }
        }
    }
}

/// BIG TCP: super-packets whose length does not fit into their IP header.
#[test]
fn super_packets_that_are_too_long_to_be_cut_go_by_the_user_line() {
    let mut bed = Bed::with(&["--line", "auto"]);
    for end in [&bed.net.client, &bed.net.server] {
        let device = end.device.name();
        let set =
            format!("ip link set {device} gso_max_size 200000 gro_max_size 200000 && echo yes || echo no");
        let big = end.netns.run(&["sh", "-c", &set]);
        need!(require_feature(
            "BIG TCP",
            Since::Kernel(5, 19),
            big.trim() == "yes"
        ));
    }
    bed.remember();
    let to = bed.net.server.at6(PORT);
    bed.server.tcp_serve(to);
    let stream = bed.client.tcp_open(None, to, SOON).stream();
    let lossy = bed
        .on_client("acts", json!({"drop": {"chance": "1%"}}))
        .traffic(json!({"protocol": "tcp", "remote": {"ports": [PORT]}}));
    finds_its_way(&bed, lossy, "dropped", stream);
}

/// What a full queue does not take, whole or cut, is no reason to go another way.
#[test]
fn pieces_that_a_full_queue_refuses_stay_on_their_way() {
    let mut bed = Bed::with(&["--line", "auto"]);
    short_queue(&bed);
    bed.remember();
    let to = bed.net.server.at(PORT);
    bed.server.tcp_serve(to);
    let stream = bed.client.tcp_open(None, to, SOON).stream();
    bed.ctl.apply(&[bed
        .on_client("acts", json!({"drop": {"chance": "1%"}}))
        .traffic(json!({"protocol": "tcp", "remote": {"ports": [PORT]}}))]);
    for _ in 0..16 {
        let exchanged = bed.client.tcp_exchange(stream, BULK, Duration::from_secs(20));
        assert_eq!(exchanged.result, Ok(0), "TCP mends it");
    }
    let view = bed.delete("acts");
    let (hits, matched) = (view.packets("dropped"), view.packets("matched"));
    println!(
        "{hits} of {matched}, {:?}",
        Stream::of(&bed.net.client.netns, PORT)
    );
    assert_eq!(view.attachments()[0]["line"], "kernel", "{}", view.0);
    assert_eq!(
        (view.packets("unseen"), view.own_warnings()),
        (0, Vec::new()),
        "{}",
        view.0
    );
    assert!(hits > 0 && hits < matched / 20, "{}", view.0);
}

/// Packets of no socket overtake there those that wait for their time.
#[test]
fn on_a_device_that_paces_the_user_line_is_chosen() {
    need!(require_tcx());
    let mut bed = Bed::with(&["--line", "auto"]);
    let name = bed.net.client.device.name().to_owned();
    let netns = bed.net.client.netns.clone();
    let command = format!("tc qdisc replace dev {name} root fq 2>/dev/null");
    let paces = netns.run(&["sh", "-c", &format!("{command} && echo yes || echo no")]);
    need!(require_feature(
        "fq",
        Since::Config("CONFIG_NET_SCH_FQ"),
        paces.trim() == "yes"
    ));
    bed.remember();
    let lossy = |bed: &Bed| bed.on_client("lossy", json!({"drop": {"chance": "1%"}}));
    let line = |bed: &Bed| bed.ctl.fault("lossy").attachments()[0]["line"].clone();
    bed.ctl.apply(&[lossy(&bed)]);
    assert_eq!(line(&bed), "user");
    bed.delete("lossy");
    netns.tc(&format!("qdisc del dev {name} root"));
    bed.remember();
    bed.ctl.apply(&[lossy(&bed)]);
    assert_eq!(line(&bed), "kernel");
    bed.delete("lossy");
}
