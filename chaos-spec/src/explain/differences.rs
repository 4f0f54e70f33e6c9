use super::{Equivalent, requests};
use crate::{
    Chance, Checksum, Connections, Direction, Distribution, DropModel, DropSignal, Fault, FaultSpec,
    NetemCompat, Order, RejectWith, TargetKind,
};

pub(super) const GUARDED: &str =
    "ARP, neighbour discovery, SSH and the daemon's own sockets are guarded: no fault touches them.";

/// Where the nearest commands differ from the fault: only what matters for this one.
pub(super) fn list(spec: &FaultSpec, nearest: &[Equivalent]) -> Vec<String> {
    let fault = &spec.fault;
    if let Some(differences) = requests::differences(spec) {
        return differences;
    }
    let uses = |tool: &str| nearest.iter().any(|equivalent| equivalent.tool == tool);
    let mut differences = vec![format!(
        "It ends by itself after {}, in the kernel, also when the daemon is killed or hangs; rules of tc and iptables \
         stay until somebody removes them.",
        spec.duration
    )];
    let mut add = |text: &str| differences.push(text.to_owned());
    if uses("tc") {
        add(
            "netem takes the place of the interface's root qdisc, and all of its traffic passes through; here only \
             what matches is touched, and no qdisc changes.",
        );
        add(
            "netem counts packets before segmentation, so one of its losses can be 64 KB of TCP; here chances are \
             of wire packets.",
        );
    }
    if let Some(drop) = &fault.drop {
        if drop.signal == DropSignal::None && spec.traffic.direction.has_egress() {
            add(
                "A loss in netem at egress is told to the sender's stack, which then does not back off as on a real \
                 network; here it is silent.",
            );
        }
        if let Some(DropModel::GilbertElliott(_)) = drop.model() {
            add(
                "netem's gemodel takes chances of loss (1-h, 1-k); `h` and `k` here are chances of delivery.",
            );
        }
        if fault.duplicate.is_some() && uses("tc") {
            add(
                "netem decides over copies first, and a packet that is both doubled and lost goes once; here what is \
                 lost is lost, and copies are made of the rest.",
            );
        }
    }
    line(fault, &mut add);
    if uses("iptables") && spec.traffic.direction.has_egress() && fault.partition.is_some() {
        add("DROP in OUTPUT gives UDP senders EPERM; here they notice nothing.");
    }
    if let Some(reject) = &fault.reject {
        let answers_tcp_by_icmp = reject.with == RejectWith::Icmp && spec.traffic.protocol.has_tcp();
        if answers_tcp_by_icmp && spec.traffic.direction.has_egress() {
            add(
                "An ICMP answer can come so fast that connect() still holds its socket, and the kernel then waits \
                 until after the first SYN retransmission, about 1 s, before connect() fails (measured for IPv6); `with: \
                 reset` makes it fail at once.",
            );
        }
    }
    if fault.reset.is_some() {
        add(
            "REJECT answers one end and leaves the other waiting; here both ends get a reset, and new connections \
             are let through their handshake first.",
        );
        add("The chance of `reset` is of connections, not of packets.");
    }
    if let Some(corrupt) = &fault.corrupt {
        add("netem flips a bit anywhere, headers included; here it is one of the payload.");
        if corrupt.checksum == Checksum::Fix {
            add(
                "netem flips a bit before or after the checksum is made, as offloads have it; here the checksum is right \
             again, so the application reads the wrong byte every time.",
            );
        }
    }
    if spec.traffic.direction != Direction::Egress {
        add(
            "Ingress is what arrives, first SYN and UDP included; netem needs an ifb detour for it, and iptables sees \
             it only after the stack has begun its work.",
        );
    }
    if matches!(spec.target.kind, TargetKind::Cgroup(_)) {
        add(
            "`-m cgroup` knows a socket's cgroup only for what is sent and for connections that exist; here arriving \
             SYN and UDP are told apart too, and sockets opened before the fault as well.",
        );
    }
    if uses("iptables") && spec.traffic.connections != Connections::Any {
        add("`--syn` means the first SYN alone; here its SYN-ACK opens the connection, too.");
    }
    if spec.traffic.flows.is_some() {
        add("Neither tool can hit a share of the flows and leave the others whole.");
    }
    if spec
        .traffic
        .remote
        .as_ref()
        .is_some_and(|remote| !remote.hosts.is_empty())
    {
        add("iptables looks a name up once, tc not at all; here it is kept fresh while the fault runs.");
    }
    add(GUARDED);
    differences
}

/// Correlation, waiting, order and rate.
fn line(fault: &Fault, add: &mut impl FnMut(&str)) {
    let asked = |correlation: Option<Chance>, compat: Option<NetemCompat>| {
        compat.is_none() && correlation.is_some_and(|share| !share.is_never())
    };
    let chances = [
        fault.drop.as_ref().map(|drop| (drop.correlation, drop.compat)),
        fault
            .duplicate
            .as_ref()
            .map(|copy| (copy.correlation, copy.compat)),
        fault.corrupt.as_ref().map(|flip| (flip.correlation, flip.compat)),
        fault
            .reorder
            .as_ref()
            .map(|reorder| (reorder.correlation, reorder.compat)),
    ];
    if chances
        .into_iter()
        .flatten()
        .any(|(correlation, compat)| asked(correlation, compat))
    {
        add(
            "Correlation in netem changes how much is hit; here the chance stays what you wrote, unless you write \
             `compat: netem`.",
        );
    }
    if let Some(delay) = fault.delay.as_ref().filter(|delay| delay.jitter.is_some()) {
        if asked(delay.correlation, delay.compat) {
            add(
                "netem reads jitter from the low digits of its correlated number, so its delays are hardly \
                 correlated; here they are, and keep their distribution.",
            );
        }
        if delay.compat.is_none() && delay.distribution != Some(Distribution::Uniform) {
            add("netem's tables are cut off at four jitters; here the tail is as long as it is.");
        }
        if delay.order == Order::Keep {
            add(
                "Jitter in netem lets packets of one flow overtake one another; here they do so with `order: free` \
                 only.",
            );
        }
    }
    if fault.reorder.is_some() && fault.delay.is_none() {
        add("netem reorders delayed packets only; here some are held back for 10ms without a `delay`.");
    }
    if fault.bandwidth.is_some() {
        add("netem's `rate` knows no burst.");
    }
}
