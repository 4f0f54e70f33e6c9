//! Values that can be read, and may not stand so.

use crate::{GOOD, Parts, check, fault, messages, more, target, traffic};

#[test]
fn names() {
    let name = |name: &str| {
        messages(
            "f.yaml",
            &GOOD.text().replace("{name: a}", &format!("{{name: {name}}}")),
        )
    };
    let long = "a".repeat(64);
    for (written, expected) in [
        (
            "Slow_DB",
            "f.yaml:3:18: metadata.name: `Slow_DB` is not a name: only lower-case letters, digits and hyphens, no hyphen at an end – write `slow-db`",
        ),
        (
            "-a",
            "f.yaml:3:18: metadata.name: `-a` is not a name: only lower-case letters, digits and hyphens, no hyphen at an end – write `a`",
        ),
        (
            "''",
            "f.yaml:3:18: metadata.name: the name is empty – write a name such as `slow-orders-db`",
        ),
        (
            long.as_str(),
            "f.yaml:3:18: metadata.name: the name has 64 characters – write at most 63",
        ),
    ] {
        assert_eq!(name(written), expected);
    }
    assert_eq!(name("007"), "no error");
    assert_eq!(name(&"a".repeat(63)), "no error");
}

#[test]
fn targets() {
    check(&[
        (
            target("target: {cgroup: system.slice}"),
            "5:20: spec.target.cgroup: `system.slice` does not begin with a slash – write `/system.slice`",
        ),
        (
            target("target: {cgroup: /sys/fs/cgroup/a}"),
            "5:20: spec.target.cgroup: `/sys/fs/cgroup/a` begins with the place where cgroups are mounted – write the path below it: `/a`",
        ),
        (
            target("target: {cgroup: /sys/fs/cgroup/unified/a/b}"),
            "5:20: spec.target.cgroup: `/sys/fs/cgroup/unified/a/b` begins with the place where cgroups are mounted – write the path below it: `/a/b`",
        ),
        (
            target("target: {cgroup: /a/../b}"),
            "5:20: spec.target.cgroup: `/a/../b` goes up or in place – write the path without `.` and `..`",
        ),
        (
            target("target: {pid: 0}"),
            "5:17: spec.target.pid: 0 is the kernel's own process id – write the id of a process",
        ),
        (
            target("target: {netns: ''}"),
            "5:19: spec.target.netns: the namespace is empty – write a path such as `/run/netns/blue`, or a name such as `blue`",
        ),
        (
            target("target: {netns: run/netns/a}"),
            "5:19: spec.target.netns: `run/netns/a` is neither a whole path nor a name – write `/run/netns/a`, or the name alone",
        ),
        (
            target("target: {container: ''}"),
            "5:23: spec.target.container: the id is empty – write a container's id or name",
        ),
        (
            target("target: {interface: {name: averyverylongname}}"),
            "5:30: spec.target.interface.name: `averyverylongname` has 17 characters; interface names end at 15 – write the name as `ip link` shows it",
        ),
        (
            target("target: {interface: {name: eth0@if7}}"),
            "5:30: spec.target.interface.name: `eth0@if7` names the peer as well – write `eth0`",
        ),
        (
            target("target: {netns: a, interfaces: [eth0, eth0]}"),
            "5:41: spec.target.interfaces[1]: `eth0` is named twice – name it once",
        ),
        (
            target("target: {interface: {name: a}, interfaces: [eth0]}"),
            "5:34: spec.target.interfaces: the target is one interface already – leave `interfaces` out, or name a `netns` target instead of `interface`",
        ),
    ]);
}

