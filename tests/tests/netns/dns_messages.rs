//! Questions by their bytes: how many are answered, and what must not be touched.

use std::collections::BTreeMap;
use std::time::Duration;

use chaos_tests::dns::{Query, code, code_of, kind, wire};
use chaos_tests::{
    Capture, Since, Way as Side, binomial_999, eventually, is_emulated, monotonic_nanos, need, raw,
    require_feature, require_program, settled, stalled,
};
use serde_json::json;

use crate::bed::{BRIEF, SOON};
use crate::dns_bed::{Asker, DB, DnsBed, OTHER, WITNESS_CODE, Witness};

/// Many questions from one socket, and how many came back with which code.
fn codes(asker: &Asker, count: u16) -> BTreeMap<u8, u64> {
    let mut codes = BTreeMap::new();
    for id in 0..count {
        asker.send(&Query::new(DB, kind::A).id(id).bytes());
        // In step with the server, whose socket holds only so many.
        if id % 16 == 15 {
            while let Some(answer) = asker.receive(Duration::from_millis(5)) {
                *codes.entry(code_of(&answer)).or_insert(0) += 1;
            }
        }
    }
    while let Some(answer) = asker.receive(BRIEF * 2) {
        *codes.entry(code_of(&answer)).or_insert(0) += 1;
    }
    codes
}

#[test]
fn half_of_the_questions_and_every_count_equal() {
    const COUNT: u16 = 2_000;
    let bed = DnsBed::new();
    let bounds = binomial_999(COUNT.into(), 0.5);
    for way in bed.ways() {
        for (answer, counter) in [("nxdomain", "answered"), ("timeout", "dropped")] {
            let witness = Witness::start(&bed.bed.net.server.netns, (way.server.ip(), 5353).into());
            let end = if way.direction == "egress" {
                "remote"
            } else {
                "local"
            };
            let fault = bed
                .on(
                    way.direction,
                    "half",
                    json!({"answer": answer, "chance": "50%", "names": [DB]}),
                )
                .traffic(json!({"direction": way.direction, end: {"ports": [5353]}}));
            bed.bed.ctl.apply(&[fault]);
            let asker = bed.asker((way.server.ip(), 5353).into());
            let codes = codes(&asker, COUNT);
            let served = codes.get(&WITNESS_CODE).copied().unwrap_or(0);
            let hit = u64::from(COUNT) - served;
            assert!(
                bounds.contains(&hit),
                "{way:?} {codes:?}: not in {bounds:?}, seed 1"
            );
            if answer == "nxdomain" {
                assert_eq!(codes.get(&code::NXDOMAIN), Some(&hit), "{codes:?}");
            } else {
                assert_eq!(codes.len(), 1, "{codes:?}");
            }
            let seen = settled(BRIEF, || witness.seen().len());
            assert_eq!(seen as u64, served, "{way:?} {codes:?}");
            bed.bed.wait_for_packets("half", "matched", COUNT.into());
            let view = bed.bed.delete("half");
            assert_eq!(view.packets(counter), hit, "{way:?} {}", view.0);
            assert_eq!(
                view.packets("answered") + view.packets("dropped"),
                hit,
                "{}",
                view.0
            );
        }
    }
}

