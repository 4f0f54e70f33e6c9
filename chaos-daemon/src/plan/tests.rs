use super::*;
use chaos_ebpf_common::{
    abi::{Hook, loss, remote},
    flow::Flow,
    frame::Packet,
    index::{cell_of, key, shape},
    matching::{Subject, matches},
};
use chaos_spec::{Chance, Fault};
use proptest::prelude::*;

fn spec(traffic: &str) -> FaultSpec {
    let text = format!(
        r#"{{"target": {{"netns": "/run/netns/x"}}, "traffic": {traffic}, "fault": {{"partition": {{}}}}, "duration": "1m"}}"#
    );
    serde_json::from_str(&text).expect("a valid spec")
}

fn context() -> Context<'static> {
    Context {
        seed: 42,
        addresses: &[],
    }
}

fn one(traffic: &str) -> Draft {
    let mut drafts = drafts(&spec(traffic), &context()).unwrap();
    assert_eq!(drafts.len(), 1);
    drafts.remove(0)
}

/// Whether a packet of this flow is found through the index and then matched.
fn hits(drafts: &[Draft], flow: &Flow) -> bool {
    let packet = Packet {
        protocol: flow.protocol,
        version: 4,
        ..Packet::default()
    };
    drafts.iter().any(|draft| {
        let cell = cell_of(1, draft.filing.shape(), flow);
        let filed = draft
            .filing
            .iter()
            .any(|(l, r, a)| key(1, draft.filing.shape(), l, r, &a) == cell);
        let mut rule = draft.rule;
        rule.from_epoch = 1;
        let subject = Subject {
            packet: &packet,
            flow,
            ifindex: 2,
            epoch: 1,
        };
        filed
            && matches(&rule, &subject, |_| {
                let mut best = None;
                for p in draft.trie.iter() {
                    let inside =
                        chaos_ebpf_common::address::Prefix::new(p.network, p.bits).contains(&flow.remote);
                    if inside && best.is_none_or(|(bits, _)| p.bits >= bits) {
                        best = Some((p.bits, p.includes));
                    }
                }
                best.is_some_and(|(_, includes)| includes)
            })
    })
}

fn flow(remote: &str, remote_port: u16, local_port: u16) -> Flow {
    Flow {
        remote: address(remote.parse().unwrap()),
        local: address("10.9.9.9".parse().unwrap()),
        remote_port,
        local_port,
        protocol: protocol::TCP,
    }
}

#[test]
fn no_filter_is_one_rule_in_one_cell() {
    let draft = one("{}");
    assert_eq!(
        (draft.filing.shape(), draft.filing.cells(), draft.rule.remote),
        (0, 1, remote::ANY)
    );
    assert_eq!(
        (draft.rule.flows, draft.rule.budget, draft.rule.deadline),
        (CERTAIN, u64::MAX, 0),
        "it has no time to act before it is armed"
    );
}

#[test]
fn ports_and_hosts_are_filed_exactly() {
    let draft = one(
        r#"{"remote": {"cidrs": ["10.0.0.1", "10.0.0.2"], "ports": [80, "443-444"]}, "local": {"ports": [9000]}}"#,
    );
    assert_eq!(
        draft.filing.shape(),
        shape::REMOTE | shape::REMOTE_PORT | shape::LOCAL_PORT
    );
    assert_eq!(draft.filing.cells(), 2 * 3);
    let draft = [draft];
    assert!(hits(&draft, &flow("10.0.0.2", 444, 9000)));
    assert!(!hits(&draft, &flow("10.0.0.3", 444, 9000)));
    assert!(!hits(&draft, &flow("10.0.0.2", 445, 9000)));
    assert!(!hits(&draft, &flow("10.0.0.2", 444, 9001)));
}