#[test]
fn traffics() {
    check(&[
        (
            traffic("traffic: {remote: {}}"),
            "6:13: spec.traffic.remote: it says nothing – name `cidrs`, `hosts` or `ports`, or leave `remote` out",
        ),
        (
            traffic("traffic: {local: {}}"),
            "6:13: spec.traffic.local: it says nothing – name `ports`, or leave `local` out",
        ),
        (
            traffic("traffic: {protocol: icmp, remote: {ports: [80]}}"),
            "6:38: spec.traffic.remote.ports: ICMP has no ports – write `protocol: tcp` or `udp`, or leave `ports` out",
        ),
        (
            traffic("traffic: {protocol: udp, connections: new}"),
            "6:41: spec.traffic.connections: `new` speaks of TCP connections, and the protocol is udp – write `protocol: tcp`, or leave `connections` out",
        ),
        (
            traffic("traffic: {protocol: icmp, connections: established}"),
            "6:42: spec.traffic.connections: `established` speaks of TCP connections, and the protocol is icmp – write `protocol: tcp`, or leave `connections` out",
        ),
        (
            traffic("traffic: {remote: {cidrs: [10.0.0.0/8], except: [192.168.0.0/16]}}"),
            "6:52: spec.traffic.remote.except[0]: 192.168.0.0/16 lies outside every network in `cidrs` – leave it out, or name a network that holds it in `cidrs`",
        ),
        (
            traffic("traffic: {remote: {cidrs: [10.0.0.0/8], except: ['fd00::/8']}}"),
            "6:52: spec.traffic.remote.except[0]: fd00::/8 lies outside every network in `cidrs` – leave it out, or name a network that holds it in `cidrs`",
        ),
        (
            traffic("traffic: {remote: {cidrs: [10.1.0.0/16], except: [10.0.0.0/8]}}"),
            "6:30: spec.traffic.remote.cidrs[0]: `except` takes all of 10.1.0.0/16 away (10.0.0.0/8) – leave it out, or narrow `except`",
        ),
        (
            traffic("traffic: {local: {ports: [80, 80]}}"),
            "6:33: spec.traffic.local.ports[1]: 80 is named twice – name it once",
        ),
    ]);
    for good in [
        "traffic: {remote: {except: [10.0.0.0/8]}}",
        "traffic: {remote: {cidrs: [10.0.0.0/8], except: [10.1.0.0/16]}}",
        "traffic: {remote: {cidrs: [10.0.0.0/8, 192.168.0.0/16, 'fd00::/8'], except: [192.168.7.0/24, 'fd00:1::/32']}}",
        "traffic: {remote: {cidrs: [10.0.0.0/8], hosts: [db], except: [192.168.0.0/16]}}",
        "traffic: {connections: new}",
        "traffic: {protocol: icmp}",
        "traffic: {flows: 0%}",
    ] {
        assert_eq!(traffic(good).messages(), "no error", "{good}");
    }
}

