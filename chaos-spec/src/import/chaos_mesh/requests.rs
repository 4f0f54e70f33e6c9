//! `HTTPChaos` and `DNSChaos`. What cannot be chosen here makes no fault: it would hit more than it was told to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::document::Fields;
use super::super::{Imported, names_of};
use super::{Said, tell_rest};
use crate::{HostPattern, Method, PathPattern};

/// What is chosen by more than we look at.
const NOT_CHOSEN: &str = "requests are chosen by method, path and host alone, so nothing is made of this";

pub(super) fn http(spec: &Fields<'_>, imported: &mut Imported) -> Option<Said> {
    let mut chosen = chosen(spec, imported)?;
    let of_answer = spec.word("target").as_deref() == Some("Response");
    let action = action(spec, of_answer, imported)?;
    if of_answer && action.get("delay").is_none() {
        let (line, path) = spec.find("target")?;
        let why = "the server has done its work by then; here it never sees the request";
        imported.cannot(line, format!("{path}: Response"), why);
    }
    if let (Value::Object(chosen), Value::Object(action)) = (&mut chosen, action) {
        chosen.extend(action);
    }
    if let Some((line, path)) = spec.find("tls") {
        imported.cannot(
            line,
            path,
            "TLS is not read: what is encrypted passes, and is counted as unseen",
        );
    }
    let mut traffic = json!({"direction": "ingress", "protocol": "tcp"});
    if let (Some(port), Some((line, path))) = (spec.word("port"), spec.find("port")) {
        imported.cannot(
            line,
            path,
            format!(
                "what the target itself asks at this port is hit there, too: write a second fault for it, with `remote: \
                 {{ports: [{port}]}}`"
            ),
        );
        traffic["local"] = json!({"ports": [port]});
    }
    Some(Said {
        traffic,
        fault: json!({"http": chosen}),
        device: None,
    })
}

/// Which requests.
fn chosen(spec: &Fields<'_>, imported: &mut Imported) -> Option<Value> {
    let mut chosen = json!({});
    let mut wider = false;
    for field in ["code", "response_headers"] {
        if let Some((line, path)) = spec.find(field) {
            imported.cannot(
                line,
                path,
                "answers of the server are not looked at, so nothing is made of this",
            );
            wider = true;
        }
    }
    if let Some(path) = spec.word("path").filter(|path| path != "*") {
        // There it stands for any one character.
        let read = if path.contains('?') {
            Err("`?` cannot be said – write `*`, or a fault for each path".to_owned())
        } else {
            path.parse::<PathPattern>().map_err(|error| error.to_string())
        };
        wider |= !take(spec, "path", read, &mut chosen["path"], imported);
    }
    if let Some(method) = spec.word("method") {
        let method = method.to_ascii_uppercase();
        wider |= !take(
            spec,
            "method",
            method.parse::<Method>(),
            &mut chosen["method"],
            imported,
        );
    }
    for (name, value, line) in spec.pairs("request_headers") {
        if !name.eq_ignore_ascii_case("Host") {
            imported.cannot(line, format!("spec.request_headers.{name}"), NOT_CHOSEN);
            wider = true;
            continue;
        }
        let bare = value
            .rsplit_once(':')
            .filter(|(_, port)| port.parse::<u16>().is_ok());
        let host = bare.map_or(value.as_str(), |(host, _)| host);
        match host.parse::<HostPattern>() {
            Ok(host) => chosen["host"] = json!(host),
            Err(error) => {
                imported.cannot(line, format!("spec.request_headers.{name}"), error.to_string());
                wider = true;
            }
        }
    }
    (!wider).then_some(chosen)
}

/// Puts down what is well; whether it was.
fn take<T: serde::Serialize, E: std::fmt::Display>(
    spec: &Fields<'_>,
    field: &str,
    read: Result<T, E>,
    into: &mut Value,
    imported: &mut Imported,
) -> bool {
    match read {
        Ok(value) => {
            *into = json!(value);
            true
        }
        Err(error) => {
            let (line, path) = spec.find(field).unwrap_or_default();
            imported.cannot(line, path, error.to_string());
            false
        }
    }
}

/// What becomes of them; there it may be several things, one after the other.
fn action(spec: &Fields<'_>, of_answer: bool, imported: &mut Imported) -> Option<Value> {
    let abort = spec.word("abort").as_deref() == Some("true");
    let delay = spec.word("delay");
    let replace = spec.group("replace");
    let patch = spec.group("patch");
    let what = if of_answer {
        "answers of the server"
    } else {
        "requests"
    };
    for (line, path) in patch.rest() {
        imported.cannot(
            line,
            path,
            format!("{what} go on as they are: nothing is added to them"),
        );
    }
    if abort {
        for field in ["delay", "replace", "patch"] {
            if let Some((line, path)) = spec.find(field) {
                imported.cannot(
                    line,
                    path,
                    "`abort` comes first there, too: nothing is left for it",
                );
            }
        }
        return Some(json!({"abort": true}));
    }
    let status = of_answer.then(|| replace.word("code")).flatten();
    if let Some(status) = status {
        if let Some((line, path)) = spec.find("delay") {
            imported.cannot(line, path, "an answer from here does not wait");
        }
        return answer(&replace, &status, imported);
    }
    for (line, path) in replace.rest() {
        let remedy = if of_answer {
            "; an answer of its own needs `replace.code`"
        } else {
            ""
        };
        imported.cannot(line, path, format!("{what} are not rewritten{remedy}"));
    }
    if delay.is_none() {
        imported.cannot(spec.line(), "spec", "nothing is left that a fault could do");
    }
    delay.map(|delay| json!({"delay": delay}))
}

/// An answer with this status, and what it is told to hold.
fn answer(replace: &Fields<'_>, status: &str, imported: &mut Imported) -> Option<Value> {
    let Ok(status) = status.parse::<u16>() else {
        let (line, path) = replace.find("code")?;
        imported.cannot(line, path, "this is no status");
        return None;
    };
    let mut answer = json!({"status": status});
    if let (Some(body), Some((line, path))) = (replace.word("body"), replace.find("body")) {
        let text = STANDARD
            .decode(&body)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        match text {
            Some(text) => answer["body"] = json!(text),
            None => imported.cannot(line, path, "this is no text in base64: the answer has no body"),
        }
    }
    let headers: serde_json::Map<String, Value> = replace
        .pairs("headers")
        .into_iter()
        .map(|(name, value, _)| (name, json!(value)))
        .collect();
    if !headers.is_empty() {
        answer["headers"] = Value::Object(headers);
    }
    tell_rest(&[replace], imported);
    Some(answer)
}

pub(super) fn dns(spec: &Fields<'_>, imported: &mut Imported) -> Option<Said> {
    match spec.word("action").as_deref() {
        // What its server says to every look-up that is chosen.
        None | Some("error") => {}
        Some(action) => {
            let (line, path) = spec.find("action")?;
            let why = if action == "random" {
                "an answer from here is always the same: write the addresses as `answer: {a: […], aaaa: […]}`"
            } else {
                "there is no such fault"
            };
            imported.cannot(line, format!("{path}: {action}"), why);
            return None;
        }
    }
    let names = names_of(&spec.items("patterns"), "spec.patterns", imported)?;
    let mut dns = json!({"answer": "servfail"});
    if !names.is_empty() {
        dns["names"] = json!(names);
    }
    Some(Said {
        traffic: json!({}),
        fault: json!({"dns": dns}),
        device: None,
    })
}
