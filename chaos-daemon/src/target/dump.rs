//! Lists that the kernel gives over rtnetlink, of the calling thread's network namespace. Read by hand: an async client
//! would need a runtime in each namespace.

use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Numbers of linux/netlink.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 16;
/// The kernel marks a list that a change cut in two; it settles after a try or so.
const TRIES: usize = 8;

/// What `parse` makes of the messages of type `kind` with which the kernel answers `question`.
///
/// # Errors
/// The kernel refuses, or the list changes faster than it can be read.
pub(super) fn dump<T>(
    question: RouteNetlinkMessage,
    kind: u16,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Vec<T>> {
    let request = request(question);
    for _ in 0..TRIES {
        if let Some(list) = answer(&request, kind, &parse)? {
            return Ok(list);
        }
    }
    Err(io::Error::other(
        "the network changes faster than it can be listed",
    ))
}

/// `None`: the list changed while it was read.
fn answer<T>(request: &[u8], kind: u16, parse: impl Fn(&[u8]) -> Option<T>) -> io::Result<Option<Vec<T>>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(request, 0)?;
    let mut list = Vec::new();
    let mut whole = true;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
            whole &= message.flags() & NLM_F_DUMP_INTR == 0;
            match message.message_type() {
                NLMSG_DONE => return Ok(whole.then_some(list)),
                NLMSG_ERROR => return Err(error_of(message.payload())),
                found if found == kind => list.extend(parse(message.payload())),
                _ => {}
            }
            // Messages are padded to four bytes.
            let length = (message.length() as usize).next_multiple_of(4).min(rest.len());
            rest = &rest[length..];
        }
    }
}

fn request(question: RouteNetlinkMessage) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_DUMP | NLM_F_REQUEST;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(question));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// An error message begins with the negated errno.
fn error_of(payload: &[u8]) -> io::Error {
    match payload.first_chunk() {
        Some(errno) => io::Error::from_raw_os_error(i32::from_ne_bytes(*errno).saturating_neg()),
        None => io::ErrorKind::InvalidData.into(),
    }
}

/// The value of the first attribute of a kind.
pub(super) fn attribute(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let mut all = NlasIterator::new(attributes).flatten();
    let found = all.find(|attribute| attribute.kind() == kind)?;
    let header = 4;
    found
        .into_inner()
        .get(header..)
        .map(|rest| &rest[..rest.len().min(found.value_length())])
}

/// A string that ends with a zero, or without one.
pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}