#[test]
fn faults() {
    let udp = Parts {
        traffic: "traffic: {protocol: udp}",
        ..GOOD
    };
    check(&[
        (
            fault("fault: {}"),
            "7:3: spec.fault: no fault is named – write at least one, such as `drop: {chance: 30%}` or `partition: {}`",
        ),
        (
            fault("fault: {drop: {}}"),
            "7:11: spec.fault.drop: it does not say which packets – write `chance: 30%`, `every: 5` or `gilbertElliott: {p: 1%, r: 10%}`",
        ),
        (
            fault("fault: {drop: {chance: 1%, every: 5}}"),
            "7:11: spec.fault.drop: `chance` and `every` are given together – keep exactly one of them",
        ),
        (
            fault("fault: {drop: {every: 0}}"),
            "7:25: spec.fault.drop.every: there is no 0th packet – write 1 for every packet, 5 for every fifth",
        ),
        (
            fault("fault: {drop: {every: 5, correlation: 2%}}"),
            "7:41: spec.fault.drop.correlation: it goes with `chance` only – leave it out; `gilbertElliott` makes bursts by itself",
        ),
        (
            fault("fault: {drop: {chance: 5%, correlation: 100%}}"),
            "7:43: spec.fault.drop.correlation: with 100% the first packet decides over all others – write less than 100%",
        ),
        (
            fault("fault: {partition: {}, drop: {chance: 5%}}"),
            "7:26: spec.fault.drop: `partition` loses every packet before `drop` sees one – keep either `partition` or `drop`",
        ),
        (
            fault("fault: {reject: {}, duplicate: {}}"),
            "7:23: spec.fault.duplicate: `reject` answers every packet before `duplicate` sees one – keep either `reject` or `duplicate`",
        ),
        (
            Parts {
                fault: "fault: {reset: {}}",
                ..udp
            },
            "7:11: spec.fault.reset: UDP has no connections to reset – write `protocol: tcp`, or `reject` or `drop`",
        ),
        (
            Parts {
                traffic: "traffic: {direction: ingress}",
                fault: "fault: {drop: {every: 5, signal: local}}",
                ..GOOD
            },
            "7:36: spec.fault.drop.signal: nobody on this side sent what arrives, so nobody can be told – leave it out, or write `direction: egress`",
        ),
    ]);
    for good in [
        "fault: {drop: {chance: 0%}}",
        "fault: {drop: {chance: 100%}}",
        "fault: {drop: {chance: 20%, correlation: 75%, signal: local}}",
        "fault: {drop: {gilbertElliott: {p: 1%, r: 10%}}, duplicate: {chance: 1%}, corrupt: {chance: 1%, checksum: fix}}",
        "fault: {reject: {with: reset, chance: 50%}, reset: {chance: 20%}}",
        "fault: {reset: {}}",
    ] {
        assert_eq!(fault(good).messages(), "no error", "{good}");
    }
    // What is not TCP is answered with ICMP, whatever `with` says.
    for good in ["fault: {reject: {}}", "fault: {reject: {with: reset}}"] {
        let parts = Parts { fault: good, ..udp };
        assert_eq!(parts.messages(), "no error", "{good} for UDP");
    }
}

#[test]
fn bounds() {
    check(&[
        (
            Parts {
                duration: "duration: 0s",
                ..GOOD
            },
            "8:13: spec.duration: a fault of no length does nothing – write how long it lasts, such as `5m`",
        ),
        (
            Parts {
                duration: "duration: 31days",
                ..GOOD
            },
            "8:13: spec.duration: 31days is longer than the 30 days that a fault may last – write at most `30days`",
        ),
        (
            more("safety: {maxPackets: 0}"),
            "9:24: spec.safety.maxPackets: a budget of 0 packets lets nothing happen – write at least 1",
        ),
        (
            more("safety: {maxFlows: 0}"),
            "9:22: spec.safety.maxFlows: a budget of 0 flows lets nothing happen – write 1 to 65536, or leave it out; `traffic.flows` bounds the share of flows",
        ),
        (
            more("safety: {maxFlows: 65537}"),
            "9:22: spec.safety.maxFlows: 65537 flows are more than the 65536 that can be told apart – write 1 to 65536, or leave it out; `traffic.flows` bounds the share of flows",
        ),
    ]);
    assert_eq!(
        Parts {
            duration: "duration: 30days",
            ..GOOD
        }
        .messages(),
        "no error"
    );
}

