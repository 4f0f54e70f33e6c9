//! What a good spec means: defaults, places, words.

use chaos_spec::{
    Chance, Direction, DropModel, Fault, FaultKind, FaultSpec, NetworkFault, Protocol, Reject, RejectWith,
    SpecError, SpecPath, Target, TargetKind, Traffic, Warning, explain, summary,
};

const EVERYTHING: &str = "\
# comments are fine
apiVersion: chaos-daemon.dev/v1alpha1
kind: NetworkFault
metadata: {name: slow-orders-db, labels: {team: orders}}
spec:
  target:
    cgroup: /system.slice/orders.service
    interfaces: [eth0]
  traffic:
    direction: egress
    protocol: tcp
    remote: {cidrs: [10.0.0.0/8], except: [10.1.0.0/16], hosts: [db.example.com], ports: [5432, 6000-6010]}
    local: {ports: [8080]}
    connections: any
    flows: 5%
  fault:
    drop: {chance: 30%}
  duration: 5m
  seed: 42
  safety: {maxPackets: 100000}
";

fn one(text: &str) -> NetworkFault {
    let mut faults = chaos_spec::parse("f.yaml", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(faults.len(), 1);
    faults.remove(0).fault
}

fn spec(target: &str, traffic: &str, fault: &str) -> FaultSpec {
    let text = format!(
        "apiVersion: chaos-daemon.dev/v1alpha1\nkind: NetworkFault\nmetadata: {{name: a}}\nspec:\n  target: \
         {target}\n  traffic: {traffic}\n  fault: {fault}\n  duration: 5m\n"
    );
    one(&text).spec
}

#[test]
fn everything_is_read() {
    let fault = one(EVERYTHING);
    assert_eq!(fault.name(), "slow-orders-db");
    let spec = &fault.spec;
    assert_eq!(
        spec.target,
        Target::cgroup("/system.slice/orders.service").with_interfaces(["eth0"])
    );
    assert_eq!(spec.traffic.protocol, Protocol::Tcp);
    assert_eq!(spec.traffic.flows, Chance::percent(5));
    assert_eq!(spec.fault.kinds(), [FaultKind::Drop]);
    assert_eq!(spec.duration.as_std().as_secs(), 300);
    assert_eq!((spec.seed, spec.safety.max_packets), (Some(42), Some(100_000)));
}

#[test]
fn what_is_left_out_has_its_default() {
    let spec = spec("{pid: 7}", "{}", "{reject: {}}");
    assert_eq!(spec.traffic, Traffic::default());
    assert_eq!(
        (spec.traffic.direction, spec.traffic.protocol),
        (Direction::Egress, Protocol::Any)
    );
    assert_eq!(
        spec.fault.reject,
        Some(Reject {
            with: RejectWith::Reset,
            chance: Chance::ALWAYS
        })
    );
    assert_eq!((spec.seed, spec.safety.max_packets), (None, None));
}

#[test]
fn ids_of_digits_stay_as_they_are_written() {
    let spec = spec("{container: 001e34}", "{}", "{partition: {}}");
    assert_eq!(spec.target.kind, TargetKind::Container("001e34".to_owned()));
}

#[test]
fn models_of_loss() {
    let model = |fault: &str| {
        spec("{pid: 7}", "{}", fault)
            .fault
            .drop
            .and_then(|drop| drop.model())
    };
    let percent = |n| Chance::percent(n).expect("at most 100");
    assert_eq!(
        model("{drop: {chance: 20%, correlation: 75%}}"),
        Some(DropModel::Chance {
            chance: percent(20),
            correlation: percent(75)
        })
    );
    assert_eq!(model("{drop: {every: 5}}"), Some(DropModel::Every(5)));
    let Some(DropModel::GilbertElliott(model)) = model("{drop: {gilbertElliott: {p: 1%, r: 10%}}}") else {
        panic!("a Gilbert-Elliott model");
    };
    assert_eq!((model.h, model.k), (Chance::NEVER, Chance::ALWAYS));
}

#[test]
fn json_files_and_lists_are_read() {
    let fault = one(EVERYTHING);
    let json = serde_json::to_string(&serde_json::json!({"items": [fault]})).expect("JSON");
    assert_eq!(
        chaos_spec::parse("f.json", json.as_bytes()).expect("good")[0].fault,
        fault
    );
    assert_eq!(
        chaos_spec::parse("f.yaml", json.as_bytes()).expect("JSON is YAML")[0].fault,
        fault
    );
    let tabbed = json.replace('{', "{\n\t");
    assert_eq!(
        chaos_spec::parse("f.JSON", tabbed.as_bytes()).expect("good")[0].fault,
        fault
    );
}

#[test]
fn an_error_that_the_daemon_finds_gets_its_line() {
    let located = &chaos_spec::parse("f.yaml", EVERYTHING.as_bytes()).expect("good")[0];
    let path = SpecPath::from_pointer("/spec/target/cgroup");
    let error = SpecError::new(path, "no such cgroup", "start the service first");
    assert_eq!(
        located.diagnose(error).to_string(),
        "f.yaml:7:13: spec.target.cgroup: no such cgroup – start the service first"
    );
    let port = located
        .locate(&SpecPath::from_pointer("/spec/traffic/remote/ports/1"))
        .expect("written");
    assert_eq!((port.line, port.column), (12, 97));
    let default = located
        .locate(&SpecPath::from_pointer("/spec/fault/drop/signal"))
        .expect("near it");
    assert_eq!((default.line, default.column), (17, 5));
}

#[test]
fn summaries() {
    let cases = [
        (
            "{protocol: tcp, remote: {cidrs: [10.0.0.0/8], ports: [5432]}}",
            "{drop: {chance: 30%}}",
            "drop 30% · egress tcp → 10.0.0.0/8:5432",
        ),
        ("{}", "{partition: {}}", "partition · egress"),
        (
            "{direction: ingress, protocol: udp, remote: {cidrs: ['::1'], ports: [53]}}",
            "{drop: {every: 3}}",
            "drop every 3rd · ingress udp ← [::1]:53",
        ),
        (
            "{direction: both, local: {ports: [80, 443, 8000-8010]}, flows: 5%}",
            "{drop: {chance: 1%, correlation: 25%}, duplicate: {}}",
            "drop 1% (correlation 25%) + duplicate 100% · both local :80,443,+1 · 5% of flows",
        ),
        (
            "{}",
            "{drop: {chance: 1%, correlation: 25%, compat: netem}, delay: {latency: 1s, jitter: 10ms, compat: netem}}",
            "drop 1% (correlation 25%, as netem) + delay 1s ± 10ms (as netem) · egress",
        ),
        (
            "{remote: {ports: [5432]}, connections: new}",
            "{reject: {with: reset, chance: 50%}}",
            "reject 50% with reset · egress → *:5432 · new connections",
        ),
        (
            "{remote: {except: [10.0.0.0/8]}}",
            "{corrupt: {chance: 0.5%, checksum: fix}}",
            "corrupt 0.5% · egress → * except 10.0.0.0/8",
        ),
        (
            "{}",
            "{drop: {gilbertElliott: {p: 1%, r: 10%}}}",
            "drop in bursts (p 1%, r 10%) · egress",
        ),
    ];
    for (traffic, fault, expected) in cases {
        assert_eq!(summary(&spec("{pid: 7}", traffic, fault)), expected);
    }
}

#[test]
fn explanations_name_the_nearest_commands() {
    let told = |target: &str, traffic: &str, fault: &str| {
        explain(&NetworkFault::new("a", spec(target, traffic, fault))).to_string()
    };
    let cases = [
        (
            "{netns: blue}",
            "{}",
            "{drop: {chance: 30%, correlation: 25%}}",
            "ip netns exec blue tc qdisc add dev $DEV root netem loss random 30% 25%\n",
        ),
        (
            "{netns: blue}",
            "{}",
            "{duplicate: {chance: 1%, correlation: 25%}, corrupt: {chance: 2%, correlation: 50%}}",
            "root netem duplicate 1% 25% corrupt 2% 50%\n",
        ),
        (
            "{netns: blue}",
            "{}",
            "{delay: {latency: 100ms, jitter: 20ms, correlation: 25%}, reorder: {chance: 5%, correlation: 50%, gap: 5}}",
            "root netem delay 100ms 20ms 25% distribution normal reorder 5% 50% gap 5\n",
        ),
        (
            "{netns: blue}",
            "{}",
            "{delay: {latency: 100ms, jitter: 20ms, compat: netem}}",
            "root netem delay 100ms 20ms\n",
        ),
        (
            "{netns: blue}",
            "{}",
            "{delay: {latency: 100ms, jitter: 20ms, distribution: {file: measured.dist}}}",
            "root netem delay 100ms 20ms distribution measured.dist\n",
        ),
        (
            "{netns: blue}",
            "{}",
            "{delay: {latency: 100ms, jitter: 20ms, correlation: 25%, distribution: pareto, compat: netem}}",
            "Warning NetemCompat: with `compat: netem`, the correlation of 25% between delays is lost, and the long tail is cut off at four jitters",
        ),
        (
            "{netns: blue}",
            "{}",
            "{drop: {chance: 20%, correlation: 75%, compat: netem}}",
            "Warning NetemCompat: with `compat: netem`, `drop` of 20% with a correlation of 75% loses about 0.12%",
        ),
        (
            "{netns: blue}",
            "{}",
            "{delay: {latency: 100ms, jitter: 20ms, correlation: 25%}}",
            "so its delays are hardly correlated; here they are, and keep their distribution.",
        ),
        (
            "{netns: blue, interfaces: [eth0]}",
            "{}",
            "{duplicate: {chance: 1%}}",
            "ip netns exec blue tc qdisc add dev eth0 root netem duplicate 1%\n",
        ),
        (
            "{pid: 7}",
            "{}",
            "{drop: {gilbertElliott: {p: 1%, r: 10%, h: 20%, k: 99%}}}",
            "nsenter -t 7 -n tc qdisc add dev $DEV root netem loss gemodel 1% 10% 80% 1%\n",
        ),
        (
            "{host: true}",
            "{protocol: tcp, remote: {cidrs: [10.0.0.0/8], ports: [5432]}}",
            "{drop: {chance: 5%}}",
            "tc filter add dev $DEV parent 1: protocol ip prio 2 flower ip_proto tcp dst_ip 10.0.0.0/8 dst_port 5432 classid 1:4\n",
        ),
        (
            "{cgroup: /a/b}",
            "{protocol: tcp}",
            "{drop: {chance: 5%}}",
            "iptables -t mangle -A OUTPUT -m cgroup --path a/b -p tcp -j CLASSIFY --set-class 1:4\n",
        ),
        (
            "{cgroup: /a}",
            "{protocol: udp, remote: {cidrs: ['fd00::/8']}}",
            "{partition: {}}",
            "ip6tables -A OUTPUT -m cgroup --path a -p udp -d fd00::/8 -j DROP\n",
        ),
        (
            "{host: true}",
            "{direction: ingress, remote: {ports: [5432, 6000-6010]}}",
            "{reject: {with: reset, chance: 50%}}",
            "iptables -A INPUT -p tcp -m multiport --sports 5432,6000:6010 -m statistic --mode random --probability 0.5 -j REJECT --reject-with tcp-reset\n",
        ),
        (
            "{host: true}",
            "{}",
            "{drop: {every: 5}}",
            "iptables -A OUTPUT -m statistic --mode nth --every 5 --packet 0 -j DROP\n",
        ),
        (
            "{host: true}",
            "{connections: new}",
            "{reject: {}}",
            "iptables -A OUTPUT -p tcp --syn -j REJECT --reject-with tcp-reset\n",
        ),
        (
            "{host: true}",
            "{connections: new}",
            "{reject: {with: icmp}}",
            "iptables -A OUTPUT -p tcp --syn -j REJECT --reject-with icmp-port-unreachable\n",
        ),
        (
            "{host: true}",
            "{remote: {cidrs: [10.0.0.0/8]}}",
            "{reject: {}}",
            "iptables -A OUTPUT -p tcp -d 10.0.0.0/8 -j REJECT --reject-with tcp-reset\n  iptables -A OUTPUT -d 10.0.0.0/8 -j REJECT --reject-with icmp-port-unreachable\n",
        ),
        (
            "{host: true}",
            "{remote: {ports: [53]}}",
            "{reject: {chance: 50%}}",
            "ip6tables -A OUTPUT -p udp -m multiport --dports 53 -m statistic --mode random --probability 0.5 -j REJECT --reject-with icmp6-port-unreachable\n",
        ),
        (
            "{host: true}",
            "{protocol: udp}",
            "{reject: {}}",
            "Nearest with iptables:\n  iptables -A OUTPUT -p udp -j REJECT --reject-with icmp-port-unreachable\n",
        ),
    ];
    for (target, traffic, fault, command) in cases {
        let text = told(target, traffic, fault);
        assert!(text.contains(command), "{command}\nin\n{text}");
        assert!(text.contains("It ends by itself after 5m"), "{text}");
    }
    let late = "after the first SYN retransmission";
    for (traffic, fault, says) in [
        ("{protocol: tcp}", "{reject: {with: icmp}}", true),
        ("{protocol: udp}", "{reject: {with: icmp}}", false),
        ("{protocol: tcp}", "{reject: {}}", false),
    ] {
        let text = told("{pid: 7}", traffic, fault);
        assert_eq!(text.contains(late), says, "{text}");
    }
    let reset = told("{pid: 7}", "{}", "{reset: {chance: 20%}}");
    assert!(
        reset.contains("here both ends get a reset") && reset.contains("Warning OnlyTcpIsReset"),
        "{reset}"
    );
}

#[test]
fn advice_is_given_where_it_is_due() {
    let codes = |target: &str, traffic: &str, fault: &str| -> Vec<String> {
        let kinds = chaos_spec::explain::advice(&spec(target, traffic, fault));
        kinds.into_iter().map(|kind| Warning::from(kind).code).collect()
    };
    assert_eq!(
        codes("{host: true}", "{}", "{drop: {chance: 5%}}"),
        ["HostTarget"]
    );
    assert_eq!(codes("{pid: 7}", "{}", "{drop: {chance: 0%}}"), ["NeverActs"]);
    assert_eq!(
        codes("{pid: 7}", "{}", "{drop: {chance: 0%}, duplicate: {chance: 1%}}"),
        Vec::<String>::new()
    );
    assert_eq!(codes("{pid: 7}", "{flows: 0%}", "{partition: {}}"), ["NeverActs"]);
    assert_eq!(
        codes("{cgroup: /a}", "{direction: both}", "{partition: {}}"),
        ["IcmpIngressNotAttributable"]
    );
    assert_eq!(
        codes(
            "{cgroup: /a}",
            "{direction: both, protocol: tcp}",
            "{partition: {}}"
        ),
        Vec::<String>::new()
    );
    assert_eq!(codes("{pid: 7}", "{}", "{reset: {}}"), ["OnlyTcpIsReset"]);
    assert_eq!(
        codes("{pid: 7}", "{protocol: tcp}", "{reset: {}}"),
        Vec::<String>::new()
    );
}

#[test]
fn the_fault_order_is_the_order_of_the_fields() {
    let mut sorted = FaultKind::ALL;
    sorted.sort();
    assert_eq!(sorted, FaultKind::ALL);
    let json = serde_json::to_value(Fault::partition()).expect("JSON");
    assert_eq!(json, serde_json::json!({"partition": {}}));
}

#[test]
fn requests_and_look_ups_in_words() {
    for (traffic, fault, line, happens) in [
        (
            "{protocol: tcp, remote: {ports: [8080]}}",
            "{http: {status: 503, chance: 40%, method: [GET, POST], path: '/pay/*', host: payments.example.com}}",
            "http 503 40% GET,POST payments.example.com/pay/* · egress tcp → *:8080",
            "40% of the GET and POST requests in plain HTTP/1.1 for /pay/* at payments.example.com are answered here with \
             503, and their connection ends; the server never sees them",
        ),
        (
            "{direction: ingress, local: {ports: [80]}}",
            "{http: {abort: true}}",
            "http abort 100% · ingress local :80",
            "100% of the requests in plain HTTP/1.1 are cut off: their connection is reset at both ends",
        ),
        (
            "{}",
            "{http: {delay: 300ms, path: '*.json'}}",
            "http delay 300ms 100% *.json · egress",
            "100% of the requests in plain HTTP/1.1 for *.json go on 300ms later",
        ),
        (
            "{}",
            "{dns: {answer: nxdomain, names: ['*.example.com'], types: [A, AAAA], chance: 50%}}",
            "dns nxdomain 50% A,AAAA *.example.com · egress",
            "50% of the look-ups over UDP, port 53, of A and AAAA for *.example.com are answered here with NXDOMAIN: there \
             is no such name",
        ),
        (
            "{protocol: udp, remote: {ports: [5353]}}",
            "{dns: {answer: {a: [192.0.2.7], ttl: 1m}}}",
            "dns 192.0.2.7 100% · egress udp → *:5353",
            "100% of the look-ups over UDP of A and AAAA are answered here with 192.0.2.7, and that there is no AAAA, to be \
             kept for 1m",
        ),
        (
            "{}",
            "{dns: {answer: timeout, tcp: reset}}",
            "dns timeout 100% · tcp reset · egress",
            "100% of the connections for look-ups over TCP are reset, whatever they ask for",
        ),
    ] {
        let spec = spec("{netns: blue}", traffic, fault);
        assert_eq!(summary(&spec), line);
        let rules = chaos_spec::explain::rules(&spec);
        assert_eq!(rules.last().map(String::as_str), Some(happens));
        let explanation = explain(&NetworkFault::new("a", spec));
        assert!(explanation.nearest.is_empty());
        let text = explanation.to_string();
        assert!(
            text.contains("No tc or iptables command comes near it."),
            "{text}"
        );
        assert!(
            text.contains("Other tools answer") && !text.contains("rules of tc"),
            "{text}"
        );
    }
}

#[test]
fn what_cannot_be_read_is_warned_about() {
    let codes = |traffic: &str, fault: &str| -> Vec<&'static str> {
        let spec = spec("{netns: blue}", traffic, fault);
        chaos_spec::explain::advice(&spec)
            .iter()
            .map(chaos_spec::WarningKind::code)
            .collect()
    };
    assert_eq!(codes("{}", "{http: {status: 503}}"), ["PlainHttpOnly"]);
    assert_eq!(
        codes("{remote: {ports: [443]}}", "{http: {status: 503}}"),
        ["PlainHttpOnly"]
    );
    assert_eq!(codes("{remote: {ports: [80]}}", "{http: {status: 503}}"), [""; 0]);
    assert_eq!(
        codes("{remote: {ports: [80]}}", "{http: {status: 503, chance: 0%}}"),
        ["NeverActs"]
    );
    assert_eq!(codes("{}", "{dns: {answer: timeout, chance: 0%}}"), ["NeverActs"]);
}
