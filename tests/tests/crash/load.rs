//! What the daemon has to do while it is hit: faults that come, change, go and are halted.

use std::net::SocketAddr;

use chaos_tests::{Api, FaultFile, Pair};
use serde_json::{Value, json};

use crate::draw::Draw;

/// The port of the echo that is watched: some faults name it, others miss it.
pub(crate) const ECHO: u16 = 9001;

/// One request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Apply(Vec<FaultFile>),
    Delete(String),
    Halt,
    Release,
    Look,
}

/// What happens in a round.
pub(crate) fn acts(draw: &mut Draw, net: &Pair) -> Vec<Act> {
    let mut acts = vec![Act::Apply(faults(draw, net))];
    for _ in 0..draw.below(8) {
        acts.push(match draw.below(10) {
            0..5 => Act::Apply(faults(draw, net)),
            5..7 => Act::Delete(format!("f{}", draw.below(6))),
            7 => Act::Halt,
            8 => Act::Release,
            _ => Act::Look,
        });
    }
    acts
}

/// Carries a request out; what comes of it, if anything, does not matter.
pub(crate) fn carry_out(api: &Api, act: &Act) {
    match act {
        Act::Apply(faults) => api.try_apply(faults),
        Act::Delete(name) => api.try_send("DELETE", &format!("/v1/faults/{name}"), ""),
        Act::Halt => api.try_send("POST", "/v1/halt", r#"{"reason": "the campaign"}"#),
        Act::Release => api.try_send("DELETE", "/v1/halt", ""),
        Act::Look => api.try_send("GET", "/v1/faults", ""),
    }
}

fn faults(draw: &mut Draw, net: &Pair) -> Vec<FaultFile> {
    // Names meet again, so that a running fault is changed in place.
    (0..=draw.below(4))
        .map(|_| {
            let name = format!("f{}", draw.below(6));
            fault(draw, net, &name)
        })
        .collect()
}

fn fault(draw: &mut Draw, net: &Pair, name: &str) -> FaultFile {
    let kinds: [fn(&mut Draw) -> Value; 8] = [
        |_| json!({"partition": {}}),
        |d| json!({"drop": {"chance": format!("{}%", 1 + d.below(100))}}),
        |_| json!({"drop": {"gilbertElliott": {"p": "5%", "r": "20%", "h": "0%", "k": "100%"}}}),
        |d| json!({"delay": {"latency": format!("{}ms", 30 + d.below(60)), "jitter": "5ms"}}),
        |_| json!({"duplicate": {"chance": "30%"}, "corrupt": {"chance": "5%", "checksum": "leave"}}),
        |_| json!({"reject": {"with": "icmp"}}),
        |_| json!({"bandwidth": {"rate": "200kbit"}}),
        |_| json!({"delay": {"latency": "40ms"}, "reorder": {"chance": "20%"}, "drop": {"every": 7}}),
    ];
    let fault = draw.one_of(&kinds)(draw);
    let file = match draw.below(3) {
        0 => FaultFile::on_netns(name, &net.client.netns, fault),
        1 => FaultFile::on_device(name, &net.client.device, fault),
        _ => FaultFile::on_netns(name, &net.server.netns, fault),
    };
    let direction = draw.one_of(&["egress", "ingress", "both"]);
    let traffic = match draw.below(3) {
        0 => json!({"direction": direction}),
        1 => json!({"direction": direction, "protocol": "udp", "remote": {"cidrs": ["0.0.0.0/0", "::/0"]}}),
        // Only the client's side has this port as its remote one; elsewhere the fault hits nothing.
        _ => json!({"direction": direction, "protocol": "udp", "remote": {"ports": [ECHO]}}),
    };
    let lasting = draw.one_of(&["150ms", "700ms", "20s", "60s"]);
    file.traffic(traffic).lasting(lasting).seed(draw.next() >> 12)
}

/// Where the echo is.
pub(crate) fn echo(net: &Pair) -> SocketAddr {
    net.server.at(ECHO)
}
