//! More than a line can take: TCP hears of it and keeps the rest, so that nothing is lost; what nobody can keep is lost, and
//! counted.

use std::net::IpAddr;
use std::time::Duration;

use chaos_tests::rate::{Carried, carry, fill_entrances, kept_by_sockets, lost_by_lines};
use chaos_tests::workload::{Flood, Handing};
use chaos_tests::{Daemon, Process, eventually, is_emulated, need, require_program, settled};
use serde_json::{Value, json};

use crate::bed::{BRIEF, Bed, SOON};
use crate::line::{Saturated, cpus, saturate_to};

/// A user line on whose ends a stream may have far more on its way than an entrance has room for. The veths swap nothing,
/// whichever CPU sends.
fn wide() -> (Bed, Process) {
    let bed = Bed::with(&["--line", "user"]);
    for end in [&bed.net.client, &bed.net.server] {
        for buffer in ["ipv4/tcp_rmem", "ipv4/tcp_wmem"] {
            end.netns.sysctl(buffer, "4096 262144 67108864");
        }
        end.device.steer();
    }
    let server = &bed.net.server.netns;
    let iperf = Process::spawn(server, None, &["iperf3", "-s"]).listens(server, 5201);
    (bed, iperf)
}

/// Streams to an address under some faults at once, of which none loses anything.
fn under(bed: &Bed, faults: &[Value], to: IpAddr, streams: u32) -> Saturated {
    let name = |n: usize| format!("full-{n}");
    let files = faults.iter().enumerate();
    let files: Vec<_> = files
        .map(|(n, fault)| bed.on_client(&name(n), fault.clone()).lasting("5m"))
        .collect();
    bed.ctl.apply(&files);
    // Its window grows until something is full; others stop at the first sign of a queue (HyStart).
    let found = saturate_to(bed, to, "reno", streams, cpus::ANY);
    let kept = kept_by_sockets(&bed.daemon);
    let lost = lost_by_lines(&bed.daemon);
    println!("{faults:?}, {to}, {streams}: {found:?}, kept {kept}, lost {lost}");
    assert!(found.is_whole(), "{found:?}");
    for n in 0..faults.len() {
        bed.ctl.delete(&name(n));
        let view = bed.ctl.fault(&name(n));
        assert!(view.packets("matched") > 0, "{view:?}");
        // What the receiver refuses, the device gives back to the line.
        let lost = view.warnings().contains(&"LineLost");
        assert!(!lost || found.refused > 0, "{view:?}");
    }
    bed.assert_untouched();
    found
}

fn nothing() -> Value {
    json!({"drop": {"chance": "0%"}})
}

/// Single wire packets, which the line cannot pass on as fast as TCP makes them.
#[test]
fn streams_that_are_faster_than_the_line_lose_nothing_at_its_entrance() {
    need!(require_program("iperf3"));
    let (bed, _iperf) = wide();
    let (v4, v6) = (bed.net.server.v4.into(), bed.net.server.v6.into());
    for (to, streams) in [(v4, 1), (v4, 8), (v6, 8)] {
        let before = kept_by_sockets(&bed.daemon);
        under(&bed, &[nothing()], to, streams);
        // One alone is slower than the line now and then.
        let kept = kept_by_sockets(&bed.daemon) - before;
        assert!(
            is_emulated() || streams == 1 || kept > 0,
            "the entrance was never full"
        );
    }
}

/// One fault that looks at single wire packets, and one that has them wait.
#[test]
fn streams_under_two_faults_lose_nothing_at_the_entrance() {
    need!(require_program("iperf3"));
    let (bed, _iperf) = wide();
    let late = json!({"delay": {"latency": "2ms"}});
    under(&bed, &[nothing(), late], bed.net.server.v4.into(), 8);
}

/// Super-packets that wait for longer than the line has memory.
#[test]
fn streams_that_have_more_on_their_way_than_the_line_has_memory_lose_nothing_in_it() {
    need!(require_program("iperf3"));
    let (bed, _iperf) = wide();
    let late = json!({"delay": {"latency": "300ms"}});
    let found = under(&bed, &[late], bed.net.server.v4.into(), 8);
    // 256 MiB in 300 ms are 7 Gbit/s; the beginning of the streams is slow.
    assert!(is_emulated() || found.mbit > 1_000.0 * found.awake, "{found:?}");
}

