//! How much a plan can break.

use chaos_spec::policy::Severity;
use chaos_spec::{Duration, Fault, FaultKind, FaultSpec, TargetKind};

use super::chance;

/// A fault that lasts longer counts one step higher.
const LONG: Duration = Duration::from_secs(3600);
/// So do plans of more faults.
const MANY: usize = 10;
/// A fault on no more flows counts one step lower.
const FEW_FLOWS: f64 = 0.10;

/// The severity of faults that are asked for together: that of the worst of them, and one step more when they are
/// many.
///
/// A fault that makes packets or requests wait, or packets come twice, is low. One that loses or spoils them is low up to one in ten,
/// medium up to a half, and high above that. Longer than an hour: one step up. On the whole host: one step up. On a
/// tenth of the flows or less: one step down.
pub fn severity<'a>(faults: impl IntoIterator<Item = &'a FaultSpec>) -> Severity {
    let (mut worst, mut count) = (0, 0);
    for spec in faults {
        worst = worst.max(steps(spec));
        count += 1;
    }
    of_steps(worst + i32::from(count > MANY))
}

fn steps(spec: &FaultSpec) -> i32 {
    let kinds = spec.fault.kinds();
    let worst = kinds.into_iter().map(|kind| {
        if is_gentle(&spec.fault, kind) {
            return 0;
        }
        match chance::of(&spec.fault, kind) {
            chance if chance <= 0.1 => 0,
            chance if chance <= 0.5 => 1,
            _ => 2,
        }
    });
    let few = spec
        .traffic
        .flows
        .is_some_and(|flows| flows.as_ratio() <= FEW_FLOWS);
    worst.max().unwrap_or(0)
        + i32::from(spec.duration > LONG)
        + i32::from(matches!(spec.target.kind, TargetKind::Host))
        - i32::from(few)
}

fn is_gentle(fault: &Fault, kind: FaultKind) -> bool {
    match kind {
        FaultKind::Delay | FaultKind::Reorder | FaultKind::Duplicate | FaultKind::Bandwidth => true,
        FaultKind::Http => fault.http.as_ref().is_some_and(|http| http.delay.is_some()),
        FaultKind::Dns => fault.dns.as_ref().is_some_and(|dns| dns.delay.is_some()),
        _ => false,
    }
}

fn of_steps(steps: i32) -> Severity {
    match steps {
        ..=0 => Severity::Low,
        1 => Severity::Medium,
        2 => Severity::High,
        _ => Severity::Critical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(target: &str, fault: &str, rest: &str) -> Severity {
        let text = format!(
            "apiVersion: chaos-daemon.dev/v1alpha1\nkind: NetworkFault\nmetadata: {{name: a}}\nspec:\n  target: \
             {{{target}}}\n  fault: {{{fault}}}\n{rest}"
        );
        let parsed = chaos_spec::parse("a.yaml", text.as_bytes()).unwrap();
        severity(parsed.iter().map(|located| &located.fault.spec))
    }

    #[test]
    fn severity_grows_with_chance_duration_and_reach() {
        for (target, fault, rest, wanted) in [
            (
                "netns: blue",
                "delay: {latency: 100ms}",
                "  duration: 1m\n",
                Severity::Low,
            ),
            (
                "netns: blue",
                "drop: {chance: 10%}",
                "  duration: 1m\n",
                Severity::Low,
            ),
            (
                "netns: blue",
                "drop: {chance: 11%}",
                "  duration: 1m\n",
                Severity::Medium,
            ),
            (
                "netns: blue",
                "drop: {chance: 51%}",
                "  duration: 1m\n",
                Severity::High,
            ),
            (
                "netns: blue",
                "http: {status: 503, chance: 40%}",
                "  duration: 1m\n",
                Severity::Medium,
            ),
            (
                "netns: blue",
                "dns: {answer: nxdomain, chance: 10%}",
                "  duration: 1m\n",
                Severity::Low,
            ),
            (
                "netns: blue",
                "http: {delay: 300ms}",
                "  duration: 1m\n",
                Severity::Low,
            ),
            (
                "netns: blue",
                "partition: {}",
                "  duration: 61m\n",
                Severity::Critical,
            ),
            (
                "host: true",
                "partition: {}",
                "  duration: 1m\n",
                Severity::Critical,
            ),
            (
                "host: true",
                "delay: {latency: 1s}",
                "  duration: 1m\n",
                Severity::Medium,
            ),
            (
                "netns: blue",
                "partition: {}",
                "  duration: 1m\n  traffic: {flows: 5%}\n",
                Severity::Medium,
            ),
        ] {
            assert_eq!(of(target, fault, rest), wanted, "{target} {fault} {rest}");
        }
    }

    #[test]
    fn many_faults_are_worse_than_each() {
        let spec = chaos_spec::parse(
            "a.yaml",
            b"apiVersion: chaos-daemon.dev/v1alpha1\nkind: NetworkFault\nmetadata: {name: a}\nspec:\n  target: {netns: b}\n  fault: {partition: {}}\n  duration: 1m\n",
        )
        .unwrap()
        .remove(0)
        .fault
        .spec;
        assert_eq!(severity(vec![&spec; 10]), Severity::High);
        assert_eq!(severity(vec![&spec; 11]), Severity::Critical);
    }
}
