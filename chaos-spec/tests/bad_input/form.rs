//! Values and fields that cannot be read.

use crate::{check, duration, fault, messages, target, traffic};

#[test]
fn chances() {
    check(&[
        (
            fault("fault: {drop: {chance: 130%}}"),
            "7:26: spec.fault.drop.chance: 130% is more than 100% – write a chance between 0% and 100%",
        ),
        (
            fault("fault: {drop: {chance: -5%}}"),
            "7:26: spec.fault.drop.chance: -5% is less than 0% – write a chance between 0% and 100%",
        ),
        (
            fault("fault: {drop: {chance: 30}}"),
            "7:26: spec.fault.drop.chance: `30` has no percent sign – write `30%`",
        ),
        (
            fault("fault: {drop: {chance: 0.3}}"),
            "7:26: spec.fault.drop.chance: `0.3` has no percent sign – write `0.3%`",
        ),
        (
            fault("fault: {drop: {chance: often}}"),
            "7:26: spec.fault.drop.chance: `often` is not a chance – write a number and a percent sign, such as `30%` or `0.5%`",
        ),
        (
            fault("fault: {drop: {chance: 0.00000000001%}}"),
            "7:26: spec.fault.drop.chance: 0.00000000001% has more than nine decimals – write at most nine, such as `0.000000001%`",
        ),
        (
            fault("fault: {drop: {chance: }}"),
            "7:18: spec.fault.drop.chance: nothing is written here – give it a value, or leave the field out",
        ),
        (
            fault("fault: {drop: {chance: [30%]}}"),
            "7:18: spec.fault.drop.chance: expected a chance such as `30%`, found a list – write it without the brackets",
        ),
        (
            fault("fault: {drop: {chance: true}}"),
            "7:26: spec.fault.drop.chance: expected a chance such as `30%`, found `true` – write that instead",
        ),
        (
            traffic("traffic: {flows: 5}"),
            "6:20: spec.traffic.flows: `5` has no percent sign – write `5%`",
        ),
    ]);
}

#[test]
fn durations() {
    check(&[
        (
            duration("duration: 300"),
            "8:13: spec.duration: `300` has no unit – write `300s` for seconds or `300ms` for milliseconds",
        ),
        (
            duration("duration: 0"),
            "8:13: spec.duration: `0` has no unit – write `0s` for seconds or `0ms` for milliseconds",
        ),
        (
            duration("duration: 5 apples"),
            "8:13: spec.duration: `5 apples` is not a length of time (unknown time unit \"apples\", supported units: ns, us/µs, ms, sec, min, hours, days, weeks, months, years (and few variations)) – write a number and a unit, such as `5m`, `30s` or `100ms`",
        ),
        (
            duration("duration: -5m"),
            "8:13: spec.duration: `-5m` is less than nothing – write a length of time such as `5m` or `100ms`",
        ),
        (
            duration("duration:"),
            "8:3: spec.duration: nothing is written here – give it a value, or leave the field out",
        ),
        (
            duration("seed: 1"),
            "4:1: spec.duration: it is required, and missing – write for example `duration: 5m`",
        ),
    ]);
}

#[test]
fn ports() {
    check(&[
        (
            traffic("traffic: {remote: {ports: [70000]}}"),
            "6:30: spec.traffic.remote.ports[0]: 70000 is not a port: ports end at 65535 – write a port between 1 and 65535",
        ),
        (
            traffic("traffic: {remote: {ports: [80, 0]}}"),
            "6:34: spec.traffic.remote.ports[1]: 0 is not a port that traffic uses – write a port between 1 and 65535",
        ),
        (
            traffic("traffic: {local: {ports: [6010-6000]}}"),
            "6:29: spec.traffic.local.ports[0]: 6010-6000 runs backwards – write `6000-6010`",
        ),
        (
            traffic("traffic: {local: {ports: [http]}}"),
            "6:29: spec.traffic.local.ports[0]: `http` is not a port – write a number such as `8080` or a range such as `6000-6010`",
        ),
        (
            traffic("traffic: {local: {ports: [-80]}}"),
            "6:29: spec.traffic.local.ports[0]: `-80` is not a port – write a number such as `8080` or a range such as `6000-6010`",
        ),
        (
            traffic("traffic: {local: {ports: 8080}}"),
            "6:28: spec.traffic.local.ports: expected a list, found the number 8080 – write `[8080]`",
        ),
        (
            traffic("traffic: {local: {ports: []}}"),
            "6:21: spec.traffic.local.ports: the list is empty – name at least one, or leave the field out",
        ),
    ]);
}