/// A queue of the device's own, which tells whoever sends that it is full.
pub(crate) fn short_queue(bed: &Bed) {
    let device = &bed.net.client.device;
    for words in [
        "qdisc add dev {device} root handle 1: htb default 1",
        "class add dev {device} parent 1: classid 1:1 htb rate 100mbit burst 3k cburst 3k",
        "qdisc add dev {device} parent 1:1 pfifo limit 10",
    ] {
        let words = words.replace("{device}", device.name());
        bed.net.client.netns.tc(&words);
    }
}

/// What the device has no room for goes a little later, as it would from a socket.
#[test]
fn a_device_that_has_no_room_for_a_moment_gets_everything_and_in_order() {
    need!(require_program("iperf3"));
    let (mut bed, _iperf) = wide();
    short_queue(&bed);
    bed.remember();
    for (fault, v6) in [(nothing(), false), (json!({"delay": {"latency": "5ms"}}), true)] {
        let (to, sink) = match v6 {
            true => (bed.net.server.v6.into(), bed.net.server.at6(7000)),
            false => (IpAddr::from(bed.net.server.v4), bed.net.server.at(7000)),
        };
        let alone = saturate_to(&bed, to, "reno", 2, cpus::ANY);
        let found = under(&bed, &[json!({"drop": {"chance": "0%"}}), fault.clone()], to, 2);
        // Beside the same queue without a line.
        let told = format!("{found:?} beside {alone:?}");
        println!("{told}");
        assert!(
            is_emulated() || found.mbit > 0.7 * alone.mbit * found.awake,
            "{told}"
        );
        let rate = if is_emulated() { 1_500 } else { 8_000 };
        // Each burst is thrice what the queue holds, and there is time until the next.
        bed.ctl.apply(&[bed
            .on_client("late", json!({"delay": {"latency": "5ms"}}))
            .traffic(json!({"protocol": "udp"}))]);
        let flood = Flood {
            to: sink,
            size: 500,
            rate,
            count: 2 * rate,
            flows: 1,
            handing: Handing::Messages(32),
        };
        let Carried { sent, received, .. } = carry(&bed.daemon, &bed.client, &bed.server, &flood, v6);
        assert_eq!((sent.accepted, sent.refused), (flood.count, 0));
        assert_eq!(
            (received.datagrams, received.swapped, received.odd),
            (flood.count, 0, 0)
        );
        let view = bed.delete("late");
        assert!(view.own_warnings().is_empty(), "{view:?}");
    }
}

/// The time for which nobody tried is not held against what waits for room.
#[test]
fn what_waits_for_room_outlasts_a_daemon_that_was_stopped() {
    const STOPPED: Duration = Duration::from_millis(150);
    let mut bed = Bed::with(&["--line", "user"]);
    // What is swapped then, the veth has not.
    bed.net.server.device.steer();
    // Nor have those that wait for the address of the next hop.
    assert!(bed.reaches(bed.net.server.at(7001)));
    short_queue(&bed);
    bed.remember();
    let late = json!({"delay": {"latency": "5ms"}});
    let traffic = json!({"protocol": "udp"});
    bed.ctl.apply(&[bed.on_client("late", late).traffic(traffic)]);
    // So that packets wait for room a good part of the time, and what comes meanwhile is not so much that it goes in trains.
    let rate = if is_emulated() { 1_000 } else { 3_000 };
    let flood = Flood {
        to: bed.net.server.at(7000),
        size: 1_400,
        rate,
        count: 6 * rate,
        flows: 1,
        handing: Handing::Messages(64),
    };
    let counter = bed.server.udp_count(flood.to, flood.size, false);
    let come = || bed.server.udp_counted(counter).datagrams;
    let sent = std::thread::scope(|scope| {
        let sending = scope.spawn(|| bed.client.udp_flood(&flood));
        for part in 1..=20 {
            eventually(5 * SOON, "more comes", || come() > part * flood.count / 24);
            bed.daemon.sigstop();
            settled(STOPPED, come);
            bed.daemon.sigcont();
        }
        sending.join().expect("all is sent")
    });
    assert_eq!((sent.accepted, sent.refused), (flood.count, 0));
    eventually(SOON, "all has come", || come() == flood.count);
    let received = bed.server.udp_counted(counter);
    assert_eq!((received.swapped, received.odd), (0, 0));
    let view = bed.delete("late");
    assert!(view.own_warnings().is_empty(), "{view:?}");
}

