//! The fault that a stage makes of the one that is written.

use super::{Experiment, Settings};
use crate::path::SpecPath;
use crate::{Chance, Drop, FaultKind, NetworkFault, SpecError};

/// Share of flows that a step acts on when neither it, nor its stage, nor the fault says so: a blast radius begins
/// small.
pub const DEFAULT_FLOWS: Chance = match Chance::percent(5) {
    Some(chance) => chance,
    None => Chance::NEVER,
};

const LABEL: &str = "chaos-daemon.dev/experiment";
/// Names of faults are at most so long.
const LONGEST_NAME: usize = 63;

/// A fault with the numbers of a stage. Its name is made of the experiment's and its own, so that no fault of
/// somebody else is changed.
///
/// # Errors
/// A number that the fault has no use for; the path is that of the field in the stage.
pub fn shape(
    experiment: &Experiment,
    fault: &NetworkFault,
    settings: &Settings,
) -> Result<NetworkFault, SpecError> {
    let mut shaped = fault.clone();
    shaped.metadata.name = fault_name(experiment.name(), fault.name());
    shaped
        .metadata
        .labels
        .insert(LABEL.to_owned(), experiment.name().to_owned());
    let flows = settings
        .flows
        .or(fault.spec.traffic.flows)
        .unwrap_or(DEFAULT_FLOWS);
    shaped.spec.traffic.flows = (!flows.is_always()).then_some(flows);
    if let Some(chance) = settings.chance {
        set_chance(&mut shaped, chance)?;
    }
    let spec = &mut shaped.spec.fault;
    let waits = spec.http.as_mut().and_then(|http| http.delay.as_mut());
    let waits = waits.or_else(|| spec.dns.as_mut().and_then(|dns| dns.delay.as_mut()));
    let latency = match (waits, settings.latency) {
        (Some(written), latency) => {
            *written = latency.unwrap_or(*written);
            None
        }
        (None, latency) => latency,
    };
    match (&mut spec.delay, latency, settings.jitter) {
        (Some(delay), latency, jitter) => {
            delay.latency = latency.unwrap_or(delay.latency);
            delay.jitter = jitter.or(delay.jitter);
        }
        (None, Some(_), _) => return Err(unused("latency", fault, "a `delay`")),
        (None, None, Some(_)) => return Err(unused("jitter", fault, "a `delay`")),
        (None, None, None) => {}
    }
    match (&mut spec.bandwidth, settings.rate) {
        (Some(bandwidth), rate) => bandwidth.rate = rate.unwrap_or(bandwidth.rate),
        (None, Some(_)) => return Err(unused("rate", fault, "a `bandwidth`")),
        (None, None) => {}
    }
    Ok(shaped)
}

fn set_chance(shaped: &mut NetworkFault, chance: Chance) -> Result<(), SpecError> {
    let of = shaped.name().to_owned();
    let fault = &mut shaped.spec.fault;
    let mut used = false;
    if let Some(Drop {
        chance: Some(written),
        ..
    }) = &mut fault.drop
    {
        *written = chance;
        used = true;
    }
    let written = [
        fault.reject.as_mut().map(|it| &mut it.chance),
        fault.reset.as_mut().map(|it| &mut it.chance),
        fault.duplicate.as_mut().map(|it| &mut it.chance),
        fault.corrupt.as_mut().map(|it| &mut it.chance),
        fault.reorder.as_mut().map(|it| &mut it.chance),
        fault.http.as_mut().map(|it| &mut it.chance),
        fault.dns.as_mut().map(|it| &mut it.chance),
    ];
    for written in written.into_iter().flatten() {
        *written = chance;
        used = true;
    }
    if used {
        return Ok(());
    }
    let kinds: Vec<&str> = fault.kinds().into_iter().map(FaultKind::word).collect();
    Err(SpecError::new(
        SpecPath::root().field("chance"),
        format!("`{of}` has no chance: it is a {}", kinds.join(" and ")),
        "leave it out, or ramp `flows`",
    ))
}

fn unused(field: &str, fault: &NetworkFault, lacks: &str) -> SpecError {
    let message = format!("`{}` has no use for it: it does not have {lacks}", fault.name());
    SpecError::new(
        SpecPath::root().field(field),
        message,
        format!("leave it out, or write {lacks} into the fault"),
    )
}

/// What the daemon calls a fault of an experiment: `orders-survive-slow-db`, and never longer than a name may be.
pub fn fault_name(experiment: &str, fault: &str) -> String {
    let whole = format!("{experiment}-{fault}");
    if whole.len() <= LONGEST_NAME {
        return whole;
    }
    // FNV-1a, so that two long names stay two names.
    let hash = whole.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let room = LONGEST_NAME - 9;
    let cut: String = whole.chars().take(room).collect();
    format!("{}-{:08x}", cut.trim_end_matches('-'), hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::fault_name;

    #[test]
    fn names_fit_and_differ() {
        assert_eq!(fault_name("a", "b"), "a-b");
        let long = "x".repeat(60);
        let (one, other) = (fault_name(&long, "first"), fault_name(&long, "second"));
        assert!(
            one.len() <= 63 && other.len() <= 63 && one != other,
            "{one} {other}"
        );
    }
}
