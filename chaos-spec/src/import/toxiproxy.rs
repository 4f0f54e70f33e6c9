//! Toxiproxy: the answer of `GET /proxies`, or its configuration file with the toxics added.

use serde_json::{Value, json};

use super::{Imported, named};
use crate::Duration;

/// The faults of a list of proxies (or an object of them by name): one for each toxic that can be said. A toxic acts on
/// streams, a fault on packets; where that makes a difference it is listed. The targets are the daemon's own host's
/// sockets to `upstream`, since Toxiproxy does not know who its clients are.
pub fn toxiproxy(text: &str, duration: Duration) -> Result<Imported, serde_json::Error> {
    let mut imported = Imported::default();
    let proxies: Vec<Value> = match serde_json::from_str(text)? {
        Value::Array(proxies) => proxies,
        Value::Object(by_name) => by_name.into_iter().map(|(_, proxy)| proxy).collect(),
        _ => Vec::new(),
    };
    if proxies.is_empty() {
        imported.cannot(0, "the file", "there is no proxy in it");
    }
    for proxy in &proxies {
        one(proxy, duration, &mut imported);
    }
    Ok(imported)
}

fn one(proxy: &Value, duration: Duration, imported: &mut Imported) {
    let name = proxy["name"].as_str().unwrap_or("proxy");
    let Some((host, port)) = proxy["upstream"]
        .as_str()
        .and_then(|upstream| upstream.rsplit_once(':'))
    else {
        return imported.cannot(0, name, "it has no `upstream` of the form HOST:PORT");
    };
    let Ok(port) = port.parse::<u16>() else {
        return imported.cannot(0, name, format!("`{port}` is no port"));
    };
    let host = host.trim_matches(['[', ']']);
    let mut remote = json!({"ports": [port]});
    match host.parse::<std::net::IpAddr>() {
        Ok(address) => remote["cidrs"] = json!([address.to_string()]),
        Err(_) => remote["hosts"] = json!([host]),
    }
    if proxy["enabled"] == json!(false) {
        let spec = json!({
            "target": {"host": true},
            "traffic": {"protocol": "tcp", "remote": remote},
            "fault": {"reject": {"with": "reset"}},
        });
        imported.add(0, &named(&format!("{name}-down")), spec, duration);
    }
    for toxic in proxy["toxics"].as_array().into_iter().flatten() {
        let kind = toxic["type"].as_str().unwrap_or_default();
        let what = format!("{name}: {}", toxic["name"].as_str().unwrap_or(kind));
        let number = |field: &str| toxic["attributes"][field].as_f64();
        // Upstream is what the client sends.
        let direction = if toxic["stream"] == json!("upstream") {
            "egress"
        } else {
            "ingress"
        };
        let mut traffic = json!({"protocol": "tcp", "direction": direction, "remote": remote.clone()});
        match toxic["toxicity"].as_f64() {
            Some(share) if share < 1.0 => traffic["flows"] = json!(format!("{}%", share * 100.0)),
            _ => {}
        }
        let fault = match kind {
            "latency" => {
                let mut delay = json!({"latency": format!("{}ms", number("latency").unwrap_or(0.0))});
                if let Some(jitter) = number("jitter").filter(|jitter| *jitter > 0.0) {
                    delay["jitter"] = json!(format!("{jitter}ms"));
                    delay["distribution"] = json!("uniform");
                }
                json!({"delay": delay})
            }
            // Kilobytes a second, of 1000 bytes.
            "bandwidth" => {
                let bits = number("rate").unwrap_or(0.0) * 8000.0;
                json!({"bandwidth": {"rate": format!("{}bit", bits as u64)}})
            }
            "timeout" => {
                imported.cannot(
                    0,
                    format!("{what}: timeout"),
                    "the connection is not closed in the end, only cut off; the client's own timeout decides",
                );
                json!({"partition": {}})
            }
            "reset_peer" => {
                if number("timeout").is_some_and(|timeout| timeout > 0.0) {
                    imported.cannot(
                        0,
                        format!("{what}: timeout"),
                        "connections are reset at once, not after a while",
                    );
                }
                json!({"reset": {}})
            }
            "slow_close" | "slicer" | "limit_data" => {
                imported.cannot(
                    0,
                    format!("{what}: {kind}"),
                    "it acts on a stream of bytes, a fault on packets",
                );
                continue;
            }
            other => {
                imported.cannot(0, format!("{what}: {other}"), "this toxic is not known");
                continue;
            }
        };
        let spec = json!({"target": {"host": true}, "traffic": traffic, "fault": fault});
        imported.add(0, &named(&format!("{name}-{kind}")), spec, duration);
    }
}
