mod hostile;

use super::*;
use proptest::prelude::*;
use std::{vec, vec::Vec};

fn ethernet(kind: u16, rest: &[u8]) -> Vec<u8> {
    let mut frame = vec![2u8; 12];
    frame.extend(kind.to_be_bytes());
    frame.extend(rest);
    frame
}

fn v4(options: usize, fragment: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = 20 + options * 4;
    let mut ip = vec![0u8; header];
    ip[0] = 0x40 | (header / 4) as u8;
    ip[2..4].copy_from_slice(&((header + payload.len()) as u16).to_be_bytes());
    ip[4..6].copy_from_slice(&77u16.to_be_bytes());
    ip[6..8].copy_from_slice(&fragment.to_be_bytes());
    ip[9] = protocol;
    ip[12..16].copy_from_slice(&[10, 0, 0, 1]);
    ip[16..20].copy_from_slice(&[10, 0, 0, 2]);
    ip.extend(payload);
    ip
}

fn v6(chain: &[(u8, Vec<u8>)], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let extensions: usize = chain.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut ip = vec![0u8; 40];
    ip[0] = 0x60;
    ip[4..6].copy_from_slice(&((extensions + payload.len()) as u16).to_be_bytes());
    ip[6] = chain.first().map_or(protocol, |(kind, _)| *kind);
    ip[8] = 0xfd;
    ip[24] = 0xfe;
    for (i, (_, bytes)) in chain.iter().enumerate() {
        let mut bytes = bytes.clone();
        bytes[0] = chain.get(i + 1).map_or(protocol, |(kind, _)| *kind);
        ip.extend(bytes);
    }
    ip.extend(payload);
    ip
}

fn tcp(flags: u8) -> Vec<u8> {
    let mut header = vec![0u8; 20];
    header[0..2].copy_from_slice(&40000u16.to_be_bytes());
    header[2..4].copy_from_slice(&443u16.to_be_bytes());
    header[12] = 0x50;
    header[13] = flags;
    header
}

fn ip_of(frame: &[u8], ethertype: u16) -> Packet {
    match parse(frame, ethertype.to_be()) {
        Parsed::Ip(packet) => packet,
        other => panic!("not IP: {other:?}"),
    }
}

#[test]
fn ipv4_tcp_with_options() {
    let frame = ethernet(ETH_IPV4, &v4(3, 0, 6, &tcp(tcp::SYN)));
    let p = ip_of(&frame, ETH_IPV4);
    assert_eq!(
        (p.l3, p.l4, p.source_port, p.destination_port, p.tcp_flags),
        (14, 46, 40000, 443, tcp::SYN)
    );
    assert_eq!(p.end as usize, frame.len());
}

#[test]
fn vlan_tags_are_stepped_over() {
    let ip = v4(0, 0, 6, &tcp(tcp::ACK));
    let one = ethernet(ETH_VLAN, &[&[0, 7, 8, 0][..], &ip].concat());
    let two = ethernet(ETH_QINQ, &[&[0, 7, 0x81, 0, 0, 8, 8, 0][..], &ip].concat());
    assert_eq!(ip_of(&one, ETH_VLAN).l3, 18);
    assert_eq!(ip_of(&two, ETH_QINQ).l3, 22);
    assert_eq!(ip_of(&two, 0).destination_port, 443);
}

#[test]
fn a_device_without_link_layer_starts_with_the_ip_header() {
    assert_eq!(ip_of(&v4(0, 0, 6, &tcp(0)), ETH_IPV4).l3, 0);
    assert_eq!(ip_of(&v6(&[], 6, &tcp(0)), ETH_IPV6).l4, 40);
}

#[test]
fn arp_is_never_ours() {
    assert_eq!(
        parse(&ethernet(0x0806, &[0; 28])[..], 0x0806u16.to_be()),
        Parsed::Other
    );
    assert_eq!(parse(&ethernet(0x0806, &[0; 28])[..], 0), Parsed::Other);
}

#[test]
fn ipv4_fragments() {
    let first = ip_of(&ethernet(ETH_IPV4, &v4(0, 0x2000, 17, &tcp(0))), ETH_IPV4);
    assert_eq!((first.fragment, first.destination_port), (Fragment::First, 443));
    let later = ip_of(&ethernet(ETH_IPV4, &v4(0, 0x00b9, 17, &tcp(0))), ETH_IPV4);
    assert_eq!((later.fragment, later.destination_port), (Fragment::Later, 0));
    assert_eq!(later.fragment_id, first.fragment_id);
}

#[test]
fn ipv6_extension_headers_are_walked() {
    let hop = (0u8, vec![0u8; 8]);
    let mut destination = (60u8, vec![0u8; 16]);
    destination.1[1] = 1;
    let mut authentication = (51u8, vec![0u8; 24]);
    authentication.1[1] = 4;
    let ip = v6(&[hop, destination, authentication], 6, &tcp(tcp::SYN));
    let p = ip_of(&ethernet(ETH_IPV6, &ip), ETH_IPV6);
    assert_eq!(
        (p.l4, p.protocol, p.destination_port),
        (14 + 40 + 8 + 16 + 24, 6, 443)
    );
}

#[test]
fn ipv6_fragments() {
    let mut header = vec![0u8; 8];
    header[3] = 1;
    header[7] = 9;
    let first = ip_of(
        &ethernet(ETH_IPV6, &v6(&[(44, header.clone())], 17, &tcp(0))),
        ETH_IPV6,
    );
    assert_eq!((first.fragment, first.destination_port), (Fragment::First, 443));
    header[2] = 5;
    let later = ip_of(&ethernet(ETH_IPV6, &v6(&[(44, header)], 17, &tcp(0))), ETH_IPV6);
    assert_eq!((later.fragment, later.destination_port), (Fragment::Later, 0));
    assert_eq!(later.fragment_id, first.fragment_id);
}

#[test]
fn a_cut_header_is_broken_not_other() {
    let frame = ethernet(ETH_IPV4, &v4(0, 0, 6, &tcp(0)));
    for length in 15..14 + 20 + 14 {
        assert_eq!(
            parse(&frame[..length], ETH_IPV4.to_be()),
            Parsed::Broken,
            "{length} bytes"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind: u16) {
        let _ = parse(&bytes[..], kind);
        for kind in [ETH_IPV4, ETH_IPV6] {
            let _ = parse(&ethernet(kind, &bytes)[..], kind.to_be());
        }
    }
}