#[test]
fn what_is_no_plain_question_passes_byte_for_byte() {
    let bed = DnsBed::new();
    let query = Query::new(DB, kind::A).with_edns();
    let good = query.bytes();
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let end = 12 + wire(DB).len();
    let mut odd: Vec<Vec<u8>> = vec![
        Vec::new(),
        vec![0],
        vec![0; 11],
        vec![0xff; 12],
        vec![0; 500],
        vec![0xff; 1400],
        // An answer, other kinds of message, none or two questions, one with records.
        changed(2, 0x81),
        changed(2, 0x10),
        changed(2, 0x28),
        changed(5, 0),
        changed(5, 2),
        changed(4, 1),
        changed(7, 1),
        changed(9, 1),
        // A pointer, a label that is too long, another class.
        changed(12, 0xc0),
        changed(12, 64),
        changed(12, 63),
        changed(end + 3, 3),
        // Longer than what is looked at.
        Query::new(DB, kind::A).padded_to(1025).bytes(),
    ];
    odd.extend((0..end + 4).map(|cut| good[..cut].to_vec()));
    // More labels, and a longer name, than there may be.
    for label in [1, 63] {
        let mut bytes = good[..12].to_vec();
        while bytes.len() < 12 + 255 {
            bytes.push(label);
            bytes.extend(vec![b'x'; label.into()]);
        }
        bytes.extend([0, 0, 1, 0, 1]);
        odd.push(bytes);
    }
    for way in bed.ways() {
        let at = (way.server.ip(), 5353).into();
        let witness = Witness::start(&bed.bed.net.server.netns, at);
        let end = if way.direction == "egress" {
            "remote"
        } else {
            "local"
        };
        let fault = bed
            .on(way.direction, "all", json!({"answer": "nxdomain"}))
            .traffic(json!({"direction": way.direction, end: {"ports": [5353]}}));
        bed.bed.ctl.apply(&[fault]);
        let asker = bed.asker(at);
        for (sent, message) in odd.iter().enumerate() {
            asker.send(message);
            let seen = witness.wait_for(sent + 1);
            assert!(
                seen[sent] == *message,
                "{way:?} sent {message:02x?}, arrived {:02x?}",
                seen[sent]
            );
            let answer = asker.receive(SOON).expect("the witness answers");
            let mut want = message.clone();
            if let Some(byte) = want.get_mut(3) {
                *byte = *byte & 0xf0 | WITNESS_CODE;
            }
            assert!(answer == want, "{way:?} {message:02x?}: {answer:02x?}");
        }
        let view = bed.bed.ctl.fault("all");
        assert_eq!(
            (view.packets("matched"), view.packets("answered")),
            (0, 0),
            "{}",
            view.0
        );
        // The largest that is looked at, and one that is whole.
        for query in [Query::new(DB, kind::A).padded_to(1024), query.clone()] {
            let answer = asker.ask(&query.bytes(), SOON).expect("an answer");
            assert!(
                answer == query.answer(code::NXDOMAIN, 0, &[]),
                "{way:?} {answer:02x?}"
            );
        }
        assert_eq!(witness.seen().len(), odd.len());
        bed.bed.delete("all");
    }
}

/// Every length of message, odd and even, with records and without, where the device owes the checksum and where the
/// kernel has written it: an answer with a wrong one would not be delivered.
#[test]
fn checksums_are_right_with_offload_and_without() {
    need!(require_program("ethtool"));
    let mut bed = DnsBed::new();
    for offload in ["on", "off"] {
        for host in [&bed.bed.net.client, &bed.bed.net.server] {
            let device = host.device.name();
            host.netns
                .run(&["ethtool", "-K", device, "tx", offload, "rx", offload]);
        }
        bed.bed.remember();
        let arrives = Capture::start(
            &bed.bed.net.client.device,
            Side::In,
            "udp src port 53 or tcp src port 9",
        );
        let mut seen = 0;
        for way in bed.ways() {
            let records =
                json!({"a": ["192.0.2.1", "192.0.2.2", "255.255.255.255"], "aaaa": ["2001:db8::1"]});
            let faults = [
                bed.on(
                    way.direction,
                    "made-up",
                    json!({"answer": records, "names": ["*.records.test"]}),
                ),
                bed.on(
                    way.direction,
                    "gone",
                    json!({"answer": "nxdomain", "names": ["*.gone.test"]}),
                ),
            ];
            bed.bed.ctl.apply(&faults);
            let asker = bed.asker(way.server);
            for letters in 1..=20 {
                for edns in [false, true] {
                    let ask = |end: &str, kind: u16, code: u8, addresses: &[Vec<u8>]| {
                        let mut query = Query::new(&format!("{}.{end}", "y".repeat(letters)), kind)
                            .id(letters as u16 * 999);
                        if edns {
                            query = query.with_edns();
                        }
                        let answer = asker.ask(&query.bytes(), SOON);
                        assert_eq!(
                            answer,
                            Some(query.answer(code, 5, addresses)),
                            "{way:?} offload {offload} {query:?}"
                        );
                    };
                    let four = [[192, 0, 2, 1], [192, 0, 2, 2], [255; 4]].map(Vec::from);
                    let six = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
                    ask("records.test", kind::A, code::FINE, &four);
                    ask("records.test", kind::AAAA, code::FINE, &[six.octets().to_vec()]);
                    ask("gone.test", kind::TXT, code::NXDOMAIN, &[]);
                }
            }
            seen += 20 * 2 * 3;
            bed.bed.ctl.delete("made-up");
            bed.bed.delete("gone");
            // Nor does a reset differ from what it answers.
            let fault = json!({"reject": {"with": "reset"}});
            let end = if way.direction == "egress" {
                bed.bed.on_client("refuse", fault)
            } else {
                bed.bed.on_server("refuse", fault)
            };
            bed.bed
                .ctl
                .apply(&[end.traffic(json!({"direction": way.direction, "protocol": "tcp"}))]);
            let refused = bed.bed.client.tcp_open(None, (way.server.ip(), 9).into(), SOON);
            assert_eq!(refused.result, Err("ECONNREFUSED".to_owned()), "{way:?}");
            bed.bed.delete("refuse");
            seen += 1;
        }
        let mut resets = 0;
        for frame in arrives.wait_for(seen) {
            let Sums {
                owed,
                whole,
                found,
                is_reset,
            } = sums(&frame.bytes);
            resets += u32::from(is_reset);
            // Linux's TCP leaves it open until the packet is beyond our hook: as long as it does not leave the client.
            let want = if offload == "on" || is_reset && resets <= 2 {
                owed
            } else {
                whole
            };
            assert_eq!(found, want, "offload {offload}: {:02x?}", frame.bytes);
        }
    }
}

