//! Command lines of `tc … netem` and `tc … tbf`, in their units: a bare time is microseconds, `kbps` is kilobytes.

use serde_json::{Map, Value, json};

use super::{Imported, named, split_number};
use crate::Duration;

/// The faults of a script: one for each `tc qdisc add|change|replace … netem|tbf`. Each lasts for `duration`, since tc
/// knows no end.
pub fn netem(text: &str, duration: Duration) -> Imported {
    let mut imported = Imported::default();
    let mut whole = String::new();
    let mut first = 0;
    for (index, part) in text.lines().enumerate() {
        if whole.is_empty() {
            first = index + 1;
        }
        match part.trim_end().strip_suffix('\\') {
            Some(more) => {
                whole.push_str(more);
                whole.push(' ');
            }
            None => {
                whole.push_str(part);
                line(first, &whole, duration, &mut imported);
                whole.clear();
            }
        }
    }
    line(first, &whole, duration, &mut imported);
    imported
}

/// One command.
fn line(number: usize, text: &str, duration: Duration, imported: &mut Imported) {
    let text = text.split('#').next().unwrap_or_default();
    let mut words: Vec<&str> = text.split_whitespace().filter(|word| *word != "sudo").collect();
    if words.is_empty() {
        return;
    }
    let mut netns = None;
    if let ["ip", "netns", "exec", name, ..] = words[..] {
        netns = Some(name);
        words.drain(..4);
    }
    if let ["tc", "-n" | "-netns", name, ..] = words[..] {
        netns = Some(name);
        words.drain(1..3);
    }
    let ["tc", "qdisc", verb, rest @ ..] = &words[..] else {
        return imported.cannot(number, text.trim(), "this is no `tc qdisc` command");
    };
    match *verb {
        "add" | "change" | "replace" => {}
        "del" | "delete" | "show" | "ls" | "list" => return,
        _ => return imported.cannot(number, *verb, "this is no change of a qdisc"),
    }
    let mut device = None;
    let mut words = rest.iter().copied();
    while let Some(word) = words.next() {
        match word {
            "dev" => device = words.next(),
            "root" => {}
            "handle" => drop(words.next()),
            "parent" => {
                let parent = words.next().unwrap_or_default();
                imported.cannot(
                    number,
                    format!("parent {parent}"),
                    "which packets come to this class is said elsewhere: the fault acts on all that leaves the device; narrow `traffic`",
                );
            }
            kind @ ("netem" | "tbf") => {
                let Some(device) = device else {
                    return imported.cannot(number, text.trim(), "no device is named");
                };
                let mut interface = json!({"name": device});
                if let Some(netns) = netns {
                    interface["netns"] = json!(netns);
                }
                let rest: Vec<&str> = words.collect();
                let fault = if kind == "tbf" {
                    tbf(number, &rest, imported)
                } else {
                    options(number, &rest, imported)
                };
                let Some(fault) = fault else { return };
                let spec = json!({"target": {"interface": interface}, "fault": fault});
                return imported.add(number, &named(&format!("{kind}-{device}")), spec, duration);
            }
            other => return imported.cannot(number, other, "this kind of qdisc makes no fault"),
        }
    }
    imported.cannot(number, text.trim(), "no qdisc is named");
}

/// The words of one command, with a look at the next.
struct Words<'a> {
    words: &'a [&'a str],
    line: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    /// The next word, when it is a number.
    fn number(&mut self) -> Option<&'a str> {
        let word = *self.words.first()?;
        if !word.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return None;
        }
        self.next()
    }

    fn percent(&mut self) -> Option<String> {
        let word = self.number()?;
        Some(format!("{}%", word.trim_end_matches('%')))
    }

    fn time(&mut self) -> Option<String> {
        let (number, unit) = split_number(self.number()?)?;
        let nanos = number
            * match unit {
                "s" | "sec" | "secs" => 1e9,
                "ms" | "msec" | "msecs" => 1e6,
                "" | "us" | "usec" | "usecs" => 1e3,
                "ns" | "nsec" | "nsecs" => 1.0,
                _ => return None,
            };
        Some(Duration::from(std::time::Duration::from_nanos(nanos.round() as u64)).to_string())
    }
}

/// Bits a second. `bit` counts bits, `bps` counts bytes; `Ki` and the like are 1024.
fn rate(text: &str) -> Option<String> {
    let (number, unit) = split_number(text)?;
    let unit = unit.to_lowercase();
    let (unit, bits) = match unit.strip_suffix("bps") {
        Some(prefix) => (prefix, 8.0),
        None => (unit.strip_suffix("bit").unwrap_or(&unit), 1.0),
    };
    let scale = match unit {
        "" => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        "g" => 1e9,
        "t" => 1e12,
        "ki" => 1024.0,
        "mi" => 1024.0 * 1024.0,
        "gi" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(format!("{}bit", (number * bits * scale).round() as u64))
}

/// Bytes. `k` and `kb` are 1024 bytes, `kbit` is 1024 bits.
fn size(text: &str) -> Option<String> {
    let (number, unit) = split_number(text)?;
    let bytes = match unit.to_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1024.0,
        "m" | "mb" => 1024.0 * 1024.0,
        "g" | "gb" => 1024.0 * 1024.0 * 1024.0,
        "kbit" => 128.0,
        "mbit" => 128.0 * 1024.0,
        _ => return None,
    };
    Some(format!("{}B", (number * bytes).round() as u64))
}

/// A chance with a correlation, which netem does in its own way.
fn chance(words: &mut Words<'_>) -> Option<Map<String, Value>> {
    let mut fields = Map::new();
    fields.insert("chance".to_owned(), json!(words.percent()?));
    if let Some(correlation) = words.percent() {
        fields.insert("correlation".to_owned(), json!(correlation));
        fields.insert("compat".to_owned(), json!("netem"));
    }
    Some(fields)
}

