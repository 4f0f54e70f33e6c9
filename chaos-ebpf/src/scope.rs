//! Which scopes a packet belongs to: its namespace, the cgroups above its socket, the process that opened it.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock, bpf_sock_tuple},
    helpers::{
        bpf_sk_fullsock, bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release, bpf_skb_ancestor_cgroup_id,
    },
};
use chaos_ebpf_common::{
    abi::{CGROUP_LEVELS, Hook, Scope, ScopeKey, Side, Tag, protocol, scope_kind},
    flow::Flow,
    frame::Packet,
    front::{self, Known},
};

use crate::{
    maps::{NETNS_INDEX, SCOPE_FRONT, SCOPES, TAGS, known},
    skb::Skb,
    work::Work,
};

/// Adds the scope of a cgroup or process, if there is one.
#[inline(always)]
fn add(scopes: &mut impl Scopes, kind: u32, id: u64, hook: Hook) {
    let key = ScopeKey::new(kind, id, NETNS_INDEX.load(), hook as u32);
    match known(&SCOPE_FRONT, &key) {
        Known::Absent => {}
        Known::Value(value) => scopes.add(front::scope(value)),
        // SAFETY: a value of a map without preallocation; it is copied at once.
        Known::Ask => {
            if let Some(scope) = unsafe { SCOPES.get(&key) } {
                scopes.add(*scope);
            }
        }
    }
}

/// Where the scopes of a packet are gathered.
pub trait Scopes {
    /// One more.
    fn add(&mut self, scope: Scope);
}

impl Scopes for Work {
    #[inline(always)]
    fn add(&mut self, scope: Scope) {
        self.add_scope(scope);
    }
}

/// The only scope of a packet.
#[derive(Clone, Copy)]
pub enum Sole {
    /// It has none.
    Nobody,
    /// This is it.
    One(Scope),
    /// It has several.
    Several,
}

impl Sole {
    /// The scope of a namespace, whose id is 0 when it is no target.
    #[inline(always)]
    pub fn of(scope: Scope) -> Self {
        if scope.id == 0 {
            Self::Nobody
        } else {
            Self::One(scope)
        }
    }
}

impl Scopes for Sole {
    #[inline(always)]
    fn add(&mut self, scope: Scope) {
        *self = match *self {
            Self::Nobody => Self::One(scope),
            _ => Self::Several,
        };
    }
}

/// Adds the targets that a leaving packet's socket belongs to. Never inlined where it is rarely asked.
#[inline(never)]
pub fn add_sender_to(work: &mut Work, raw: *mut __sk_buff, side: &Side) -> u32 {
    add_sender(work, Skb::new(raw), side);
    0
}

/// The same, wherever they are gathered.
#[inline(always)]
pub fn add_sender(scopes: &mut impl Scopes, skb: Skb, side: &Side) {
    let (mut levels, mut level) = (side.cgroup_levels, 0);
    // Done behind the deepest: targets lie near the root.
    while levels != 0 && level < CGROUP_LEVELS as u32 {
        if levels & 1 != 0 {
            // SAFETY: a helper on our own context; 0 when no socket is known.
            let id = unsafe { bpf_skb_ancestor_cgroup_id(skb.raw(), level as i32) };
            if id != 0 {
                add(scopes, scope_kind::CGROUP, id, Hook::Egress);
            }
        }
        levels >>= 1;
        level += 1;
    }
    if side.processes == 0 {
        return;
    }
    let socket = skb.socket();
    if socket.is_null() {
        return;
    }
    // SAFETY: the verifier knows this pointer as a socket.
    let socket = unsafe { bpf_sk_fullsock(socket) };
    if socket.is_null() {
        return;
    }
    let tag = TAGS.get(socket);
    if !tag.is_null() {
        // SAFETY: not null, so a map value.
        let process = unsafe { (*tag).process } as u64;
        add(scopes, scope_kind::PROCESS, process, Hook::Egress);
    }
}

/// Adds the targets that the socket belongs to which an arriving packet is for.
#[inline(never)]
pub fn add_receiver(work: &mut Work, raw: *mut __sk_buff, side: &Side) -> u32 {
    let Some(socket) = Receiver::find(Skb::new(raw), &work.packet, &work.flow) else {
        return 0;
    };
    let tag = TAGS.get(socket.raw);
    if !tag.is_null() {
        // SAFETY: not null, so a map value.
        let tag: &Tag = unsafe { &*tag };
        let mut level = 0;
        while level < CGROUP_LEVELS {
            if side.cgroup_levels & (1 << level) != 0 && tag.cgroups[level] != 0 {
                add(work, scope_kind::CGROUP, tag.cgroups[level], Hook::Ingress);
            }
            level += 1;
        }
        if side.processes != 0 {
            add(work, scope_kind::PROCESS, tag.process as u64, Hook::Ingress);
        }
    }
    socket.release();
    0
}

/// A socket found for an arriving packet; it has to be released.
pub struct Receiver {
    /// The socket.
    pub raw: *mut bpf_sock,
}

impl Receiver {
    /// The socket that an arriving packet is for: an established one, else the listener (so the first
    /// SYN finds its target).
    #[inline(always)]
    pub fn find(skb: Skb, packet: &Packet, flow: &Flow) -> Option<Self> {
        // SAFETY: plain integers.
        let mut tuple: bpf_sock_tuple = unsafe { core::mem::zeroed() };
        let (source_port, destination_port) = (flow.remote_port.to_be(), flow.local_port.to_be());
        let size = if packet.version == 4 {
            let v4 = &mut tuple.__bindgen_anon_1;
            v4.ipv4.saddr = flow.remote.v4_word();
            v4.ipv4.daddr = flow.local.v4_word();
            v4.ipv4.sport = source_port;
            v4.ipv4.dport = destination_port;
            12
        } else {
            let v6 = &mut tuple.__bindgen_anon_1;
            v6.ipv6.saddr = flow.remote.words();
            v6.ipv6.daddr = flow.local.words();
            v6.ipv6.sport = source_port;
            v6.ipv6.dport = destination_port;
            36
        };
        const HERE: u64 = u64::MAX; // BPF_F_CURRENT_NETNS
        let context = skb.raw().cast();
        // SAFETY: helpers on our own context; the sizes are those of the two tuples.
        let raw = unsafe {
            match flow.protocol {
                protocol::TCP => bpf_sk_lookup_tcp(context, &raw mut tuple, size, HERE, 0),
                protocol::UDP => bpf_sk_lookup_udp(context, &raw mut tuple, size, HERE, 0),
                _ => return None,
            }
        };
        if raw.is_null() { None } else { Some(Self { raw }) }
    }

    /// Gives the socket back.
    #[inline(always)]
    pub fn release(self) {
        // SAFETY: found by a lookup and released once, as the verifier checks.
        unsafe { bpf_sk_release(self.raw.cast()) };
    }
}