/// What the checksum of a frame may be, and what it is.
struct Sums {
    /// The sum of the pseudo header, which the device completes (include/linux/skbuff.h, CHECKSUM_PARTIAL).
    owed: u16,
    whole: u16,
    found: u16,
    is_reset: bool,
}

/// Of an untagged frame without IP options.
fn sums(frame: &[u8]) -> Sums {
    let (l4, addresses, number) = if frame[12..14] == [0x86, 0xdd] {
        (54, &frame[22..54], frame[20])
    } else {
        (34, &frame[26..34], frame[23])
    };
    let at = l4 + if number == 6 { 16 } else { 6 };
    let add = |sum: u32, bytes: &[u8]| {
        bytes.chunks(2).fold(sum, |sum, pair| {
            let sum = sum + u32::from(pair[0]) * 256 + u32::from(pair.get(1).copied().unwrap_or(0));
            (sum & 0xffff) + (sum >> 16)
        })
    };
    let found = u16::from_be_bytes([frame[at], frame[at + 1]]);
    let length = (frame.len() - l4) as u32;
    let owed = add(add(u32::from(number), &length.to_be_bytes()), addresses);
    let rest = add(add(owed, &frame[l4..at]), &frame[at + 2..]);
    let whole = if rest == 0xffff { 0xffff } else { !(rest as u16) };
    Sums {
        owed: owed as u16,
        whole,
        found,
        is_reset: number == 6,
    }
}

#[test]
fn a_datagram_without_checksum_is_answered_without() {
    let bed = DnsBed::new();
    let (client, server) = (&bed.bed.net.client, &bed.bed.net.server);
    let query = Query::new(DB, kind::A).with_edns();
    let frame = raw::ethernet(
        client,
        server,
        &[],
        0x0800,
        &raw::udp_v4(client, server, 53, &query.bytes()),
    );
    for direction in ["egress", "ingress"] {
        bed.bed
            .ctl
            .apply(&[bed.on(direction, "bare", json!({"answer": {"a": ["192.0.2.1"]}}))]);
        let asker = Asker::bound(&client.netns, client.at(40_000), None);
        // What is answered here never comes over the cable.
        let arrives =
            (direction == "ingress").then(|| Capture::start(&client.device, Side::In, "udp src port 53"));
        raw::send_frames(&client.device, std::slice::from_ref(&frame));
        assert_eq!(
            asker.receive(SOON),
            Some(query.answer(code::FINE, 5, &[vec![192, 0, 2, 1]])),
            "{direction}"
        );
        if let Some(arrives) = arrives {
            let answer = &arrives.wait_for(1)[0].bytes;
            assert_eq!(answer[34 + 6..34 + 8], [0, 0], "no checksum: {answer:02x?}");
        }
        assert_eq!(bed.bed.delete("bare").packets("answered"), 1);
    }
}

