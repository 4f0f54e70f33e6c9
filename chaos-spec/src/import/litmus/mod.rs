//! LitmusChaos: the experiments of a `ChaosEngine`. Its times are whole milliseconds and seconds, its chances per cent.

mod requests;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::chaos_mesh::{PODS, percent};
use super::document::{Fields, line, word};
use super::{Here, Imported, named, netem};
use crate::parse::documents_of;
use crate::parse::node::Node;
use crate::{Diagnostics, Duration};

/// How Litmus gets to its pods, and not what it does there.
const MEANS: [&str; 17] = [
    "ANSIBLE_RUNTIME",
    "CHAOS_NAMESPACE",
    "CHAOS_SERVICE_ACCOUNT",
    "CONTAINER_RUNTIME",
    "DEFAULT_HEALTH_CHECK",
    "INSTANCE_ID",
    "LIB",
    "LIB_IMAGE",
    "LIB_IMAGE_PULL_POLICY",
    "POD_NAME",
    "PROXY_PORT",
    "SET_HELPER_DATA",
    "SOCKET_PATH",
    "STATUS_CHECK_DELAY",
    "STATUS_CHECK_TIMEOUT",
    "TC_IMAGE",
    "TERMINATION_GRACE_PERIOD_SECONDS",
];
const MEANS_OF_ENGINES: [&str; 8] = [
    "annotationCheck",
    "auxiliaryAppInfo",
    "chaosServiceAccount",
    "components",
    "defaultHealthCheck",
    "engineState",
    "jobCleanUpPolicy",
    "terminationGracePeriodSeconds",
];

/// Environment of an experiment: value and line of each variable.
type Env = BTreeMap<String, (String, usize)>;

/// The faults of a file of ChaosEngines. Its pods are what `here` says.
///
/// # Errors
/// This is no YAML.
pub fn litmus(file: &str, text: &[u8], here: &Here) -> Result<Imported, Diagnostics> {
    let mut imported = Imported::default();
    for document in documents_of(file, text)? {
        let document = Fields::of(&document);
        let kind = document.word("kind").unwrap_or_default();
        if kind != "ChaosEngine" {
            imported.cannot(document.line(), format!("kind: {kind}"), "this is no ChaosEngine");
            continue;
        }
        let spec = document.group("spec");
        if let Some((line, path)) = spec.find("appinfo") {
            imported.cannot(line, path, PODS);
        }
        let means: Vec<String> = MEANS_OF_ENGINES
            .iter()
            .filter_map(|field| spec.find(field))
            .map(|(_, path)| path)
            .collect();
        leave_means(spec.line(), &means, &mut imported);
        for experiment in spec.items("experiments") {
            one(experiment, here, &mut imported);
        }
        for (line, path) in spec.rest() {
            imported.cannot(line, path, "it is not known here");
        }
    }
    Ok(imported)
}

fn leave_means(line: usize, means: &[String], imported: &mut Imported) {
    if !means.is_empty() {
        let why = "how Litmus gets there; there is no need for it here";
        imported.cannot(line, means.join(", "), why);
    }
}

fn one(experiment: &Node, here: &Here, imported: &mut Imported) {
    let fields = Fields::of(experiment);
    let name = fields.word("name").unwrap_or_default();
    let spec = fields.group("spec");
    if let Some((line, _)) = spec.find("probe") {
        imported.cannot(
            line,
            format!("{name}: probe"),
            "write it as `steadyState` of an Experiment",
        );
    }
    let mut env: Env = spec
        .group("components")
        .items("env")
        .into_iter()
        .filter_map(|variable| {
            let name = word(variable.get("name")?)?;
            let value = variable.get("value").and_then(word).unwrap_or_default();
            Some((name, (value, line(variable))))
        })
        .collect();
    let at = line(experiment);
    let mut traffic = json!({});
    let fault = match requests::say(&name, at, &mut env, &mut traffic, imported) {
        requests::Said::Fault(fault) => fault,
        requests::Said::Not => return,
        requests::Said::Unknown => {
            let Some(fault) = packets(&name, at, &mut env, &mut traffic, imported) else {
                return;
            };
            fault
        }
    };
    remote(&name, &mut env, &mut traffic, imported);
    let mut target = here.target.clone();
    if let Some((device, _)) = env.remove("NETWORK_INTERFACE") {
        target = target.with_interfaces([device]);
    }
    let seconds = env
        .remove("TOTAL_CHAOS_DURATION")
        .and_then(|(value, _)| value.parse().ok());
    let duration = Duration::from_secs(seconds.unwrap_or(60));
    what_is_left(&name, at, env, imported);
    let spec = json!({"target": target, "traffic": traffic, "fault": fault});
    imported.add(at, &named(&name), spec, duration);
}

