//! Waiting until what runs in the kernel has come to an end.

use std::io;

use aya::util::online_cpus;
use nix::{
    errno::Errno,
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// `MEMBARRIER_CMD_GLOBAL` of linux/membarrier.h: a grace period of RCU, 10 to 30 ms.
const GLOBAL: libc::c_int = 1;

/// Waits until every program that handles a packet right now has done with it: those keep their processor, so where this
/// thread has run, none of them is left. That takes some microseconds for each; where not all can be visited, the kernel is
/// asked to wait for all of them.
pub fn let_programs_end() {
    let waited = visit_all().or_else(|error| {
        tracing::debug!(%error, "not all processors can be visited");
        grace_period()
    });
    if let Err(error) = waited {
        tracing::debug!(%error, "the last packets of a fault may not be counted");
    }
}

fn visit_all() -> io::Result<()> {
    let this = Pid::from_raw(0);
    let home = sched_getaffinity(this)?;
    let all = online_cpus().map_err(|(_, error)| error)?;
    let visited = all.into_iter().try_for_each(|cpu| {
        let mut only = CpuSet::new();
        only.set(cpu as usize)?;
        match sched_setaffinity(this, &only) {
            // Gone meanwhile: nothing runs there.
            Err(Errno::EINVAL) if !is_online(cpu) => Ok(()),
            moved => moved,
        }
    });
    let back = sched_setaffinity(this, &home);
    visited.and(back).map_err(io::Error::from)
}

fn is_online(cpu: u32) -> bool {
    online_cpus().is_ok_and(|all| all.contains(&cpu))
}

fn grace_period() -> io::Result<()> {
    // SAFETY: a system call with plain integers.
    let done = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_leaves_the_thread_where_it_may_be() {
        let this = Pid::from_raw(0);
        let home = sched_getaffinity(this).unwrap();
        visit_all().unwrap();
        grace_period().unwrap();
        assert_eq!(sched_getaffinity(this).unwrap(), home);
    }
}
