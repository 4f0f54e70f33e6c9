//! tcconfig: what `tcshow` prints and `tcset --import-setting` reads. Its rates are bits, whatever the case of the unit.

use serde_json::{Map, Value, json};

use super::{Imported, named, netem};
use crate::Duration;

/// The faults of a file of settings: devices, directions, filters. Each lasts for `duration`, since tc knows no end.
///
/// # Errors
/// This is no JSON.
pub fn tcconfig(text: &str, duration: Duration) -> Result<Imported, serde_json::Error> {
    let mut imported = Imported::default();
    let devices: Map<String, Value> = serde_json::from_str(text)?;
    for (device, directions) in &devices {
        let known = ["outgoing", "incoming"];
        let strange = directions.as_object().into_iter().flat_map(Map::keys);
        for name in strange.filter(|name| !known.contains(&name.as_str())) {
            imported.cannot(0, format!("{device}: {name}"), "there is no such direction");
        }
        for (name, direction) in [("outgoing", "egress"), ("incoming", "ingress")] {
            for (filter, shaping) in directions[name].as_object().into_iter().flatten() {
                let what = format!("{device} {name} {filter}");
                one(&what, device, direction, filter, shaping, duration, &mut imported);
            }
        }
    }
    if imported == Imported::default() {
        imported.cannot(0, "the file", "there is no setting in it");
    }
    Ok(imported)
}

fn one(
    what: &str,
    device: &str,
    direction: &str,
    filter: &str,
    shaping: &Value,
    duration: Duration,
    imported: &mut Imported,
) {
    let mut traffic = json!({"direction": direction});
    narrow(what, filter, direction, &mut traffic, imported);
    let mut words: Vec<String> = Vec::new();
    let mut rate = None;
    let mut has_distribution = false;
    let Some(shaping) = shaping.as_object() else {
        return imported.cannot(0, what, "this is no group of settings");
    };
    // In netem's order: the spread of a delay stands behind it.
    for name in [
        "delay",
        "delay-distro",
        "loss",
        "duplicate",
        "corrupt",
        "reordering",
    ] {
        let Some(value) = shaping.get(name).and_then(Value::as_str) else {
            continue;
        };
        match name {
            "delay" => words.extend(["delay".to_owned(), value.to_owned()]),
            "delay-distro" => {
                has_distribution = true;
                words.push(value.to_owned());
            }
            "reordering" => words.extend(["reorder".to_owned(), value.to_owned()]),
            other => words.extend([other.to_owned(), value.to_owned()]),
        }
    }
    if has_distribution {
        words.extend(["distribution".to_owned(), "normal".to_owned()]);
    }
    for (name, value) in shaping {
        match (name.as_str(), value.as_str()) {
            ("delay" | "delay-distro" | "loss" | "duplicate" | "corrupt" | "reordering", Some(_))
            | ("filter_id", _) => {}
            ("rate", Some(value)) => rate = bits(value),
            (other, _) => imported.cannot(0, format!("{what}: {other}: {value}"), "it is not understood"),
        }
    }
    if shaping.contains_key("rate") && rate.is_none() {
        return imported.cannot(
            0,
            format!("{what}: rate"),
            "this is no rate, so nothing is made of this setting",
        );
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut fault = if words.is_empty() {
        json!({})
    } else {
        match netem::options(0, &words, imported) {
            Some(fault) => fault,
            None => return,
        }
    };
    if let Some(rate) = rate {
        fault["bandwidth"] = json!({"rate": rate});
    }
    if fault.as_object().is_some_and(Map::is_empty) {
        return imported.cannot(0, what, "it was told to do nothing");
    }
    let spec = json!({"target": {"interface": {"name": device}}, "traffic": traffic, "fault": fault});
    imported.add(0, &named(&format!("{device}-{direction}")), spec, duration);
}

/// `dst-network=192.168.0.10/32, dst-port=8080, protocol=ip`. Source and destination are those of the packet.
fn narrow(what: &str, filter: &str, direction: &str, traffic: &mut Value, imported: &mut Imported) {
    for part in filter.split(',').map(str::trim) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let outgoing = direction == "egress";
        match (name, outgoing) {
            ("protocol", _) if ["ip", "ipv6", "all"].contains(&value) => {
                if value == "ipv6" {
                    imported.cannot(
                        0,
                        format!("{what}: {part}"),
                        "IPv4 is hit as well, unless `cidrs` say otherwise",
                    );
                }
            }
            ("dst-network", true) | ("src-network", false) => {
                if !["0.0.0.0/0", "::/0"].contains(&value) {
                    traffic["remote"]["cidrs"] = json!([value]);
                }
            }
            ("dst-port", true) | ("src-port", false) => traffic["remote"]["ports"] = json!([value]),
            ("src-port", true) | ("dst-port", false) => traffic["local"]["ports"] = json!([value]),
            ("", _) => {}
            _ => imported.cannot(
                0,
                format!("{what}: {part}"),
                "a fault has no such filter; narrow its target",
            ),
        }
    }
}

/// `250Kbps` are 250,000 bits a second, `10Mibps` 10 × 1024 × 1024.
fn bits(text: &str) -> Option<String> {
    let (number, unit) = super::split_number(text.trim())?;
    let unit = unit.trim().to_ascii_lowercase();
    let prefix = unit.strip_suffix("bps").or_else(|| unit.strip_suffix("bit/s"))?;
    let factor = match prefix {
        "" => 1.0,
        "k" => 1e3,
        "ki" => 1024.0,
        "m" => 1e6,
        "mi" => 1024.0 * 1024.0,
        "g" => 1e9,
        "gi" => 1024.0 * 1024.0 * 1024.0,
        "t" => 1e12,
        "ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(format!("{}bit", (number * factor).round() as u64))
}