#[test]
fn addresses_and_names() {
    check(&[
        (
            traffic("traffic: {remote: {cidrs: [10.1.2.3/8]}}"),
            "6:30: spec.traffic.remote.cidrs[0]: `10.1.2.3/8` has address bits behind its prefix – write `10.0.0.0/8` for the network or `10.1.2.3` for the host",
        ),
        (
            traffic("traffic: {remote: {cidrs: [10.0.0.0/33]}}"),
            "6:30: spec.traffic.remote.cidrs[0]: `10.0.0.0/33` has a prefix of 33, longer than an address – write a prefix of at most 32",
        ),
        (
            traffic("traffic: {remote: {cidrs: [fd00::/300]}}"),
            "6:30: spec.traffic.remote.cidrs[0]: `fd00::/300` has a prefix of 300, longer than an address – write a prefix of at most 128",
        ),
        (
            traffic("traffic: {remote: {cidrs: [db.example.com]}}"),
            "6:30: spec.traffic.remote.cidrs[0]: `db.example.com` is not an address or a network – write `10.0.0.0/8`, `192.0.2.7` or `fd00::/8` (names go under `hosts`)",
        ),
        (
            traffic("traffic: {remote: {hosts: [10.0.0.1]}}"),
            "6:30: spec.traffic.remote.hosts[0]: `10.0.0.1` is an address, not a name – write it under `cidrs`",
        ),
        (
            traffic("traffic: {remote: {hosts: [a..b]}}"),
            "6:30: spec.traffic.remote.hosts[0]: `a..b` is not a host name: two dots follow one another – write a name such as `db.example.com`",
        ),
        (
            traffic("traffic: {remote: {hosts: ['db example']}}"),
            "6:30: spec.traffic.remote.hosts[0]: `db example` is not a host name: only letters, digits, hyphens and dots are allowed – write a name such as `db.example.com`",
        ),
    ]);
}

#[test]
fn unknown_and_misplaced_fields() {
    check(&[
        (
            traffic("traffic: {protocl: tcp}"),
            "6:13: spec.traffic.protocl: there is no such field – did you mean `protocol`?",
        ),
        (
            traffic("traffic: {Protocol: tcp}"),
            "6:13: spec.traffic.Protocol: there is no such field – did you mean `protocol`?",
        ),
        (
            traffic("traffic: {ports: [80]}"),
            "6:13: spec.traffic.ports: there is no such field – it belongs under `spec.traffic.remote` or `spec.traffic.local`",
        ),
        (
            traffic("traffic: {interfaces: [eth0]}"),
            "6:13: spec.traffic.interfaces: there is no such field – it belongs under `spec.target`",
        ),
        (
            traffic("traffic: {colour: red}"),
            "6:13: spec.traffic.colour: there is no such field – the fields here are `direction`, `protocol`, `remote`, `local`, `connections` and `flows`",
        ),
        (
            traffic("traffic: {local: {port: 80}}"),
            "6:21: spec.traffic.local.port: there is no such field – did you mean `ports`?",
        ),
        (
            fault("fault: {partition: {chance: 3%}}"),
            "7:23: spec.fault.partition.chance: there is no such field – leave it out",
        ),
        (
            duration("durration: 5m"),
            "8:3: spec.durration: there is no such field – did you mean `duration`?",
        ),
    ]);
}

#[test]
fn words_and_kinds_of_value() {
    check(&[
        (
            traffic("traffic: {protocol: tpc}"),
            "6:23: spec.traffic.protocol: `tpc` is not known here – did you mean `tcp`?",
        ),
        (
            traffic("traffic: {protocol: sctp}"),
            "6:23: spec.traffic.protocol: `sctp` is not known here – write `any`, `tcp`, `udp` or `icmp`",
        ),
        (
            traffic("traffic: {direction: out}"),
            "6:24: spec.traffic.direction: `out` is not known here – write `egress`, `ingress` or `both`",
        ),
        (
            traffic("traffic: {direction: 5}"),
            "6:24: spec.traffic.direction: expected one word, found the number 5 – write `egress`, `ingress` or `both`",
        ),
        (
            traffic("traffic: all"),
            "6:12: spec.traffic: expected fields, found the text `all` – write for example `{direction: …}`",
        ),
        (
            traffic("traffic:"),
            "6:3: spec.traffic: nothing is written here – write its fields, such as `direction: …`, or leave it out",
        ),
        (
            fault("fault: {partition: }"),
            "7:11: spec.fault.partition: nothing is written here – write `{}`, or leave it out",
        ),
        (
            fault("fault: {drop: {every: 2.5}}"),
            "7:25: spec.fault.drop.every: expected a whole number, found the number 2.5 – write digits only",
        ),
        (
            fault("fault: {drop: {every: '5'}}"),
            "7:25: spec.fault.drop.every: expected a whole number, found the text `5` – leave the quotes out: 5",
        ),
        (
            fault("fault: {drop: {every: 5000000000}}"),
            "7:25: spec.fault.drop.every: 5000000000 is too large – write at most 4294967295",
        ),
        (
            target("target: {pid: -1}"),
            "5:17: spec.target.pid: expected a whole number, found the number -1 – write digits only",
        ),
        (
            target("target: {host: yes}"),
            "5:18: spec.target.host: expected `true` or `false`, found the text `yes` – write one of the two",
        ),
        (
            target("target: {netns: true}"),
            "5:19: spec.target.netns: expected text, found `true` – put it in quotes if you mean it: \"true\"",
        ),
        (
            target("target: {interface: eth0}"),
            "5:23: spec.target.interface: expected fields, found the text `eth0` – write for example `{name: …}`",
        ),
    ]);
}