#[test]
fn it_ends_at_its_deadline_without_anybody() {
    // To ask whether it is active takes an emulated processor a second.
    let millis = if is_emulated() { 10_000 } else { 600 };
    let length = Duration::from_millis(millis);
    let bed = DnsBed::new();
    for way in bed.ways() {
        let begun = monotonic_nanos();
        let fault = bed.on(way.direction, "brief", json!({"answer": "nxdomain"}));
        bed.bed.ctl.apply(&[fault.lasting(&format!("{millis}ms"))]);
        let active = monotonic_nanos();
        let asker = bed.asker(way.server);
        let query = Query::new(DB, kind::A).bytes();
        let ask = || code_of(&asker.ask(&query, SOON).expect("someone answers"));
        assert_eq!(ask(), code::NXDOMAIN);
        let (mut last_hit, mut first_served) = (0, 0);
        eventually(length + SOON, "the server answers again", || {
            let asked = monotonic_nanos();
            if ask() == code::NXDOMAIN {
                last_hit = asked;
            } else {
                first_served = asked;
            }
            first_served > 0
        });
        let slack = Duration::from_millis(20) + stalled(begun, first_served);
        let late = Duration::from_nanos(last_hit.saturating_sub(active));
        assert!(late <= length + slack, "{way:?}: {late:?}");
        let lasted = Duration::from_nanos(first_served - begun);
        assert!(lasted >= length, "{way:?}: {lasted:?}");
        bed.bed.ctl.wait_for_phase("brief", "Ended");
        bed.bed.assert_untouched();
    }
}

#[test]
fn a_change_takes_no_question_from_its_neighbours() {
    let bed = DnsBed::new();
    let asker = bed.asker(bed.bed.net.server.at(53));
    let ask = |name: &str, kind: u16| asker.ask(&Query::new(name, kind).bytes(), BRIEF);
    let change = |dns: serde_json::Value| bed.bed.ctl.apply(&[bed.on_client("living", dns)]);
    change(json!({"answer": "nxdomain", "names": [DB]}));
    let code_of_db = || ask(DB, kind::A).map(|answer| code_of(&answer));
    assert_eq!(code_of_db(), Some(code::NXDOMAIN));
    change(json!({"answer": "servfail", "names": [DB]}));
    assert_eq!(code_of_db(), Some(code::SERVFAIL));
    change(json!({"answer": "timeout", "names": [DB]}));
    assert_eq!(code_of_db(), None);
    change(json!({"answer": {"a": ["192.0.2.9"]}, "names": [DB]}));
    let query = Query::new(DB, kind::A);
    assert_eq!(
        ask(DB, kind::A),
        Some(query.answer(code::FINE, 5, &[vec![192, 0, 2, 9]]))
    );
    change(json!({"answer": "refused", "names": [OTHER]}));
    assert_eq!(code_of_db(), Some(code::FINE));
    assert_eq!(
        ask(OTHER, kind::A).map(|answer| code_of(&answer)),
        Some(code::REFUSED)
    );
    let view = bed.bed.delete("living");
    assert_eq!(
        (
            view.packets("matched"),
            view.packets("answered"),
            view.packets("dropped")
        ),
        (5, 4, 1),
        "the counters go on: {}",
        view.0
    );
    assert_eq!(
        ask(OTHER, kind::A).map(|answer| code_of(&answer)),
        Some(code::FINE)
    );
}

/// Several questions in one super-packet (UDP GSO) are no questions of a resolver; each still gets to the server.
#[test]
fn questions_in_one_super_packet_pass() {
    const SCRIPT: &str = "import socket, struct, sys\n\
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
        s.setsockopt(17, 103, int(sys.argv[2]))\n\
        s.sendto(bytes.fromhex(sys.argv[3]), (sys.argv[1], 5353))";
    let bed = DnsBed::new();
    let server = &bed.bed.net.server;
    let witness = Witness::start(&server.netns, server.at(5353));
    let message = Query::new(DB, kind::A).bytes();
    let hex: String = message.iter().map(|byte| format!("{byte:02x}")).collect();
    let fault = bed.on_client("all", json!({"answer": "nxdomain"}));
    bed.bed
        .ctl
        .apply(&[fault.traffic(json!({"remote": {"ports": [5353]}}))]);
    let (address, size) = (server.v4.to_string(), message.len().to_string());
    let sent = chaos_tests::Process::spawn(
        &bed.bed.net.client.netns,
        None,
        &["python3", "-c", SCRIPT, &address, &size, &hex.repeat(3)],
    )
    .finish(Duration::from_secs(10));
    need!(require_feature(
        "UDP GSO",
        Since::Kernel(4, 18),
        sent.status.success()
    ));
    assert_eq!(witness.wait_for(3), [message.clone(), message.clone(), message]);
    assert_eq!(bed.bed.delete("all").packets("matched"), 0);
}
