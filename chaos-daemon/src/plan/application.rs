//! `http` and `dns`: what is looked for in payloads, and the answers, ready to be sent.

use chaos_ebpf_common::{
    abi::{
        DNS_NAMES, DNS_TYPES, Dns, DnsName, HTTP_METHODS, Http, PATTERN_WORDS, RECORD_WORDS, Records, Rule,
        fault, flags, path_kind, protocol, then,
    },
    application::dns::{HEADER, kind},
    rng::CERTAIN,
};
use chaos_spec::{Dns as DnsSpec, DnsAction, DnsAnswer, DnsTcp, Fault, Http as HttpSpec, HttpAction};

/// What the kernel programs read beside a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Application {
    /// Of an `http` fault.
    Http(Box<Http>),
    /// Of a `dns` fault.
    Dns(Box<Dns>),
}

/// Text in words, the first letter lowest; what is too long is cut, which validation has ruled out.
fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    for (i, byte) in bytes.iter().enumerate().take(8 * N) {
        words[i / 8] |= u64::from(*byte) << (8 * (i % 8));
    }
    words
}

/// The Internet sum of bytes as they will stand in memory, folded, not complemented.
fn sum(bytes: &[u8]) -> u16 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut sum: u64 = pairs
        .iter()
        .map(|pair| u64::from(u16::from_ne_bytes(*pair)))
        .sum();
    if let [last] = rest {
        sum += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// What a fault says of payloads, when it does; marks its rule.
pub(super) fn write(spec: &Fault, rule: &mut Rule) -> Option<Application> {
    if let Some(spec) = &spec.http {
        return Some(http(spec, rule));
    }
    spec.dns.as_ref().map(|spec| dns(spec, rule))
}

fn http(spec: &HttpSpec, rule: &mut Rule) -> Application {
    rule.faults |= fault::HTTP;
    rule.protocol = protocol::TCP;
    let mut http = Http {
        chance: spec.chance.threshold(),
        method_count: spec.method.len().min(HTTP_METHODS) as u32,
        ..Http::default()
    };
    for (place, method) in http.methods.iter_mut().zip(&spec.method) {
        *place = words::<1>(method.as_bytes())[0];
    }
    if let Some(pattern) = &spec.path {
        let text = pattern.as_str();
        let star = text.find('*');
        http.path_kind = match star {
            None => path_kind::EXACT,
            Some(at) if at + 1 == text.len() => path_kind::PREFIX,
            Some(_) => path_kind::GLOB,
        };
        http.path_length = text.len() as u32;
        http.path_prefix = star.unwrap_or(text.len()) as u32;
        http.path = words::<PATTERN_WORDS>(text.as_bytes());
    }
    if let Some(host) = &spec.host {
        let name = match host.is_wildcard() {
            true => format!(".{}", host.name()),
            false => host.name().to_owned(),
        };
        http.host_wild = u32::from(host.is_wildcard());
        http.host_length = name.len() as u32;
        http.host = words::<PATTERN_WORDS>(name.as_bytes());
    }
    match spec.action() {
        Some(HttpAction::Answer) => {
            http.then = then::ANSWER;
            if let Some(response) = spec.response() {
                let length = response.bytes.len().min(http.response.len());
                let head = response.head.min(length);
                http.response[..length].copy_from_slice(&response.bytes[..length]);
                (http.length, http.head) = (length as u32, head as u32);
                (http.sum, http.head_sum) = (sum(&response.bytes[..length]), sum(&response.bytes[..head]));
            }
        }
        Some(HttpAction::Delay(delay)) => {
            http.then = then::WAIT;
            http.delay = delay.as_nanos();
        }
        // Validation lets exactly one action through; a reset is the one that needs nothing else.
        Some(HttpAction::Abort) | None => http.then = then::ABORT,
    }
    Application::Http(Box::new(http))
}

fn dns(spec: &DnsSpec, rule: &mut Rule) -> Application {
    rule.faults |= fault::DNS;
    rule.protocol = protocol::UDP;
    let types = spec.asked_types();
    // `*` is every name, the root too, which no other wildcard names.
    let every = spec
        .names
        .iter()
        .any(|name| name.is_wildcard() && name.wire() == [0]);
    let names = if every { &[] } else { spec.names.as_slice() };
    let mut dns = Dns {
        chance: spec.chance.threshold(),
        name_count: names.len().min(DNS_NAMES) as u32,
        type_count: types.len().min(DNS_TYPES) as u32,
        ..Dns::default()
    };
    for (place, asked) in dns.types.iter_mut().zip(types) {
        *place = asked.number();
    }
    for (place, name) in dns.names.iter_mut().zip(names) {
        let wire = name.wire();
        *place = DnsName {
            length: wire.len() as u32,
            wild: u32::from(name.is_wildcard()),
            name: words(&wire),
        };
    }
    match spec.action() {
        Some(DnsAction::Answer(answer)) => {
            dns.then = answer.rcode().map_or(then::LOSE, |_| then::ANSWER);
            dns.code = u32::from(answer.rcode().unwrap_or_default());
            if let DnsAnswer::Records(records) = answer {
                let ttl = records.ttl_seconds();
                dns.a = list(kind::A, ttl, records.a.iter().map(|a| a.octets().to_vec()));
                dns.aaaa = list(kind::AAAA, ttl, records.aaaa.iter().map(|a| a.octets().to_vec()));
            }
        }
        Some(DnsAction::Delay(_)) | None => dns.then = then::WAIT,
    }
    Application::Dns(Box::new(dns))
}

/// Records that follow a question, for its name (RFC 1035, 4.1.3).
fn list(kind: u16, ttl: u32, addresses: impl Iterator<Item = Vec<u8>>) -> Records {
    const INTERNET: u16 = 1;
    // A pointer to where every question begins.
    let name = 0xc000 | HEADER as u16;
    let mut bytes = Vec::new();
    let mut count = 0;
    for address in addresses {
        for word in [name, kind, INTERNET] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(ttl.to_be_bytes());
        bytes.extend((address.len() as u16).to_be_bytes());
        bytes.extend(address);
        count += 1;
    }
    Records {
        count,
        length: bytes.len() as u32,
        bytes: words::<RECORD_WORDS>(&bytes),
    }
}

/// The rule that goes with a `dns` fault for look-ups over TCP, when they are not to pass.
pub(super) fn over_tcp(spec: &DnsSpec, rule: &Rule) -> Option<Rule> {
    (spec.tcp == DnsTcp::Reset).then(|| Rule {
        faults: fault::RESET,
        protocol: protocol::TCP,
        reset: spec.chance.threshold().min(CERTAIN),
        flags: rule.flags & !flags::LINE,
        ..*rule
    })
}

#[cfg(test)]
mod tests;