#[test]
fn neighbouring_hosts_stay_exact() {
    let draft = one(r#"{"remote": {"cidrs": ["10.0.0.0/32", "10.0.0.1/32"]}}"#);
    assert_eq!((draft.filing.shape(), draft.filing.cells()), (shape::REMOTE, 2));
}

#[test]
fn wide_ranges_are_checked_in_the_rule() {
    let draft = one(r#"{"remote": {"ports": ["1-65535"]}}"#);
    assert_eq!((draft.filing.shape(), draft.rule.remote_ranges), (0, 1));
}

#[test]
fn many_wide_ranges_become_several_rules() {
    let list: Vec<String> = (0..20)
        .map(|i| format!("\"{}-{}\"", 1000 + i * 2000, 2500 + i * 2000))
        .collect();
    let all = drafts(
        &spec(&format!(r#"{{"remote": {{"ports": [{}]}}}}"#, list.join(","))),
        &context(),
    )
    .unwrap();
    assert_eq!(all.len(), 3);
    assert!(hits(&all, &flow("10.0.0.1", 39_500, 1)));
    assert!(!hits(&all, &flow("10.0.0.1", 38_999, 1)));
}

#[test]
fn more_ranges_than_rules_can_hold_are_refused_before_any_rule_is_made() {
    let odd: Vec<String> = (0..32_767).map(|i| (2 * i + 1).to_string()).collect();
    let ports = odd.join(",");
    let (both, took) = chaos_fuzz::timed(|| {
        drafts(
            &spec(&format!(
                r#"{{"remote": {{"ports": [{ports}]}}, "local": {{"ports": [{ports}]}}}}"#
            )),
            &context(),
        )
    });
    let refusal = both.unwrap_err().to_string();
    assert!(refusal.contains("32767 ranges of local ports"), "{refusal}");
    assert!(took < std::time::Duration::from_secs(10), "{took:?}");
    let few = (0..2000)
        .map(|i| (2 * i + 1).to_string())
        .collect::<Vec<_>>()
        .join(",");
    let refusal = drafts(
        &spec(&format!(r#"{{"local": {{"ports": [{few}]}}}}"#)),
        &context(),
    );
    assert!(
        matches!(refusal, Err(PlanError::TooManyPorts { count: 250, .. })),
        "{refusal:?}"
    );
}

#[test]
fn as_many_exceptions_as_fit_into_a_request_are_looked_through_quickly() {
    let cidrs: Vec<String> = (0..65_536u32)
        .map(|i| format!("\"10.{}.{}.0/25\"", i >> 8, i & 255))
        .collect();
    let except: Vec<String> = (0..65_536u32)
        .map(|i| format!("\"10.{}.{}.128/25\"", i >> 8, i & 255))
        .collect();
    let remote = format!(
        r#"{{"remote": {{"cidrs": [{}], "except": [{}, "10.0.0.0/24"]}}}}"#,
        cidrs.join(","),
        except.join(",")
    );
    let spec = spec(&remote);
    let (all, took) = chaos_fuzz::timed(|| drafts(&spec, &context()).unwrap());
    assert!(took < std::time::Duration::from_secs(5), "{took:?}");
    assert!(!hits(&all, &flow("10.0.0.1", 1, 1)) && hits(&all, &flow("10.0.1.1", 1, 1)));
    assert!(!hits(&all, &flow("10.0.1.129", 1, 1)));
}

#[test]
fn except_wins_over_any_prefix_length() {
    let all = drafts(
        &spec(r#"{"remote": {"cidrs": ["10.0.0.0/8", "10.1.2.3"], "except": ["10.1.0.0/16"]}}"#),
        &context(),
    )
    .unwrap();
    assert!(hits(&all, &flow("10.2.0.1", 1, 1)));
    assert!(!hits(&all, &flow("10.1.0.1", 1, 1)));
    assert!(!hits(&all, &flow("10.1.2.3", 1, 1)));
    assert!(!hits(&all, &flow("11.0.0.1", 1, 1)));
}

#[test]
fn except_alone_means_everything_else_in_both_families() {
    let all = drafts(&spec(r#"{"remote": {"except": ["10.0.0.0/8"]}}"#), &context()).unwrap();
    assert!(hits(&all, &flow("192.0.2.1", 1, 1)));
    assert!(hits(&all, &flow("2001:db8::1", 1, 1)));
    assert!(!hits(&all, &flow("10.0.0.1", 1, 1)));
}

#[test]
fn all_of_ipv6_is_not_ipv4() {
    let one = |traffic: &str| drafts(&spec(traffic), &context()).unwrap();
    let v6 = one(r#"{"remote": {"cidrs": ["::/0"]}}"#);
    assert!(hits(&v6, &flow("2001:db8::1", 1, 1)) && !hits(&v6, &flow("192.0.2.1", 1, 1)));
    let both = one(r#"{"remote": {"cidrs": ["::/0", "0.0.0.0/0"]}}"#);
    assert!(hits(&both, &flow("2001:db8::1", 1, 1)) && hits(&both, &flow("192.0.2.1", 1, 1)));
    let some = one(r#"{"remote": {"cidrs": ["::/0", "192.0.2.0/24"]}}"#);
    assert!(hits(&some, &flow("192.0.2.1", 1, 1)) && !hits(&some, &flow("198.51.100.1", 1, 1)));
    let without = one(r#"{"remote": {"except": ["::/0"]}}"#);
    assert!(hits(&without, &flow("192.0.2.1", 1, 1)) && !hits(&without, &flow("2001:db8::1", 1, 1)));
}

#[test]
fn hosts_without_an_address_match_nothing() {
    let named = spec(r#"{"remote": {"hosts": ["db.example.com"]}}"#);
    assert!(drafts(&named, &context()).unwrap().is_empty());
    let resolved = [
        "192.0.2.1/32".parse().unwrap(),
        "2001:db8::1/128".parse().unwrap(),
    ];
    let all = drafts(
        &named,
        &Context {
            addresses: &resolved,
            ..context()
        },
    )
    .unwrap();
    assert!(hits(&all, &flow("192.0.2.1", 1, 1)) && hits(&all, &flow("2001:db8::1", 1, 1)));
    assert!(!hits(&all, &flow("192.0.2.2", 1, 1)));
}

#[test]
fn sixty_five_thousand_addresses_are_one_rule() {
    let list: Vec<String> = (0..65_536u32)
        .map(|i| format!("\"10.{}.{}.1\"", i >> 8, i & 255))
        .collect();
    let draft = one(&format!(
        r#"{{"remote": {{"cidrs": [{}], "ports": [5432]}}}}"#,
        list.join(",")
    ));
    assert_eq!(draft.filing.cells(), 65_536);
    assert!(draft.trie.is_empty());
}

#[test]
fn correlated_and_bursty_loss_become_chains() {
    let mut fault = Fault::drop(chaos_spec::Drop::chance(Chance::percent(20).unwrap()));
    let mut rule = Rule::default();
    faults::write(&fault, &mut rule);
    assert_eq!(
        (rule.drop.model, rule.drop.chance),
        (loss::CHANCE, Chance::percent(20).unwrap().threshold())
    );
    fault.drop = fault
        .drop
        .map(|d| d.with_correlation(Chance::percent(75).unwrap()));
    faults::write(&fault, &mut rule);
    assert_eq!(rule.drop.model, loss::GILBERT_ELLIOTT);
    assert!(xdp_can_do(&fault));
    assert!(!xdp_can_do(&Fault::reset(Chance::percent(1).unwrap())));
}

#[test]
fn a_rule_is_told_in_words() {
    let text = rule_text(&spec("{}"), Hook::Egress);
    assert!(text.contains("partition") && text.contains("leave"), "{text}");
}

proptest! {
    #[test]
    fn the_index_never_hides_a_packet_that_the_filter_names(
        ports in prop::collection::vec((1u16..=65535, 0u16..50), 0..12),
        nets in prop::collection::vec((any::<[u8; 4]>(), 0u8..=32), 0..6),
        remote: [u8; 4], port in 1u16..=65535,
    ) {
        let list: Vec<String> = ports.iter().map(|(p, w)| format!("\"{}-{}\"", p, p.saturating_add(*w))).collect();
        let cidrs: Vec<ipnet::Ipv4Net> = nets.iter()
            .map(|(a, len)| ipnet::Ipv4Net::new((*a).into(), *len).unwrap().trunc()).collect();
        let quoted: Vec<String> = cidrs.iter().map(|n| format!("\"{n}\"")).collect();
        let mut parts = Vec::new();
        if !list.is_empty() { parts.push(format!("\"ports\": [{}]", list.join(","))); }
        if !quoted.is_empty() { parts.push(format!("\"cidrs\": [{}]", quoted.join(","))); }
        let all = drafts(&spec(&format!("{{\"remote\": {{{}}}}}", parts.join(","))), &context()).unwrap();
        let ip = std::net::Ipv4Addr::from(remote);
        let wanted = (list.is_empty() || ports.iter().any(|(p, w)| (*p..=p.saturating_add(*w)).contains(&port)))
            && (cidrs.is_empty() || cidrs.iter().any(|n| n.contains(&ip)));
        prop_assert_eq!(hits(&all, &flow(&ip.to_string(), port, 1)), wanted);
    }
}
