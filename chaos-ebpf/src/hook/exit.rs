//! A thread of some process exits: when it is the daemon that dies, in whatever way, every fault ends here and now.
//!
//! The links go with the process, too, but one after the other, each after all processors have been waited for.

use aya_ebpf::{bindings::bpf_pidns_info, helpers::generated::bpf_get_ns_current_pid_tgid};
use chaos_ebpf_common::abi::control;

use crate::maps::{Control, DAEMON};

/// Voids the lease when the thread is the daemon's first. Threads that outlive it for a moment may have renewed the
/// lease since; the end of each voids it again.
#[inline(always)]
pub fn run() {
    let daemon = DAEMON.load();
    let mut thread = bpf_pidns_info { pid: 0, tgid: 0 };
    // SAFETY: the helper fills the structure, whose size it is told.
    let known = unsafe {
        bpf_get_ns_current_pid_tgid(
            daemon.pid_namespace_device,
            daemon.pid_namespace_inode,
            &raw mut thread,
            size_of::<bpf_pidns_info>() as u32,
        )
    };
    if known != 0 || u64::from(thread.tgid) != daemon.process {
        return;
    }
    let Some(control) = Control::get() else {
        return;
    };
    if thread.pid == thread.tgid {
        control.write(control::DYING, 1);
    }
    if control.read(control::DYING) != 0 {
        control.write(control::LEASE, 0);
    }
}
