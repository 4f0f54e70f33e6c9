//! Chaos Mesh: `NetworkChaos`, `HTTPChaos`, `DNSChaos`. Its times are Go's, its chances per cent without the sign, its
//! rates tc's.

mod requests;

use serde_json::{Value, json};

use super::document::Fields;
use super::{Here, Imported, named, netem};
use crate::parse::documents_of;
use crate::{Cidr, Diagnostics, Duration, Hostname};

/// Why pods are not said.
pub(super) const PODS: &str =
    "pods are not named in this version: the fault acts on the target that you gave, on this node";

/// The faults of a file of NetworkChaos, HTTPChaos and DNSChaos documents. Its pods are what `here` says.
///
/// # Errors
/// This is no YAML.
pub fn chaos_mesh(file: &str, text: &[u8], here: &Here) -> Result<Imported, Diagnostics> {
    let mut imported = Imported::default();
    for document in documents_of(file, text)? {
        let document = Fields::of(&document);
        let kind = document.word("kind").unwrap_or_default();
        match kind.as_str() {
            "NetworkChaos" => one(&document, here, &mut imported, network),
            "HTTPChaos" => one(&document, here, &mut imported, requests::http),
            "DNSChaos" => one(&document, here, &mut imported, requests::dns),
            "Schedule" | "Workflow" => imported.cannot(
                document.line(),
                format!("kind: {kind}"),
                "what it begins is inside it; write that as a document of its own, and a Schedule of ours",
            ),
            _ => imported.cannot(
                document.line(),
                format!("kind: {kind}"),
                "this is no fault of a network, or not known here",
            ),
        }
    }
    Ok(imported)
}

/// What a document does, in our words: nothing when that cannot be said.
struct Said {
    traffic: Value,
    fault: Value,
    device: Option<String>,
}

