use serde_json::json;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// The `fault` of the only fault, as it would be written.
fn fault_of(line: &str) -> Value {
    let imported = netem(line, MINUTE);
    let [fault] = imported.faults.as_slice() else {
        panic!("{line}: {imported:?}");
    };
    serde_json::to_value(&fault.spec.fault).unwrap()
}

#[test]
fn netem_is_said_in_netems_units() {
    for (line, fault) in [
        (
            "tc qdisc add dev eth0 root netem delay 100ms",
            json!({"delay": {"latency": "100ms"}}),
        ),
        (
            "tc qdisc add dev eth0 root netem delay 100",
            json!({"delay": {"latency": "100us"}}),
        ),
        (
            "tc qdisc change dev eth0 root netem delay 100ms 10ms distribution normal",
            json!({"delay": {"latency": "100ms", "jitter": "10ms", "distribution": "normal", "order": "free", "compat": "netem"}}),
        ),
        (
            "sudo tc qdisc add dev eth0 root netem loss 1% 25%",
            json!({"drop": {"chance": "1%", "correlation": "25%", "compat": "netem"}}),
        ),
        (
            "tc qdisc add dev eth0 root netem loss random 0.3",
            json!({"drop": {"chance": "0.3%"}}),
        ),
        (
            "tc qdisc add dev eth0 root netem loss gemodel 1% 10% 70% 0.1%",
            json!({"drop": {"gilbertElliott": {"p": "1%", "r": "10%", "h": "30%", "k": "99.9%"}}}),
        ),
        (
            "tc qdisc add dev eth0 root netem delay 10ms reorder 25% 50% gap 5",
            json!({"delay": {"latency": "10ms"}, "reorder": {"chance": "25%", "correlation": "50%", "gap": 5, "compat": "netem"}}),
        ),
        (
            "tc qdisc add dev eth0 root netem corrupt 0.1%",
            json!({"corrupt": {"chance": "0.1%"}}),
        ),
        (
            "tc qdisc add dev eth0 root netem rate 5kbps",
            json!({"bandwidth": {"rate": "40kbit"}}),
        ),
        (
            "tc qdisc add dev eth0 root tbf rate 1mbit burst 32kb",
            json!({"bandwidth": {"rate": "1mbit", "burst": "32KiB"}}),
        ),
    ] {
        assert_eq!(fault_of(line), fault, "{line}");
    }
}

#[test]
fn the_device_and_its_namespace_are_the_target() {
    for line in [
        "ip netns exec blue tc qdisc add dev eth0 root netem loss 1%",
        "tc -n blue qdisc add dev eth0 root netem loss 1%",
    ] {
        let fault = &netem(line, MINUTE).faults[0];
        let target = serde_json::to_value(&fault.spec.target).unwrap();
        assert_eq!(
            target,
            json!({"interface": {"name": "eth0", "netns": "blue"}}),
            "{line}"
        );
        assert_eq!(fault.name(), "netem-eth0");
    }
}

#[test]
fn nothing_is_dropped_silently() {
    for (line, what) in [
        (
            "tc qdisc add dev eth0 root netem delay 10ms limit 5000",
            "limit 5000",
        ),
        (
            "tc qdisc add dev eth0 parent 1:3 handle 30: netem delay 10ms",
            "parent 1:3",
        ),
        ("tc qdisc add dev eth0 root netem loss state 1%", "loss state"),
        (
            "tc qdisc add dev eth0 root netem delay 10ms 1ms 25%",
            "delay … 25%",
        ),
        ("tc qdisc add dev eth0 root netem wobble 5", "wobble"),
        ("tc qdisc add dev eth0 root fq_codel", "fq_codel"),
        ("tc filter add dev eth0 protocol ip", "tc filter"),
        (
            "tc qdisc add dev eth0 root tbf rate 1mbit burst 32kbit latency 400ms",
            "latency 400ms",
        ),
        ("iptables -A INPUT -j DROP", "iptables"),
    ] {
        let imported = netem(&format!("# a script\n\n{line}\n"), MINUTE);
        let told = imported.unsaid.iter().find(|unsaid| unsaid.what.contains(what));
        assert_eq!(told.map(|told| told.line), Some(3), "{line}: {imported:?}");
    }
    let removed = netem("tc qdisc del dev eth0 root netem", MINUTE);
    assert_eq!(removed, Imported::default(), "faults end by themselves");
}

#[test]
fn a_script_of_several_lines_gives_several_faults() {
    let script =
        "tc qdisc add dev eth0 root netem \\\n  delay 10ms\ntc qdisc add dev eth0 root netem loss 1%\n";
    let imported = netem(script, MINUTE);
    let names: Vec<&str> = imported.faults.iter().map(NetworkFault::name).collect();
    assert_eq!(names, ["netem-eth0", "netem-eth0-2"]);
}

#[test]
fn toxics_are_said_where_packets_can_say_them() {
    let text = r#"[{"name": "redis", "upstream": "10.0.0.5:6379", "listen": "127.0.0.1:26379", "enabled": true, "toxics": [
        {"name": "slow", "type": "latency", "stream": "downstream", "toxicity": 0.5, "attributes": {"latency": 200, "jitter": 50}},
        {"name": "thin", "type": "bandwidth", "stream": "upstream", "toxicity": 1.0, "attributes": {"rate": 100}},
        {"name": "gone", "type": "timeout", "stream": "downstream", "attributes": {"timeout": 1000}},
        {"name": "cut", "type": "slicer", "stream": "downstream", "attributes": {}}
    ]}, {"name": "db", "upstream": "db.example.com:5432", "enabled": false, "toxics": []}]"#;
    let imported = toxiproxy(text, MINUTE).unwrap();
    let said: Vec<String> = imported
        .faults
        .iter()
        .map(|fault| format!("{} {}", fault.name(), crate::summary(&fault.spec)))
        .collect();
    assert_eq!(said.len(), 4, "{said:?} {:?}", imported.unsaid);
    assert!(said[0].contains("redis-latency delay 200ms ± 50ms"), "{said:?}");
    assert!(said[0].contains("50% of flows"), "{said:?}");
    assert!(
        said[1].contains("bandwidth 800kbit") && said[1].contains("egress"),
        "{said:?}"
    );
    assert!(said[2].contains("partition"), "{said:?}");
    assert!(said[3].contains("db-down reject"), "{said:?}");
    let unsaid: Vec<&str> = imported
        .unsaid
        .iter()
        .map(|unsaid| unsaid.what.as_str())
        .collect();
    assert_eq!(unsaid, ["redis: gone: timeout", "redis: cut: slicer"]);
    assert!(toxiproxy("{", MINUTE).is_err());
    assert!(!toxiproxy("[]", MINUTE).unwrap().unsaid.is_empty());
}
