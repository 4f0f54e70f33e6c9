//! One fault with many addresses.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use chaos_bench::{Better, Row, Target};
use chaos_tests::packet::cost;
use chaos_tests::{Daemon, FaultFile, Netns, Skip, require_program};
use serde_json::json;

use crate::cost::row;
use crate::round_trip::Cable;
use crate::run::{Run, in_turns};

/// As many as were published.
const MANY: u32 = 65_534;
const TRIPS: usize = 1_000;
const SECONDS: u32 = 1;

pub(crate) fn measure(run: &mut Run) -> Result<(), Skip> {
    cost::addresses(&mut |case| {
        let row = row(run, case);
        run.row(row);
    })?;
    for matching in [true, false] {
        through(run, matching);
    }
    Ok(())
}

/// So many addresses in 10.200.0.0/15, and the server's in place of the last when it is to match.
fn addresses(count: u32, matching: bool) -> Vec<Ipv4Addr> {
    let first = u32::from(Ipv4Addr::new(10, 200, 0, 1));
    let mut all: Vec<Ipv4Addr> = (first..first + count).map(Ipv4Addr::from).collect();
    if matching && let Some(last) = all.last_mut() {
        *last = Ipv4Addr::new(10, 77, 0, 2);
    }
    all
}

/// Packets through each of the ways, with as much behind it as was asked for.
fn through(run: &mut Run, matching: bool) {
    let word = if matching { "match" } else { "no match" };
    let daemon = Daemon::start();
    let ours = |name: &str, count| {
        let cable = Cable::new();
        let fault = FaultFile::on_netns(name, cable.client(), json!({"drop": {"chance": "0%"}}))
            .traffic(json!({"direction": "egress", "remote": {"cidrs": addresses(count, matching)}}))
            .lasting("600s");
        daemon.ctl().apply(&[fault]);
        cable
    };
    let many = ours("many", MANY);
    let one = ours("one", 1);
    compare(run, word, &many, "1 address", &one, Some(0.95));
    let matched = daemon.ctl().fault("many").packets("matched");
    assert_eq!(matched > 0, matching, "{matched} packets");
    match with_set(&addresses(MANY, matching)) {
        Ok(cable) => compare(run, word, &many, "iptables with an ipset", &cable, None),
        Err(skip) => run.absent(&format!("{word}, beside iptables with an ipset"), &skip),
    }
    match with_filters(&addresses(MANY, matching)) {
        Ok(cable) => compare(run, word, &many, "u32 filters on htb", &cable, Some(1.0)),
        Err(skip) => run.absent(&format!("{word}, beside u32 filters on htb"), &skip),
    }
}

/// `least` of theirs in throughput.
fn compare(run: &mut Run, word: &str, ours: &Cable, against: &str, theirs: &Cable, least: Option<f64>) {
    let pairs = in_turns(8, || ours.round_trip_us(TRIPS), || theirs.round_trip_us(TRIPS));
    let name = |what: &str| format!("{MANY} addresses, {word}: {what}, beside {against}");
    let mut row = Row::new(name("round trip"), "µs", Better::Lower, against, &pairs);
    if let Some(least) = least {
        row = row.target(Target::RatioAtMost(1.0 / least));
    }
    run.row(row);
    let pairs = in_turns(8, || ours.stream_gbit(SECONDS), || theirs.stream_gbit(SECONDS));
    let mut row = Row::new(name("stream"), "Gbit/s", Better::Higher, against, &pairs);
    if let Some(least) = least {
        row = row.target(Target::RatioAtLeast(least));
    }
    run.row(row);
}

/// A rule of iptables that does nothing to what is in a set.
fn with_set(addresses: &[Ipv4Addr]) -> Result<Cable, Skip> {
    require_program("ipset")?;
    require_program("iptables")?;
    let cable = Cable::new();
    let mut script = format!("create many hash:ip maxelem {}\n", addresses.len());
    for address in addresses {
        let _ = writeln!(script, "add many {address}");
    }
    with_file(cable.client(), "ipset restore -file", &script);
    let rule =
        "iptables -A OUTPUT -m set --match-set many dst -m statistic --mode random --probability 0 -j DROP";
    cable.client().run(&rule.split(' ').collect::<Vec<_>>());
    Ok(cable)
}

/// A filter of tc for each address, on a class that does not slow down.
fn with_filters(addresses: &[Ipv4Addr]) -> Result<Cable, Skip> {
    require_program("tc")?;
    let cable = Cable::new();
    let device = cable.net.client.device.name();
    let mut script = format!(
        "qdisc add dev {device} root handle 1: htb default 1\nclass add dev {device} parent 1: classid 1:1 htb rate 100gbit quantum 60000\n\
         class add dev {device} parent 1: classid 1:2 htb rate 100gbit quantum 60000\n"
    );
    for address in addresses {
        let _ = writeln!(
            script,
            "filter add dev {device} parent 1: protocol ip prio 1 u32 match ip dst {address}/32 flowid 1:2"
        );
    }
    with_file(cable.client(), "tc -batch", &script);
    Ok(cable)
}

/// Runs a command with a file of lines.
fn with_file(netns: &Netns, command: &str, lines: &str) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    std::fs::write(file.path(), lines).expect("it can be written");
    let path = file.path().display().to_string();
    let argv: Vec<&str> = command.split(' ').chain([path.as_str()]).collect();
    netns.run(&argv);
}