/// The value of a variable, which is then said.
fn take(env: &mut Env, variable: &str) -> Option<String> {
    let (value, _) = env.remove(variable)?;
    Some(value).filter(|value| !value.is_empty())
}

/// What packets suffer.
fn packets(
    name: &str,
    at: usize,
    env: &mut Env,
    traffic: &mut Value,
    imported: &mut Imported,
) -> Option<Value> {
    let mut take = |variable: &str| take(env, variable);
    let words = match name {
        "pod-network-latency" => {
            let latency = take("NETWORK_LATENCY").unwrap_or_else(|| "2000".to_owned());
            let jitter = take("JITTER").filter(|jitter| jitter != "0");
            let mut words = vec!["delay".to_owned(), format!("{latency}ms")];
            words.extend(jitter.map(|jitter| format!("{jitter}ms")));
            words
        }
        "pod-network-loss" => chance("loss", take("NETWORK_PACKET_LOSS_PERCENTAGE")),
        "pod-network-corruption" => chance("corrupt", take("NETWORK_PACKET_CORRUPTION_PERCENTAGE")),
        "pod-network-duplication" => chance("duplicate", take("NETWORK_PACKET_DUPLICATION_PERCENTAGE")),
        "pod-network-rate-limit" => {
            let rate = take("NETWORK_BANDWIDTH").unwrap_or_else(|| "1mbit".to_owned());
            let burst = take("BURST").unwrap_or_else(|| "2kb".to_owned());
            return netem::tbf(at, &["rate", &rate, "burst", &burst], imported);
        }
        "pod-network-partition" => {
            traffic["direction"] = match take("POLICY_TYPES").as_deref() {
                Some("ingress") => json!("ingress"),
                Some("egress") => json!("egress"),
                _ => json!("both"),
            };
            return Some(json!({"partition": {}}));
        }
        other => {
            let why = "this is no fault of a network, or not known here";
            imported.cannot(at, format!("experiment {other}"), why);
            return None;
        }
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    netem::options(at, &words, imported)
}

fn chance(option: &str, value: Option<String>) -> Vec<String> {
    vec![option.to_owned(), share(value)]
}

/// Per cent, with its sign; all of it when nothing is written.
fn share(value: Option<String>) -> String {
    let value = value.unwrap_or_else(|| "100".to_owned());
    percent(&value).unwrap_or_else(|| "0%".to_owned())
}

/// Addresses, names and ports.
fn remote(name: &str, env: &mut Env, traffic: &mut Value, imported: &mut Imported) {
    for (variable, field) in [("DESTINATION_IPS", "cidrs"), ("DESTINATION_HOSTS", "hosts")] {
        let Some((value, line)) = env.remove(variable) else {
            continue;
        };
        let (plain, with_ports): (Vec<&str>, Vec<&str>) = list(&value).partition(|it| !it.contains('|'));
        if !plain.is_empty() {
            traffic["remote"][field] = json!(plain);
        }
        for it in with_ports {
            let why = "ports of one address alone: write a fault of its own for it";
            imported.cannot(line, format!("{name}: {variable}: {it}"), why);
        }
    }
    for (variable, end) in [
        ("DESTINATION_PORTS", "remote"),
        ("SOURCE_PORTS", "local"),
        ("PORTS", "remote"),
    ] {
        let Some((value, line)) = env.remove(variable) else {
            continue;
        };
        let (but, ports): (Vec<&str>, Vec<&str>) = list(&value).partition(|port| port.starts_with('!'));
        if !but.is_empty() {
            let why = "all ports but these: write the ranges between them";
            imported.cannot(line, format!("{name}: {variable}: {}", but.join(",")), why);
        }
        if !ports.is_empty() {
            traffic[end]["ports"] = json!(ports);
        }
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|it| !it.is_empty())
}

fn what_is_left(name: &str, at: usize, env: Env, imported: &mut Imported) {
    let mut means = Vec::new();
    for (variable, (value, line)) in env {
        if MEANS.contains(&variable.as_str()) {
            means.push(format!("{name}: {variable}"));
            continue;
        }
        // Left empty, or as it is: nothing was said.
        if value.is_empty() {
            continue;
        }
        let why = match variable.as_str() {
            "PODS_AFFECTED_PERC" | "TARGET_PODS" | "TARGET_CONTAINER" | "NODE_LABEL" | "APP_NAMESPACE"
            | "APP_LABEL" | "APP_KIND" => PODS,
            "RAMP_TIME" => "write a `pause` before and after the step of an Experiment",
            "SEQUENCE" => "write steps, or `parallel` ones, of an Experiment",
            "POD_SELECTOR" | "NAMESPACE_SELECTOR" => {
                "the other pods are not named in this version: write their addresses as `traffic.remote.cidrs`"
            }
            _ => "it is not known here",
        };
        imported.cannot(line, format!("{name}: {variable}: {value}"), why);
    }
    leave_means(at, &means, imported);
}
