use super::line::LONGEST;
use super::{Errors, count};
use crate::path::SpecPath;
use crate::{Connections, Dns, DnsAnswer, DnsRecords, DnsTcp, DnsType, FaultSpec, Protocol, Traffic};

const FIELD: &str = "spec.fault.dns";
const ANSWER: &str = "spec.fault.dns.answer";

pub(super) fn check(spec: &FaultSpec, errors: &mut Errors) {
    let Some(dns) = &spec.fault.dns else {
        return;
    };
    check_traffic(&spec.traffic, dns.tcp, errors);
    match (&dns.answer, dns.delay) {
        (None, None) => errors.add(
            FIELD,
            "it does not say what becomes of the look-ups",
            "write `answer: nxdomain` or `delay: 2s`",
        ),
        (Some(_), Some(_)) => errors.add(
            FIELD,
            "`answer` and `delay` are given together",
            "keep one of them; another is a fault of its own",
        ),
        _ => {}
    }
    if let Some(DnsAnswer::Records(records)) = &dns.answer {
        check_records(records, errors);
        check_record_types(dns, errors);
    }
    if dns.delay.is_some_and(|delay| delay > LONGEST) {
        errors.add(
            "spec.fault.dns.delay",
            "look-ups would wait for more than an hour",
            "write less, or `answer: timeout`",
        );
    }
    count::check("spec.fault.dns.names", &dns.names, Dns::MOST_NAMES, errors);
    count::check("spec.fault.dns.types", &dns.types, Dns::MOST_TYPES, errors);
}

fn check_traffic(traffic: &Traffic, tcp: DnsTcp, errors: &mut Errors) {
    match (traffic.protocol, tcp) {
        (Protocol::Any, _) | (Protocol::Udp, DnsTcp::Pass) => {}
        (Protocol::Udp, DnsTcp::Reset) => errors.add(
            "spec.fault.dns.tcp",
            "the protocol is UDP, so no connection is there to be reset",
            "leave it out, or leave `protocol` out",
        ),
        (Protocol::Tcp, _) => errors.add(
            "spec.traffic.protocol",
            "look-ups are answered over UDP, and passed or reset over TCP",
            "leave it out; write `reset` or `reject` for TCP alone",
        ),
        (Protocol::Icmp, _) => errors.add(
            "spec.traffic.protocol",
            "ICMP has no look-ups",
            "write `protocol: udp`, or leave it out",
        ),
    }
    if traffic.connections != Connections::Any {
        errors.add(
            "spec.traffic.connections",
            "look-ups over UDP have no connections",
            "leave it out",
        );
    }
}

fn check_records(records: &DnsRecords, errors: &mut Errors) {
    let answer = || SpecPath::of(ANSWER);
    if records.a.is_empty() && records.aaaa.is_empty() {
        errors.add(
            ANSWER,
            "there is no record in it",
            "write `a: [192.0.2.7]`, or `nxdomain`",
        );
    }
    for (field, count) in [("a", records.a.len()), ("aaaa", records.aaaa.len())] {
        if count > DnsRecords::MOST {
            let message = format!(
                "{count} addresses are more than the {} of one family in an answer",
                DnsRecords::MOST
            );
            errors.at(answer().field(field), message, "leave some out");
        }
    }
    if records.ttl.as_std().subsec_nanos() != 0 {
        let message = format!(
            "DNS counts in whole seconds, and {} has a part of one",
            records.ttl
        );
        errors.at(
            answer().field("ttl"),
            message,
            "write for example `5s`; `0s` is not to be kept",
        );
    } else if records.ttl > DnsRecords::MOST_TTL {
        let message = format!("{} is longer than resolvers keep an answer", records.ttl);
        errors.at(
            answer().field("ttl"),
            message,
            format!("write at most `{}`", DnsRecords::MOST_TTL),
        );
    }
}

fn check_record_types(dns: &Dns, errors: &mut Errors) {
    for (index, kind) in dns.types.iter().enumerate() {
        if ![DnsType::A, DnsType::AAAA].contains(kind) {
            errors.at(
                SpecPath::of(FIELD).field("types").index(index),
                format!("records are made for A and AAAA, and {kind} is neither"),
                "leave it out, or write `nxdomain` in a fault of its own",
            );
        }
    }
}