/// What `netem` was told.
/// What netem was told. Other tools that use netem tell it the same.
pub(super) fn options(line: usize, words: &[&str], imported: &mut Imported) -> Option<Value> {
    let mut fault = json!({});
    let mut words = Words { words, line };
    while let Some(option) = words.next() {
        let read = match option {
            "delay" | "latency" => delay(&mut words, imported).map(|it| fault["delay"] = it),
            "loss" | "drop" => loss(&mut words, imported).map(|it| fault["drop"] = it),
            "corrupt" => chance(&mut words).map(|mut it| {
                // netem flips a bit and leaves the checksum as it was.
                it.insert("checksum".to_owned(), json!("leave"));
                fault["corrupt"] = Value::Object(it);
            }),
            "duplicate" => chance(&mut words).map(|it| fault["duplicate"] = Value::Object(it)),
            "reorder" => chance(&mut words).map(|it| {
                for (name, value) in it {
                    fault["reorder"][&name] = value;
                }
            }),
            "gap" => words
                .number()
                .and_then(|gap| gap.parse::<u32>().ok())
                .map(|gap| fault["reorder"]["gap"] = json!(gap)),
            "rate" => words.number().and_then(rate).map(|rate| {
                while let Some(overhead) = words.number() {
                    imported.cannot(line, format!("rate … {overhead}"), "bytes on the wire beside the packet are not counted");
                }
                fault["bandwidth"] = json!({"rate": rate});
            }),
            "limit" => words.number().map(|limit| {
                imported.cannot(
                    line,
                    format!("limit {limit}"),
                    "what waits is bounded by memory, not by a number of packets; what is lost to it is counted apart",
                );
            }),
            "distribution" => words.next().map(|name| distribution(line, name, &mut fault, imported)),
            "ecn" => {
                imported.cannot(line, "ecn", "packets are lost, not marked");
                Some(())
            }
            "slot" | "seed" => {
                imported.cannot(line, option, "there is nothing like it; `seed:` of the fault makes it repeatable");
                while words.words.first().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit())) {
                    words.next();
                }
                Some(())
            }
            _ => None,
        };
        if read.is_none() {
            imported.cannot(
                line,
                option,
                "it is not understood, so nothing is made of this command",
            );
            return None;
        }
    }
    // With jitter alone, netem draws evenly, in its own way, and lets packets overtake.
    if fault["delay"]["jitter"].is_string() {
        fault["delay"]["compat"] = json!("netem");
        fault["delay"]["order"] = json!("free");
    }
    if fault.as_object().is_some_and(Map::is_empty) {
        imported.cannot(line, "netem", "it was told to do nothing");
        return None;
    }
    Some(fault)
}

fn delay(words: &mut Words<'_>, imported: &mut Imported) -> Option<Value> {
    let mut fields = json!({"latency": words.time()?});
    if let Some(jitter) = words.time() {
        fields["jitter"] = json!(jitter);
        if let Some(correlation) = words.percent() {
            imported.cannot(
                words.line,
                format!("delay … {correlation}"),
                "netem's correlation of delays makes their spread another; leave `compat` out and write `correlation` for one that keeps it",
            );
        }
    }
    Some(fields)
}

fn distribution(line: usize, name: &str, fault: &mut Value, imported: &mut Imported) {
    match name {
        "uniform" | "normal" | "pareto" | "paretonormal" => {
            fault["delay"]["distribution"] = json!(name);
        }
        table => imported.cannot(
            line,
            format!("distribution {table}"),
            "name the file of the table: `distribution: {file: …}`",
        ),
    }
}

fn loss(words: &mut Words<'_>, imported: &mut Imported) -> Option<Value> {
    match words.words.first() {
        Some(&"random") => {
            words.next();
        }
        Some(&"gemodel") => {
            words.next();
            let p = words.percent()?;
            let opposite = |text: &str| {
                let number: f64 = text.trim_end_matches('%').parse().ok()?;
                Some(format!("{}%", 100.0 - number))
            };
            let r = words.percent().or_else(|| opposite(&p))?;
            // netem takes 1-h and 1-k.
            let h = words
                .percent()
                .map_or(Some("0%".to_owned()), |text| opposite(&text))?;
            let k = words
                .percent()
                .map_or(Some("100%".to_owned()), |text| opposite(&text))?;
            return Some(json!({"gilbertElliott": {"p": p, "r": r, "h": h, "k": k}}));
        }
        Some(&"state") => {
            imported.cannot(
                words.line,
                "loss state",
                "a chain of four states cannot be said; `gilbertElliott` has two",
            );
            return None;
        }
        _ => {}
    }
    chance(words).map(Value::Object)
}

/// What `tbf` was told.
pub(super) fn tbf(line: usize, words: &[&str], imported: &mut Imported) -> Option<Value> {
    let mut fields = json!({});
    let mut words = Words { words, line };
    while let Some(option) = words.next() {
        let value = words.next();
        let read = match option {
            "rate" => value.and_then(rate).map(|rate| fields["rate"] = json!(rate)),
            "burst" | "buffer" | "maxburst" => value.and_then(size).map(|size| fields["burst"] = json!(size)),
            "latency" | "limit" | "minburst" | "mtu" | "peakrate" | "mpu" | "overhead" => {
                value.map(|value| {
                    imported.cannot(
                        line,
                        format!("{option} {value}"),
                        "senders are held back instead of losing what waits too long",
                    );
                })
            }
            _ => None,
        };
        if read.is_none() {
            imported.cannot(
                line,
                option,
                "it is not understood, so nothing is made of this command",
            );
            return None;
        }
    }
    Some(json!({"bandwidth": fields}))
}