fn one(
    document: &Fields<'_>,
    here: &Here,
    imported: &mut Imported,
    say: impl Fn(&Fields<'_>, &mut Imported) -> Option<Said>,
) {
    document.word("apiVersion");
    document.find("status");
    let name = document.group("metadata").word("name");
    let spec = document.group("spec");
    for field in ["mode", "value", "selector", "containerNames"] {
        if let Some((line, path)) = spec.find(field) {
            imported.cannot(line, path, PODS);
        }
    }
    let duration = match spec.word("duration").map(|text| text.parse::<Duration>()) {
        None => here.duration,
        Some(Ok(duration)) => duration,
        Some(Err(error)) => return imported.cannot(spec.line(), "spec.duration", error.to_string()),
    };
    let Some(Said {
        traffic,
        fault,
        device,
    }) = say(&spec, imported)
    else {
        return;
    };
    for (line, path) in spec.rest() {
        imported.cannot(line, path, "it is not known here, or not what the action does");
    }
    let mut target = here.target.clone();
    if let Some(device) = device {
        target = target.with_interfaces([device]);
    }
    let name = named(&name.unwrap_or_default());
    let spec_of_ours = json!({"target": target, "traffic": traffic, "fault": fault});
    imported.add(spec.line(), &name, spec_of_ours, duration);
}

fn network(spec: &Fields<'_>, imported: &mut Imported) -> Option<Said> {
    let mut traffic = json!({});
    match spec.word("direction").as_deref() {
        None | Some("to") => {}
        Some("from") => traffic["direction"] = json!("ingress"),
        Some("both") => traffic["direction"] = json!("both"),
        Some(other) => imported.cannot(
            spec.line(),
            format!("spec.direction: {other}"),
            "there is no such direction",
        ),
    }
    if let Some((line, path)) = spec.find("target") {
        imported.cannot(
            line,
            path,
            "the other pods are not named in this version: write their addresses as `traffic.remote.cidrs`",
        );
    }
    remote(spec, &mut traffic, imported);
    if let Some((line, path)) = spec.find("targetDevice") {
        imported.cannot(line, path, "a fault acts at the target alone");
    }
    Some(Said {
        traffic,
        fault: fault(spec, imported)?,
        device: spec.word("device"),
    })
}

/// Addresses outside of the cluster.
fn remote(spec: &Fields<'_>, traffic: &mut Value, imported: &mut Imported) {
    let (mut cidrs, mut hosts) = (Vec::new(), Vec::new());
    for external in spec.words("externalTargets") {
        if external.parse::<Cidr>().is_ok() {
            cidrs.push(external);
        } else if external.parse::<Hostname>().is_ok() {
            hosts.push(external);
        } else {
            imported.cannot(
                spec.line(),
                format!("spec.externalTargets: {external}"),
                "this is no address, network or name",
            );
        }
    }
    for (field, values) in [("cidrs", cidrs), ("hosts", hosts)] {
        if !values.is_empty() {
            traffic["remote"][field] = json!(values);
        }
    }
}

/// What is done, said as netem or tbf are told to.
fn fault(spec: &Fields<'_>, imported: &mut Imported) -> Option<Value> {
    let action = spec.word("action").unwrap_or_default();
    let line = spec.line();
    let wanted = |block: &str| action == block || action == "netem";
    let mut words: Vec<String> = Vec::new();
    match action.as_str() {
        "partition" => return Some(json!({"partition": {}})),
        "bandwidth" => {
            let bandwidth = spec.group("bandwidth");
            for (field, option) in [
                ("rate", "rate"),
                ("buffer", "burst"),
                ("limit", "limit"),
                ("minburst", "minburst"),
                ("peakrate", "peakrate"),
            ] {
                let value = bandwidth.word(field).into_iter();
                words.extend(value.flat_map(|value| [option.to_owned(), value]));
            }
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            return netem::tbf(bandwidth.line(), &words, imported);
        }
        "delay" | "loss" | "duplicate" | "corrupt" | "netem" => {}
        other => {
            imported.cannot(line, format!("spec.action: {other}"), "there is no such fault");
            return None;
        }
    }
    if wanted("delay") {
        let delay = spec.group("delay");
        if delay.is_there() {
            words.push("delay".to_owned());
            words.extend(delay.word("latency").map(|text| in_micros(&text)));
            // A jitter of nothing is none.
            let jitter = delay.word("jitter").map(|text| in_micros(&text));
            let jitter = jitter.filter(|jitter| jitter != "0us");
            let correlation = delay.word("correlation").filter(|_| jitter.is_some());
            words.extend(jitter);
            words.extend(correlation.and_then(|text| percent(&text)));
            let reorder = delay.group("reorder");
            if reorder.is_there() {
                words.extend(["reorder".to_owned()]);
                words.extend(reorder.word("reorder").and_then(|text| percent(&text)));
                words.extend(reorder.word("correlation").and_then(|text| percent(&text)));
                let gap = reorder.word("gap").filter(|gap| gap != "0").into_iter();
                words.extend(gap.flat_map(|gap| ["gap".to_owned(), gap]));
            }
            tell_rest(&[&delay, &reorder], imported);
        }
    }
    for block in ["loss", "duplicate", "corrupt"] {
        if !wanted(block) {
            continue;
        }
        let fields = spec.group(block);
        if !fields.is_there() {
            continue;
        }
        words.push(block.to_owned());
        words.extend(fields.word(block).map(|text| format!("{text}%")));
        words.extend(fields.word("correlation").and_then(|text| percent(&text)));
        tell_rest(&[&fields], imported);
    }
    if wanted("rate") {
        let rate = spec.group("rate");
        if let Some(value) = rate.word("rate") {
            words.extend(["rate".to_owned(), value]);
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    netem::options(line, &words, imported)
}

fn tell_rest(groups: &[&Fields<'_>], imported: &mut Imported) {
    for (line, path) in groups.iter().flat_map(|group| group.rest()) {
        imported.cannot(line, path, "it is not known here");
    }
}

/// `25` and `25%`; nothing for `0`.
pub(super) fn percent(text: &str) -> Option<String> {
    let number = text.trim_end_matches('%');
    let is_zero = number.parse::<f64>().is_ok_and(|number| number == 0.0);
    (!is_zero).then(|| format!("{number}%"))
}

/// Go's times in one that tc knows; what is no time is left for tc's words to be refused.
fn in_micros(text: &str) -> String {
    match text.parse::<Duration>() {
        Ok(time) => format!("{}us", time.as_std().as_micros()),
        Err(_) => text.to_owned(),
    }
}