#[test]
fn what_waits() {
    check(&[
        (
            fault("fault: {reorder: {chance: 25%, gap: 0}}"),
            "7:39: spec.fault.reorder.gap: there is no 0th packet – write 1 for any packet, 5 for every fifth",
        ),
        (
            fault("fault: {delay: {latency: 2h}}"),
            "7:28: spec.fault.delay.latency: packets would wait for more than an hour – write less, or `partition` to lose them",
        ),
        (
            fault("fault: {delay: {latency: 1ms, distribution: pareto}}"),
            "7:47: spec.fault.delay.distribution: it spreads the jitter, and there is none – write a `jitter`, such as `jitter: 20ms`",
        ),
        (
            fault("fault: {delay: {latency: 1ms, correlation: 25%}}"),
            "7:46: spec.fault.delay.correlation: it is that of the jitter, and there is none – write a `jitter`, such as `jitter: 20ms`",
        ),
        (
            fault("fault: {delay: {latency: 1ms, jitter: 1ms, correlation: 100%}}"),
            "7:59: spec.fault.delay.correlation: with 100% the first packet decides over all others – write less than 100%",
        ),
        (
            fault("fault: {bandwidth: {rate: 0bit}}"),
            "7:29: spec.fault.bandwidth.rate: nothing would ever pass – write `partition` to lose everything, or a rate such as `10mbit`",
        ),
    ]);
    for good in [
        "fault: {delay: {latency: 100ms, jitter: 20ms, distribution: normal, correlation: 25%, order: free}}",
        "fault: {delay: {latency: 10ms}, reorder: {chance: 25%, gap: 5}}",
        "fault: {reorder: {chance: 25%}}",
        "fault: {bandwidth: {rate: 10mbit, burst: 32KiB}}",
        "fault: {corrupt: {chance: 1%}}",
        "fault: {corrupt: {chance: 1%, checksum: leave}}",
    ] {
        assert_eq!(fault(good).messages(), "no error", "{good}");
    }
}

#[test]
fn what_is_not_in_this_version() {
    check(&[(
        target(
            "target: {pods: {namespace: shop, labelSelector: app=orders, select: {count: 2}, follow: true}}",
        ),
        "5:12: spec.target.pods: not in this version: pods – name a `container`, `pid` or `netns` on the node itself",
    )]);
}

#[test]
fn correlation_tables_and_imitations() {
    check(&[
        (
            fault("fault: {drop: {every: 5, compat: netem}}"),
            "7:36: spec.fault.drop.compat: netem cannot lose every n-th packet – leave it out",
        ),
        (
            fault("fault: {drop: {gilbertElliott: {p: 1%, r: 10%}, compat: netem}}"),
            "7:59: spec.fault.drop.compat: netem's `gemodel` is this model: there is nothing to imitate – leave it out",
        ),
        (
            fault("fault: {drop: {chance: 1%, signal: local}, delay: {latency: 1ms}}"),
            "7:38: spec.fault.drop.signal: `delay` takes packets away from their sender before they are lost – leave it out, or make `delay` a fault of its own, created after this one",
        ),
        (
            fault("fault: {duplicate: {chance: 5%, correlation: 100%}}"),
            "7:48: spec.fault.duplicate.correlation: with 100% the first packet decides over all others – write less than 100%",
        ),
        (
            fault("fault: {reorder: {chance: 5%, correlation: 10%, compat: netem}}"),
            "7:59: spec.fault.reorder.compat: netem reorders delayed packets only – add a `delay`, or leave `compat` out: packets are then held back to be overtaken",
        ),
        (
            fault("fault: {delay: {latency: 1ms, jitter: 1ms, distribution: {}}}"),
            "7:46: spec.fault.delay.distribution: the table has no offsets – write `table: [-1, 0, 1]`, in units of the jitter, or `file: measured.txt`",
        ),
        (
            fault("fault: {delay: {latency: 1ms, jitter: 1ms, distribution: {table: [1], file: x}}}"),
            "7:46: spec.fault.delay.distribution: `table` and `file` are given together – keep one of them",
        ),
        (
            fault("fault: {delay: {latency: 1ms, jitter: 1ms, distribution: {table: [1, 2ms]}}}"),
            "7:72: spec.fault.delay.distribution.table[1]: expected a number, found the text `2ms` – write it without quotes or unit, such as `-0.5`",
        ),
        (
            fault("fault: {delay: {latency: 1ms, jitter: 1ms, distribution: {table: [1, 5000]}}}"),
            "7:72: spec.fault.delay.distribution.table[1]: no offset is more than a thousand jitters – offsets are in units of the jitter",
        ),
        (
            fault(
                "fault: {delay: {latency: 1ms, jitter: 1ms, distribution: {table: [0, 4.5]}, compat: netem}}",
            ),
            "7:72: spec.fault.delay.distribution.table[1]: netem's tables reach four jitters either way – write at most 4, or leave `compat` out",
        ),
    ]);
}
