//! What `http` and `dns` do, in words: they look at requests and look-ups, not at packets.

use std::fmt::Display;

use super::differences::GUARDED;
use super::summary::few;
use super::words::and;
use crate::{Dns, DnsAnswer, DnsName, DnsRecords, DnsTcp, FaultSpec, Http, HttpAction, Traffic};

/// `http 503 40% GET,POST payments.example.com/pay/*`
pub(super) fn http_summary(http: &Http) -> String {
    let what = match http.action() {
        Some(HttpAction::Answer) => http.status.map(|status| format!(" {status}")),
        Some(HttpAction::Abort) => Some(" abort".to_owned()),
        Some(HttpAction::Delay(delay)) => Some(format!(" delay {delay}")),
        None => None,
    };
    let mut text = format!("http{} {}", what.unwrap_or_default(), http.chance);
    if !http.method.is_empty() {
        text = format!("{text} {}", few(&http.method));
    }
    match (&http.host, &http.path) {
        (Some(host), Some(path)) => format!("{text} {host}{path}"),
        (Some(host), None) => format!("{text} {host}"),
        (None, Some(path)) => format!("{text} {path}"),
        (None, None) => text,
    }
}

/// `dns nxdomain 50% A,AAAA *.example.com`
pub(super) fn dns_summary(dns: &Dns) -> String {
    let what = match (&dns.answer, dns.delay) {
        (Some(DnsAnswer::Records(records)), _) => format!(" {}", few(&addresses(records))),
        (Some(answer), _) => format!(" {}", answer.word()),
        (None, Some(delay)) => format!(" delay {delay}"),
        (None, None) => String::new(),
    };
    let mut text = format!("dns{what} {}", dns.chance);
    if !dns.types.is_empty() {
        text = format!("{text} {}", few(&dns.types));
    }
    if !dns.names.is_empty() {
        text = format!("{text} {}", few(&dns.names));
    }
    match dns.tcp {
        DnsTcp::Pass => text,
        DnsTcp::Reset => format!("{text} · tcp reset"),
    }
}

fn addresses(records: &DnsRecords) -> Vec<&dyn Display> {
    let a = records.a.iter().map(|address| address as &dyn Display);
    a.chain(records.aaaa.iter().map(|address| address as &dyn Display))
        .collect()
}

pub(super) fn http_rule(http: &Http) -> String {
    let mut which = format!("{} of the", http.chance);
    if !http.method.is_empty() {
        which = format!("{which} {}", and(&http.method));
    }
    which.push_str(" requests in plain HTTP/1.1");
    if let Some(path) = &http.path {
        which = format!("{which} for {path}");
    }
    if let Some(host) = &http.host {
        which = format!("{which} at {host}");
    }
    match http.action() {
        Some(HttpAction::Answer) => {
            let status = http.status.unwrap_or_default();
            format!(
                "{which} are answered here with {status}, and their connection ends; the server never sees them"
            )
        }
        Some(HttpAction::Abort) => format!("{which} are cut off: their connection is reset at both ends"),
        Some(HttpAction::Delay(delay)) => format!("{which} go on {delay} later"),
        None => format!("{which} are meant"),
    }
}

pub(super) fn dns_rules(dns: &Dns, traffic: &Traffic) -> Vec<String> {
    let mut which = format!("{} of the look-ups over UDP", dns.chance);
    if !names_ports(traffic) {
        which = format!("{which}, port {},", Dns::PORT);
    }
    let types = dns.asked_types();
    if !types.is_empty() {
        which = format!("{which} of {}", and(&types));
    }
    if !dns.names.is_empty() && !dns.names.iter().any(DnsName::is_every) {
        which = format!("{which} for {}", and(&dns.names));
    }
    let rule = match (&dns.answer, dns.delay) {
        (Some(answer), _) => format!("{which} {}", answered(answer)),
        (None, Some(delay)) => format!("{which} go on {delay} later"),
        (None, None) => format!("{which} are meant"),
    };
    let mut rules = vec![rule];
    if dns.tcp == DnsTcp::Reset {
        rules.push(format!(
            "{} of the connections for look-ups over TCP are reset, whatever they ask for",
            dns.chance
        ));
    }
    rules
}

fn answered(answer: &DnsAnswer) -> String {
    let code = match answer {
        DnsAnswer::Nxdomain => "NXDOMAIN: there is no such name",
        DnsAnswer::Servfail => "SERVFAIL: the server has failed",
        DnsAnswer::Refused => "REFUSED: the server will not answer",
        DnsAnswer::Timeout => return "are lost: nothing comes back".to_owned(),
        DnsAnswer::Records(records) => {
            let given = and(&addresses(records));
            let none = match (records.a.is_empty(), records.aaaa.is_empty()) {
                (false, true) => ", and that there is no AAAA",
                (true, false) => ", and that there is no A",
                _ => "",
            };
            return format!(
                "are answered here with {given}{none}, to be kept for {}",
                records.ttl
            );
        }
    };
    format!("are answered here with {code}")
}

/// Whether the traffic says at which ports to look.
fn names_ports(traffic: &Traffic) -> bool {
    traffic
        .local
        .as_ref()
        .is_some_and(|local| !local.ports.is_empty())
        || traffic
            .remote
            .as_ref()
            .is_some_and(|remote| !remote.ports.is_empty())
}

/// Where other ways to the same end differ, of faults that no command comes near.
pub(super) fn differences(spec: &FaultSpec) -> Option<Vec<String>> {
    let fault = &spec.fault;
    let (instead, others) = match (&fault.http, &fault.dns) {
        (Some(_), _) => (
            "a proxy",
            "Other tools answer requests in a proxy that the target's connections have to be led through; here they stay \
             as they are, those that are open included, and what is not chosen goes to the server untouched.",
        ),
        (None, Some(_)) => (
            "a resolver",
            "Other tools answer look-ups in a resolver that the target has to be pointed at; here it goes on asking its \
             own, and what is not chosen gets that one's answer.",
        ),
        (None, None) => return None,
    };
    let mut differences = vec![
        format!(
            "It ends by itself after {}, in the kernel, also when the daemon is killed or hangs; {instead} in between \
             stays until somebody removes it, and takes the traffic with it when it dies.",
            spec.duration
        ),
        others.to_owned(),
    ];
    if fault.http.is_some() {
        differences.push(
            "A proxy that ends TLS can read encrypted requests and HTTP/2; here both pass and are counted as unseen."
                .to_owned(),
        );
    }
    differences.push(GUARDED.to_owned());
    Some(differences)
}
