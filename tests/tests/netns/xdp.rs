//! XDP where it is asked for: the same losses as at tc, and as little left.

use chaos_tests::{FaultFile, binomial_999, eventually};
use serde_json::json;

use crate::bed::{Bed, SOON};

fn of_all_that_arrives(bed: &Bed, name: &str, ports: [u16; 2], fault: serde_json::Value) -> FaultFile {
    bed.on_server(name, fault)
        .traffic(json!({"direction": "ingress", "protocol": "udp", "local": {"ports": ports}}))
}

#[test]
fn what_arrives_is_lost_in_xdp_to_the_packet_and_nothing_else_is() {
    let bed = Bed::with(&["--xdp", "always"]);
    let server = &bed.net.server;
    const COUNT: u64 = 4000;
    for (name, chance) in [("all", None), ("half", Some("50%"))] {
        let fault = chance.map_or(
            json!({"partition": {}}),
            |chance| json!({"drop": {"chance": chance}}),
        );
        bed.ctl
            .apply(&[of_all_that_arrives(&bed, name, [9001, 9002], fault)]);
        let view = bed.ctl.fault(name);
        let attachments = view.attachments();
        assert!(
            !attachments.is_empty()
                && attachments
                    .iter()
                    .all(|a| a["mode"] == "xdp-native" && a["hook"] == "xdp"),
            "{attachments:?}"
        );
        let mut received = 0;
        for to in [server.at(9001), server.at6(9002)] {
            received += bed.send(to, COUNT).received();
        }
        let lost = 2 * COUNT - received;
        let bounds = chance.map_or(2 * COUNT..=2 * COUNT, |_| binomial_999(2 * COUNT, 0.5));
        assert!(bounds.contains(&lost), "{lost} of {}", 2 * COUNT);
        bed.wait_for_packets(name, "dropped", lost);
        assert_eq!(bed.send(server.at(9003), 100).received(), 100, "another port");
        let ended = bed.delete(name);
        assert_eq!(ended.packets("matched"), 2 * COUNT);
        assert_eq!(bed.send(server.at(9001), 100).received(), 100, "after the end");
    }
}

#[test]
fn a_killed_daemon_takes_its_xdp_programs_along() {
    let mut bed = Bed::with(&["--xdp", "always"]);
    let to = bed.net.server.at(9001);
    bed.ctl.apply(&[of_all_that_arrives(
        &bed,
        "cut",
        [9001, 9002],
        json!({"partition": {}}),
    )]);
    assert!(!bed.reaches(to));
    let objects = bed.daemon.bpf_objects();
    bed.daemon.sigkill();
    objects.assert_gone();
    eventually(SOON, "packets arrive again", || bed.reaches(to));
    bed.assert_untouched();
    bed.daemon.start_again();
}
