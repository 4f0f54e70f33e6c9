//! Frames built by hand, for what no ordinary socket sends: tags, extension headers, nonsense.

use crate::{Device, Host};

/// Puts frames onto a device as a packet socket does: they pass the egress hooks like any other.
pub fn send_frames(device: &Device, frames: &[Vec<u8>]) {
    const SCRIPT: &str = "import socket, sys\n\
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n\
        s.bind((sys.argv[1], 0))\n\
        for frame in sys.argv[2:]: s.send(bytes.fromhex(frame))";
    let mut argv = vec![
        "python3".to_owned(),
        "-c".to_owned(),
        SCRIPT.to_owned(),
        device.name().to_owned(),
    ];
    argv.extend(
        frames
            .iter()
            .map(|frame| frame.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    );
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    device.netns().run(&argv);
}

/// Ethernet from one host to another with these tags (802.1Q, outermost first) before `ether_type`.
pub fn ethernet(from: &Host, to: &Host, tags: &[u16], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [to.device.mac(), from.device.mac()].concat();
    for tag in tags {
        frame.extend(0x8100_u16.to_be_bytes());
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// IPv4 without options around a UDP datagram.
pub fn udp_v4(from: &Host, to: &Host, port: u16, payload: &[u8]) -> Vec<u8> {
    let udp = udp(port, payload);
    let length = u16::try_from(20 + udp.len()).expect("a small packet");
    let mut ip = vec![0x45, 0];
    ip.extend(length.to_be_bytes());
    ip.extend([0, 1, 0, 0, 64, 17, 0, 0]);
    ip.extend(from.v4.octets());
    ip.extend(to.v4.octets());
    let sum = !fold(&ip, 0);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip.extend(udp);
    ip
}

/// IPv6 around a UDP datagram, with these extension headers (their types) before it, each of eight bytes.
pub fn udp_v6(from: &Host, to: &Host, extensions: &[u8], port: u16, payload: &[u8]) -> Vec<u8> {
    let mut udp = udp(port, payload);
    let mut pseudo = [from.v6.octets(), to.v6.octets()].concat();
    pseudo.extend(u32::try_from(udp.len()).expect("a small packet").to_be_bytes());
    pseudo.extend([0, 0, 0, 17]);
    let sum = !fold(&udp, u32::from(fold(&pseudo, 0)));
    udp[6..8].copy_from_slice(&if sum == 0 { 0xffff_u16 } else { sum }.to_be_bytes());

    let length = u16::try_from(8 * extensions.len() + udp.len()).expect("a small packet");
    let mut ip = vec![0x60, 0, 0, 0];
    ip.extend(length.to_be_bytes());
    ip.extend([extensions.first().copied().unwrap_or(17), 64]);
    ip.extend(from.v6.octets());
    ip.extend(to.v6.octets());
    for (n, _) in extensions.iter().enumerate() {
        // Next header, length 0 (eight bytes), and a PadN option of four.
        ip.extend([extensions.get(n + 1).copied().unwrap_or(17), 0, 1, 4, 0, 0, 0, 0]);
    }
    ip.extend(udp);
    ip
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut udp = 40_000_u16.to_be_bytes().to_vec();
    udp.extend(port.to_be_bytes());
    udp.extend(
        u16::try_from(8 + payload.len())
            .expect("a small packet")
            .to_be_bytes(),
    );
    udp.extend([0, 0]);
    udp.extend(payload);
    udp
}

fn fold(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
