//! Super-packets that cannot be cut at the hook, and where cutting is not chosen.

use std::net::Ipv4Addr;
use std::time::Duration;

use chaos_tests::{Since, need, require_feature, require_tcx, vxlan};
use serde_json::json;

use crate::bed::{Bed, SOON};

const BULK: usize = 1 << 20;

/// Below a tunnel, TCP's super-packets are the tunnel's datagrams.
#[test]
fn what_a_tunnel_carries_is_hit_as_a_whole() {
    need!(require_tcx());
    let mut bed = Bed::with(&["--line", "kernel"]);
    let (client, server) = (&bed.net.client, &bed.net.server);
    let c1 = need!(vxlan(&client.device, "c-tunnel", server.v4));
    let s1 = need!(vxlan(&server.device, "s-tunnel", client.v4));
    let there = Ipv4Addr::new(10, 88, 0, 2);
    c1.add_v4(Ipv4Addr::new(10, 88, 0, 1), 24);
    s1.add_v4(there, 24);
    bed.remember();
    let to = (there, 8000).into();
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
