//! What the line does, beyond what a rule can say.

use chaos_ebpf_common::{
    abi::{Rule, fault, flags, waits},
    delay::{Delay, ONE},
    rng::Stream,
};
use chaos_spec::{Chance, Checksum, Fault, NetemCompat, Order};

use super::{
    choice::Choice,
    distribution::{Jitter, freshness},
};

/// The faults of one rule that are carried out on the line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinePlan {
    /// `duplicate`, when packets that are hit come in runs.
    pub duplicate: Option<Choice>,
    /// `corrupt`, likewise.
    pub corrupt: Option<Choice>,
    /// `delay`.
    pub delay: Option<DelayPlan>,
    /// `reorder`.
    pub reorder: Option<ReorderPlan>,
    /// `bandwidth`.
    pub bandwidth: Option<BandwidthPlan>,
    /// `corrupt` lets the checksum be, so that the receiver notices.
    pub leave_checksum: bool,
}

/// Packets come later.
#[derive(Clone, Debug, PartialEq)]
pub struct DelayPlan {
    /// How long.
    pub delay: Delay,
    /// How the jitter is spread.
    pub jitter: Jitter,
    /// Packets of a flow keep their order.
    pub keep_order: bool,
}

/// Some packets do not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReorderPlan {
    /// Which of those that may.
    pub choice: Choice,
    /// Only every n-th packet may.
    pub gap: u32,
}

/// No more than a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BandwidthPlan {
    /// Bits a second.
    pub rate: u64,
    /// Bytes that may go at once.
    pub burst: u64,
}

/// Bytes of a burst when none is written: ten full packets.
const BURST: u64 = 15_140;

/// Reads a spec; `None` when nothing of it can come behind an older fault that makes packets wait. Marks the rule when it
/// needs a line by itself.
pub(super) fn plan(spec: &Fault, rule: &mut Rule) -> Option<LinePlan> {
    let plan = LinePlan {
        duplicate: spec.duplicate.as_ref().and_then(|copy| {
            in_runs(
                copy.chance,
                copy.correlation,
                copy.compat,
                rule,
                Stream::Duplicate,
            )
        }),
        corrupt: spec
            .corrupt
            .as_ref()
            .and_then(|flip| in_runs(flip.chance, flip.correlation, flip.compat, rule, Stream::Corrupt)),
        delay: requests(spec).as_ref().or(spec.delay.as_ref()).map(|delay| {
            let correlation = delay
                .correlation
                .map_or(0.0, |share| share.threshold() as f64 / 2f64.powi(32));
            DelayPlan {
                delay: Delay {
                    latency: delay.latency.as_nanos(),
                    jitter: delay.jitter.map_or(0, |jitter| jitter.as_nanos()),
                    correlation: (correlation * ONE as f64) as i64,
                    freshness: (freshness(correlation) * ONE as f64) as i64,
                },
                jitter: Jitter::new(delay),
                keep_order: delay.order == Order::Keep,
            }
        }),
        reorder: spec.reorder.as_ref().map(|reorder| ReorderPlan {
            choice: Choice::new(
                reorder.chance,
                reorder.correlation,
                reorder.compat,
                rule.seed,
                Stream::Reorder,
            ),
            gap: reorder.gap.unwrap_or(1).max(1),
        }),
        bandwidth: spec.bandwidth.as_ref().map(|bandwidth| BandwidthPlan {
            rate: bandwidth.rate.bits_per_second(),
            burst: bandwidth.burst.map_or(BURST, |burst| burst.bytes()),
        }),
        leave_checksum: spec
            .corrupt
            .as_ref()
            .is_some_and(|corrupt| corrupt.checksum == Checksum::Leave),
    };
    for (asked, bit) in [
        (spec.delay.is_some(), fault::DELAY),
        (plan.reorder.is_some(), fault::REORDER),
        (plan.bandwidth.is_some(), fault::BANDWIDTH),
    ] {
        if asked {
            rule.faults |= bit;
        }
    }
    let by_chance = fault::DROP | fault::DUPLICATE | fault::CORRUPT;
    if plan != LinePlan::default() {
        rule.flags |= flags::LINE;
    } else if rule.faults & by_chance != 0 && rule.flags & flags::SIGNAL_LOCAL == 0 {
        rule.flags |= flags::LINE_BULK;
    } else if rule.faults & (fault::PARTITION | by_chance) == 0 {
        return None;
    }
    Some(plan)
}

/// The wait of requests and look-ups, as a delay: those that follow one another on a connection keep their order.
fn requests(spec: &Fault) -> Option<chaos_spec::Delay> {
    let latency = match (&spec.http, &spec.dns) {
        (Some(http), _) => http.delay?,
        (_, Some(dns)) => dns.delay?,
        _ => return None,
    };
    Some(chaos_spec::Delay {
        latency,
        jitter: None,
        distribution: None,
        correlation: None,
        order: Order::Keep,
        compat: None,
    })
}

/// What the hook has no memory for; `None` when each packet is hit by itself.
fn in_runs(
    chance: Chance,
    correlation: Option<Chance>,
    compat: Option<NetemCompat>,
    rule: &Rule,
    stream: Stream,
) -> Option<Choice> {
    let choice = Choice::new(chance, correlation, compat, rule.seed, stream);
    matches!(choice, Choice::Alike { .. }).then_some(choice)
}

impl LinePlan {
    /// Why the kernel line cannot carry a rule of this plan out; `None`: it can.
    pub fn not_in_kernel(&self, rule: &Rule) -> Option<&'static str> {
        let Some(plan) = &self.delay else {
            return Some("only `delay` waits there");
        };
        if rule.faults != fault::DELAY {
            return Some("only `delay` alone waits there");
        }
        if plan.delay.jitter > 0 && matches!(plan.jitter, Jitter::Netem { .. }) {
            return Some("jitter as netem draws it is for the user line");
        }
        let longest = plan.delay.latency.saturating_add(plan.delay.jitter);
        (longest > waits::LONGEST).then_some("packets wait no longer than 2 s there, jitter included")
    }

    /// Whether the line has to see each wire packet by itself.
    pub fn needs_wire_packets(&self, rule: &Rule) -> bool {
        rule.faults & (fault::DROP | fault::DUPLICATE | fault::CORRUPT | fault::REORDER | fault::BANDWIDTH)
            != 0
    }
}
