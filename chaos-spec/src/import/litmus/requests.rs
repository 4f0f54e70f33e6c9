//! `pod-http-*` and `pod-dns-*`. What cannot be chosen here makes no fault: it would hit more than it was told to.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::super::Imported;
use super::{Env, share, take};
use crate::DnsName;

/// What came of an experiment.
pub(super) enum Said {
    Fault(Value),
    /// It is listed why not.
    Not,
    /// It is none of these.
    Unknown,
}

pub(super) fn say(
    name: &str,
    at: usize,
    env: &mut Env,
    traffic: &mut Value,
    imported: &mut Imported,
) -> Said {
    let fault = match name {
        "pod-http-status-code" => status(name, at, env, imported),
        "pod-http-latency" => {
            let latency = take(env, "LATENCY").unwrap_or_else(|| "2000".to_owned());
            Some(json!({"delay": format!("{latency}ms")}))
        }
        "pod-http-reset-peer" => {
            if let Some((value, line)) = env
                .remove("RESET_TIMEOUT")
                .filter(|(value, _)| !is_nothing(value))
            {
                let why = "connections are reset at once, not after a while";
                imported.cannot(line, format!("{name}: RESET_TIMEOUT: {value}"), why);
            }
            Some(json!({"abort": true}))
        }
        "pod-dns-error" => {
            let fault = errors(name, env, imported);
            if fault.is_some() {
                let why = "its server sends the question back, which resolvers take for a failure or do not take at all; here it \
                           is SERVFAIL";
                imported.cannot(at, format!("experiment {name}"), why);
            }
            return dns(fault);
        }
        "pod-dns-spoof" => return dns(spoofed(name, at, env, imported)),
        "pod-http-modify-body" | "pod-http-modify-header" => {
            let why = "answers of the server are not rewritten; an answer of its own needs a `status`";
            imported.cannot(at, format!("experiment {name}"), why);
            None
        }
        _ => return Said::Unknown,
    };
    let Some(mut http) = fault else { return Said::Not };
    let chance = share(take(env, "TOXICITY"));
    if chance != "100%" {
        http["chance"] = json!(chance);
    }
    // Its proxy stands before what the pod listens at.
    let port = take(env, "TARGET_SERVICE_PORT").unwrap_or_else(|| "80".to_owned());
    *traffic = json!({"direction": "ingress", "protocol": "tcp", "local": {"ports": [port]}});
    Said::Fault(json!({"http": http}))
}

fn is_nothing(number: &str) -> bool {
    number.is_empty() || number.parse::<f64>().is_ok_and(|number| number == 0.0)
}

fn status(name: &str, at: usize, env: &mut Env, imported: &mut Imported) -> Option<Value> {
    let (code, line) = env.remove("STATUS_CODE").unwrap_or_else(|| (String::new(), at));
    let Ok(status) = code.parse::<u16>() else {
        let why = "an answer from here has always the same status: name one";
        imported.cannot(line, format!("{name}: STATUS_CODE: {code}"), why);
        return None;
    };
    let why = "the server has done its work by then; here it never sees the request";
    imported.cannot(line, format!("{name}: STATUS_CODE"), why);
    let mut answer = json!({"status": status});
    let body = take(env, "RESPONSE_BODY");
    let modified = env.remove("MODIFY_RESPONSE_BODY");
    if let Some(body) = body {
        answer["body"] = json!(body);
    } else if let Some((value, line)) = modified {
        let why = if value == "false" {
            "the server's own body is not there: its answer is empty"
        } else {
            "its pages are not known here: write a `body`"
        };
        imported.cannot(line, format!("{name}: MODIFY_RESPONSE_BODY: {value}"), why);
    }
    if let Some(kind) = take(env, "CONTENT_TYPE") {
        answer["headers"] = json!({"Content-Type": kind});
    }
    Some(answer)
}

fn dns(fault: Option<Value>) -> Said {
    fault.map_or(Said::Not, |fault| Said::Fault(json!({"dns": fault})))
}

fn errors(name: &str, env: &mut Env, imported: &mut Imported) -> Option<Value> {
    let mut dns = json!({"answer": "servfail"});
    let (scheme, scheme_at) = env.remove("MATCH_SCHEME").unwrap_or_default();
    let Some((hosts, line)) = env
        .remove("TARGET_HOSTNAMES")
        .filter(|(value, _)| !value.is_empty())
    else {
        return Some(dns);
    };
    if scheme == "substring" {
        let why = "names are told by whole labels: write `*.example.com` for those below one; nothing is made of this";
        imported.cannot(scheme_at, format!("{name}: MATCH_SCHEME: {scheme}"), why);
        return None;
    }
    let Ok(hosts) = serde_json::from_str::<Vec<String>>(&hosts) else {
        imported.cannot(
            line,
            format!("{name}: TARGET_HOSTNAMES: {hosts}"),
            "this is no list in JSON",
        );
        return None;
    };
    let mut names: Vec<DnsName> = Vec::new();
    for host in &hosts {
        match host.parse() {
            Ok(name) => names.push(name),
            Err(error) => imported.cannot(
                line,
                format!("{name}: TARGET_HOSTNAMES: {host}"),
                error.to_string(),
            ),
        }
    }
    if names.is_empty() {
        return None;
    }
    dns["names"] = json!(names);
    Some(dns)
}

/// Its map goes from names to other names, and we answer with addresses. One pair that has some makes a fault.
fn spoofed(name: &str, at: usize, env: &mut Env, imported: &mut Imported) -> Option<Value> {
    let (map, line) = env.remove("SPOOF_MAP").unwrap_or_else(|| (String::new(), at));
    let Ok(map) = serde_json::from_str::<Map<String, Value>>(&map) else {
        imported.cannot(
            line,
            format!("{name}: SPOOF_MAP: {map}"),
            "this is no map in JSON",
        );
        return None;
    };
    let mut fault = None;
    for (host, instead) in &map {
        let instead = instead.as_str().unwrap_or_default();
        let what = format!("{name}: SPOOF_MAP: {host}");
        match (instead.parse::<IpAddr>(), &fault) {
            (Ok(address), None) => {
                let family = if address.is_ipv4() { "a" } else { "aaaa" };
                fault = Some(json!({"answer": {family: [address]}, "names": [host]}));
            }
            (Ok(_), Some(_)) => imported.cannot(line, what, "write a fault of its own for it"),
            (Err(_), _) => {
                let why = format!("answers hold addresses: write those of {instead} as `answer: {{a: […]}}`");
                imported.cannot(line, what, why);
            }
        }
    }
    fault
}