/// Whatever becomes of the daemon while senders are told to wait, they do not wait for ever.
#[test]
fn streams_at_a_full_entrance_go_on_when_the_daemon_hangs_or_dies() {
    need!(require_program("iperf3"));
    type Fate = fn(&mut Daemon);
    let hangs: Fate = |_| {};
    let dies: Fate = |daemon| {
        daemon.sigkill();
    };
    for (what, fate) in [("hangs", hangs), ("dies", dies)] {
        let (mut bed, _iperf) = wide();
        bed.ctl.apply(&[bed.on_client("full", nothing()).lasting("5m")]);
        let (client, to) = (&bed.net.client.netns, bed.net.server.v4.to_string());
        let argv = ["iperf3", "-c", &to, "-t", "60", "-P", "8", "-C", "reno"];
        let streams = Process::spawn(client, None, &argv);
        let server = bed.net.server.netns.clone();
        let come = || server.tcp_count("InSegs");
        // What they have under way grows with their windows.
        let full = (0..30).any(|_| fill_entrances(&mut bed.daemon, come, || {}));
        assert!(full || is_emulated(), "the entrance was never full");
        bed.daemon.sigstop();
        settled(BRIEF, come);
        fate(&mut bed.daemon);
        let go_on = |when: &str| {
            let before = come();
            eventually(5 * SOON, &format!("the streams go on {when}"), || {
                come() > before + 2_000
            });
        };
        // A lease of two seconds, and what TCP waits after as long a silence.
        go_on(&format!("when the daemon {what}"));
        if what == "hangs" {
            bed.daemon.sigcont();
            assert_eq!(bed.ctl.wait_for_phase("full", "Ended").reason(), "Lease");
        } else {
            bed.daemon.start_again();
        }
        go_on("after it");
        // A fault that comes then finds an entrance with room.
        bed.ctl.apply(&[bed.on_client("again", nothing()).lasting("5m")]);
        go_on("through the line");
        bed.delete("again");
        drop(streams);
    }
}

/// Datagrams that nobody reads for a while, as many as the entrance has room for and some more.
#[test]
fn what_a_line_has_lost_is_remembered_when_it_is_gone_and_held_against_no_later_fault() {
    let mut bed = Bed::with(&["--line", "user"]);
    let delay = |name: &str| {
        bed.on_client(name, json!({"delay": {"latency": "20ms"}}))
            .traffic(json!({"protocol": "udp"}))
            .lasting("5m")
    };
    let (early, along, later) = (delay("early"), delay("along"), delay("later"));
    bed.ctl.apply(&[early]);
    let to = bed.net.server.at(9000);
    let flood = Flood {
        to,
        size: 22,
        rate: 200_000,
        count: 20_000,
        flows: 1,
        handing: Handing::Messages(32),
    };
    let counter = bed.server.udp_count(to, flood.size, false);
    bed.daemon.sigstop();
    let sent = bed.client.udp_flood(&flood);
    bed.daemon.sigcont();
    let come = || bed.server.udp_counted(counter).datagrams;
    settled(Duration::from_millis(300), come);
    let missing = sent.accepted - come();
    assert!(missing > 0, "there was room for all: {sent:?}");
    eventually(SOON, "the line knows what it has lost", || {
        lost_by_lines(&bed.daemon) == missing
    });
    // The line is there still, but what it lost was before this fault.
    bed.ctl.apply(&[along]);
    assert!(bed.ctl.fault("along").own_warnings().is_empty());
    bed.ctl.delete("along");
    let warned = |view: &chaos_tests::View| {
        let warnings = view.0["status"]["warnings"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let warning = warnings.iter().find(|warning| warning["code"] == "LineLost");
        warning.map(|warning| warning["message"].to_string())
    };
    let told = warned(&bed.ctl.fault("early")).expect("it warns");
    assert!(told.contains(&missing.to_string()), "{told}");
    let view = bed.delete("early");
    assert_eq!(warned(&view), Some(told));
    assert_eq!(lost_by_lines(&bed.daemon), missing);
    bed.ctl.apply(&[later]);
    assert!(bed.ctl.fault("later").own_warnings().is_empty());
    assert_eq!(bed.server.udp_counted(counter).datagrams, flood.count - missing);
    bed.delete("later");
    assert_eq!(lost_by_lines(&bed.daemon), missing);
}
