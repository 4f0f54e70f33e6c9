mod requests;

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

/// Everything that is said, a line each, and everything that is not.
fn told(imported: &Imported) -> (Vec<String>, Vec<String>) {
    let said = imported.faults.iter().map(|fault| {
        let spec = &fault.spec;
        format!(
            "{} | {} | {} | {}",
            fault.name(),
            spec.target,
            crate::summary(spec),
            spec.duration
        )
    });
    (
        said.collect(),
        imported.unsaid.iter().map(ToString::to_string).collect(),
    )
}

fn here() -> Here {
    Here {
        target: Target::netns("blue"),
        duration: MINUTE,
    }
}

const MESH: &str = r#"apiVersion: chaos-mesh.org/v1alpha1
kind: NetworkChaos
metadata: {name: delay-web, namespace: shop}
spec:
  action: delay
  mode: fixed-percent
  value: "50"
  selector: {namespaces: [shop], labelSelectors: {app: web}}
  direction: both
  externalTargets: [10.1.0.0/16, db.example.com, "?"]
  device: eth1
  delay: {latency: 1.5s, correlation: "25", jitter: 50ms, reorder: {reorder: "20", correlation: "50", gap: 5}, wobble: 1}
  loss: {loss: "10"}
  duration: 1m30s
"#;

fn mesh(text: &str) -> Imported {
    chaos_mesh("mesh.yaml", text.as_bytes(), &here()).unwrap()
}

#[test]
fn chaos_mesh_is_said_in_its_units_and_what_is_left_is_told_with_its_line() {
    let imported = mesh(MESH);
    let (said, unsaid) = told(&imported);
    let fault = serde_json::to_value(&imported.faults[0].spec.fault).unwrap();
    assert_eq!(
        fault,
        json!({
            "delay": {"latency": "1s 500ms", "jitter": "50ms", "order": "free", "compat": "netem"},
            "reorder": {"chance": "20%", "correlation": "50%", "gap": 5, "compat": "netem"},
        })
    );
    assert!(
        said[0].starts_with("delay-web | netns blue (eth1) |") && said[0].ends_with("| 1m 30s"),
        "{said:?}"
    );
    let traffic = serde_json::to_value(&imported.faults[0].spec.traffic).unwrap();
    assert_eq!(
        traffic,
        json!({"direction": "both", "remote": {"cidrs": ["10.1.0.0/16"], "hosts": ["db.example.com"]}})
    );
    for (line, what) in [
        (6, "spec.mode"),
        (7, "spec.value"),
        (8, "spec.selector"),
        (5, "spec.externalTargets: ?"),
        (12, "spec.delay.wobble"),
        (13, "spec.loss"),
        (5, "delay … 25%"),
    ] {
        let start = format!("line {line}: {what}");
        assert!(
            unsaid.iter().any(|told| told.starts_with(&start)),
            "{start}: {unsaid:#?}"
        );
    }
    assert_eq!(unsaid.len(), 7, "{unsaid:#?}");
}

#[test]
fn each_action_of_chaos_mesh_is_a_fault() {
    let head = "kind: NetworkChaos\nmetadata: {name: x}\nspec: {action: ";
    for (action, fault) in [
        ("partition, direction: from", json!({"partition": {}})),
        (
            "loss, loss: {loss: \"25\", correlation: \"0\"}",
            json!({"drop": {"chance": "25%"}}),
        ),
        (
            "corrupt, corrupt: {corrupt: \"4\", correlation: \"10\"}",
            json!({"corrupt": {"chance": "4%", "correlation": "10%", "compat": "netem"}}),
        ),
        (
            "duplicate, duplicate: {duplicate: 40}",
            json!({"duplicate": {"chance": "40%"}}),
        ),
        // Its mbps are megabytes a second, as tc's.
        (
            "bandwidth, bandwidth: {rate: 1mbps, buffer: 10000}",
            json!({"bandwidth": {"rate": "8mbit", "burst": "10kB"}}),
        ),
        (
            "netem, delay: {latency: 10ms}, loss: {loss: 1}",
            json!({"delay": {"latency": "10ms"}, "drop": {"chance": "1%"}}),
        ),
    ] {
        let imported = mesh(&format!("{head}{action}}}\n"));
        let found: Vec<Value> = imported
            .faults
            .iter()
            .map(|it| serde_json::to_value(&it.spec.fault).unwrap())
            .collect();
        assert_eq!(found, [fault], "{action}: {:?}", imported.unsaid);
        assert_eq!(imported.unsaid, [], "{action}");
    }
    for (text, told) in [
        (
            "kind: PodChaos\n",
            "kind: PodChaos: this is no fault of a network",
        ),
        (
            "kind: TimeChaos\n",
            "kind: TimeChaos: this is no fault of a network",
        ),
        (
            "kind: NetworkChaos\nspec: {action: melt}\n",
            "spec.action: melt: there is no such fault",
        ),
        (
            "kind: NetworkChaos\nspec: {action: loss, loss: {loss: a lot}}\n",
            "it is not understood, so nothing is made of this command",
        ),
    ] {
        let imported = mesh(text);
        assert!(imported.faults.is_empty(), "{text}");
        let unsaid = self::told(&imported).1.join("; ");
        assert!(unsaid.contains(told), "{text}: {unsaid}");
    }
    assert!(chaos_mesh("m", b"a: [", &here()).is_err());
}

