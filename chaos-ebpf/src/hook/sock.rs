//! A socket is being opened in a target cgroup: tag it, and tell the daemon of a namespace it has not seen.

use aya_ebpf::{
    helpers::{bpf_get_current_ancestor_cgroup_id, bpf_get_current_pid_tgid, bpf_get_netns_cookie},
    programs::SockContext,
};
use chaos_ebpf_common::abi::{CGROUP_LEVELS, Newcomer, Tag};

use crate::maps::{KNOWN_NETNS, NEWCOMERS, TAGS};

/// Lets the socket be opened, always.
#[inline(always)]
pub fn run(ctx: &SockContext) -> i32 {
    const ALLOW: i32 = 1;
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    let mut tag = Tag {
        process,
        _pad: 0,
        cgroups: [0; CGROUP_LEVELS],
    };
    let mut level = 0;
    while level < CGROUP_LEVELS {
        // SAFETY: a helper on plain integers; 0 past the leaf.
        tag.cgroups[level] = unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) };
        level += 1;
    }
    TAGS.set(ctx.sock, &mut tag);
    // SAFETY: a helper on our own context.
    let netns_cookie = unsafe { bpf_get_netns_cookie(ctx.sock.cast()) };
    if KNOWN_NETNS.get_ptr(&netns_cookie).is_none() {
        // A full buffer loses the news; the daemon also looks by itself, only later.
        let _ = NEWCOMERS.output::<Newcomer>(
            &Newcomer {
                netns_cookie,
                process,
                _pad: 0,
            },
            0,
        );
    }
    ALLOW
}