#[test]
fn targets() {
    let kinds = "`cgroup`, `pid`, `netns`, `container`, `interface`, `host` or `pods`";
    check(&[
        (
            target("target: {}"),
            &format!("5:3: spec.target: no target is named – write exactly one of {kinds}"),
        ),
        (
            target("target: {interfaces: [eth0]}"),
            &format!("5:3: spec.target: no target is named – write exactly one of {kinds}"),
        ),
        (
            target("target: {cgroup: /a, pid: 3}"),
            &format!("5:3: spec.target: `cgroup` and `pid` are named together – keep exactly one of {kinds}"),
        ),
        (
            target("target: {host: false}"),
            "5:3: spec.target: `host: false` names no target – write `host: true`, or one of the other kinds",
        ),
        (
            target(""),
            "4:1: spec.target: it is required, and missing – write for example `target: {cgroup: /system.slice/orders.service}`",
        ),
        (
            fault(""),
            "4:1: spec.fault: it is required, and missing – write for example `fault: {drop: {chance: 30%}}`",
        ),
    ]);
}

#[test]
fn documents_of_another_kind() {
    let cases = [
        (
            "kind: Experiment\nspec: {hypothesis: x}\n",
            "f.yaml:1:7: kind: an Experiment is run, not applied – use `chaosctl run FILE`",
        ),
        (
            "kind: Pod\n",
            "f.yaml:1:7: kind: `Pod` is not a kind that is known – write `kind: NetworkFault`",
        ),
        (
            "apiVersion: v1\nkind: NetworkFault\n",
            "f.yaml:1:13: apiVersion: `v1` is not a version that is known – write `apiVersion: chaos-daemon.dev/v1alpha1`",
        ),
        (
            "- a\n- b\n",
            "f.yaml:1:1: expected a NetworkFault, found a list – begin with `apiVersion: chaos-daemon.dev/v1alpha1` and `kind: NetworkFault`",
        ),
        (
            "hello\n",
            "f.yaml:1:1: expected a NetworkFault, found the text `hello` – begin with `apiVersion: chaos-daemon.dev/v1alpha1` and `kind: NetworkFault`",
        ),
        (
            "",
            "f.yaml: there is no document in it – write a NetworkFault into it",
        ),
        (
            "# nothing\n---\n",
            "f.yaml: there is no document in it – write a NetworkFault into it",
        ),
        (
            "items: []\n",
            "f.yaml:1:1: items: the list is empty – give at least one NetworkFault",
        ),
        (
            "items: 3\n",
            "f.yaml:1:8: items: expected a list of NetworkFaults – write `items: [{…}, {…}]`",
        ),
        (
            "items: [{kind: Pod}]\n",
            "f.yaml:1:16: items[0].kind: `Pod` is not a kind that is known – write `kind: NetworkFault`",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(messages("f.yaml", text), expected, "for\n{text}");
    }
}

#[test]
fn broken_yaml_and_json() {
    let hint = "look at the indentation, quotes and brackets here and just above";
    let cases = [
        ("f.yaml", "a: [1, 2\n", format!("f.yaml:1:4: this is not YAML: unclosed bracket '[' – {hint}")),
        ("f.yaml", "a: b: c\n", format!("f.yaml:1:5: this is not YAML: mapping values are not allowed in this context – {hint}")),
        ("f.yaml", "a: 1\nb: 2\na: 3\n", "f.yaml:3:1: the field `a` is written twice – keep one of them".to_owned()),
        ("f.yaml", "a: *b\n", "f.yaml:1:4: this alias names no anchor above it – define it first with `&name`, or quote the text".to_owned()),
        ("f.yaml", "a: .nan\n", "f.yaml:1:4: `.nan` is no number to count with – write a finite one".to_owned()),
        ("f.json", "{\"a\": 1,\n", "f.json:2:1: this is not JSON: EOF while parsing a value – the text is cut short: send or save the whole of it".to_owned()),
        ("f.json", "{\"a\": x}\n", "f.json:1:7: this is not JSON: expected value – correct the JSON at this place".to_owned()),
        ("f.json", "{\"a\": 1, \"a\": 2}\n", "f.json:1:16: the field `a` is written twice – keep one of them".to_owned()),
    ];
    for (file, text, expected) in cases {
        assert_eq!(messages(file, text), expected, "for\n{text}");
    }
}