const ENGINE: &str = r#"apiVersion: litmuschaos.io/v1alpha1
kind: ChaosEngine
metadata: {name: nginx}
spec:
  engineState: active
  appinfo: {appns: default, applabel: app=nginx}
  experiments:
    - name: pod-network-latency
      spec:
        components:
          env:
            - {name: NETWORK_LATENCY, value: "300"}
            - {name: JITTER, value: "20"}
            - {name: TOTAL_CHAOS_DURATION, value: "120"}
            - {name: DESTINATION_IPS, value: "10.0.0.1,10.0.0.2|80"}
            - {name: DESTINATION_PORTS, value: "80,443,!22"}
            - {name: PODS_AFFECTED_PERC, value: "50"}
            - {name: RAMP_TIME, value: ""}
            - {name: CONTAINER_RUNTIME, value: containerd}
            - {name: SHAPE, value: round}
        probe: [{name: ok}]
    - {name: pod-network-loss, spec: {components: {env: [{name: NETWORK_PACKET_LOSS_PERCENTAGE, value: "30"}]}}}
    - {name: pod-network-partition, spec: {components: {env: [{name: POLICY_TYPES, value: ingress}]}}}
    - {name: pod-network-rate-limit}
    - {name: pod-http-latency}
    - {name: pod-delete}
"#;

#[test]
fn litmus_is_said_experiment_by_experiment() {
    let imported = litmus("engine.yaml", ENGINE.as_bytes(), &here()).unwrap();
    let (said, unsaid) = told(&imported);
    assert_eq!(said.len(), 5, "{said:#?} {unsaid:#?}");
    for (index, parts) in [
        (0, vec!["pod-network-latency", "delay 300ms ± 20ms", "| 2m"]),
        (1, vec!["pod-network-loss", "drop 30%", "| 1m"]),
        (2, vec!["pod-network-partition", "partition", "ingress"]),
        (3, vec!["pod-network-rate-limit", "bandwidth 1mbit"]),
        (4, vec!["pod-http-latency", "http delay 2s"]),
    ] {
        for part in parts {
            assert!(said[index].contains(part), "{part}: {}", said[index]);
        }
    }
    let traffic = serde_json::to_value(&imported.faults[0].spec.traffic).unwrap();
    assert_eq!(
        traffic["remote"],
        json!({"cidrs": ["10.0.0.1"], "ports": [80, 443]})
    );
    for told in [
        "line 6: spec.appinfo: pods are not named",
        "line 15: pod-network-latency: DESTINATION_IPS: 10.0.0.2|80: ports of one address alone",
        "line 16: pod-network-latency: DESTINATION_PORTS: !22: all ports but these",
        "line 17: pod-network-latency: PODS_AFFECTED_PERC: 50: pods are not named",
        "pod-network-latency: CONTAINER_RUNTIME: how Litmus gets there",
        "line 20: pod-network-latency: SHAPE: round: it is not known here",
        "line 21: pod-network-latency: probe: write it as `steadyState`",
        "line 26: experiment pod-delete: this is no fault of a network",
        "spec.engineState: how Litmus gets there",
    ] {
        assert!(unsaid.iter().any(|it| it.contains(told)), "{told}: {unsaid:#?}");
    }
    assert_eq!(unsaid.len(), 9, "{unsaid:#?}");
}

#[test]
fn settings_of_tcconfig_are_bits_and_milliseconds() {
    let text = r#"{"eth0": {
        "outgoing": {
            "dst-network=192.168.0.10/32, dst-port=8080, protocol=ip":
                {"filter_id": "800::800", "delay": "10.0ms", "delay-distro": "2.0ms", "loss": "0.01%", "rate": "250Kbps"},
            "protocol=ip": {"filter_id": "800::801", "delay": "1.0s", "wobble": 3}
        },
        "incoming": {"src-network=10.0.0.0/8, protocol=ip": {"loss": "5%"}},
        "sideways": {}
    }}"#;
    let imported = tcconfig(text, MINUTE).unwrap();
    let (said, unsaid) = told(&imported);
    assert_eq!(said.len(), 3, "{said:#?} {unsaid:#?}");
    let first = serde_json::to_value(&imported.faults[0].spec).unwrap();
    assert_eq!(
        first["fault"],
        json!({
            "drop": {"chance": "0.01%"},
            "delay": {"latency": "10ms", "jitter": "2ms", "distribution": "normal", "order": "free", "compat": "netem"},
            "bandwidth": {"rate": "250kbit"},
        })
    );
    assert_eq!(
        first["traffic"]["remote"],
        json!({"cidrs": ["192.168.0.10"], "ports": [8080]})
    );
    assert!(said[0].starts_with("eth0-egress | interface eth0 |"), "{said:#?}");
    assert!(
        said[2].contains("ingress") && said[2].contains("drop 5%"),
        "{said:#?}"
    );
    assert_eq!(
        unsaid,
        [
            "eth0: sideways: there is no such direction",
            "eth0 outgoing protocol=ip: wobble: 3: it is not understood"
        ]
    );
    assert!(!tcconfig("{}", MINUTE).unwrap().unsaid.is_empty());
    assert!(tcconfig("[", MINUTE).is_err());
}
