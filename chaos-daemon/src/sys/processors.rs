//! Waiting until what runs in the kernel has come to an end.

use std::{
    io,
    sync::{
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Release},
        },
        mpsc,
    },
    thread,
    time::Duration,
};

use aya::util::online_cpus;
use nix::{
    errno::Errno,
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// `MEMBARRIER_CMD_GLOBAL` of linux/membarrier.h: a grace period of RCU, 10 to 30 ms.
const GLOBAL: libc::c_int = 1;

/// Longer than a round takes where every processor now and then runs something else.
const PATIENCE: Duration = Duration::from_millis(20);

/// A round is under way.
static AWAY: AtomicBool = AtomicBool::new(false);

/// Waits until every program that handles a packet right now has done with it, but not for ever: those keep their processor,
/// so where a thread has run, none of them is left. That takes some microseconds for each. The thread is one of its own, since
/// a processor that a real-time process never leaves would keep it.
pub fn let_programs_end() {
    if AWAY.swap(true, AcqRel) {
        return;
    }
    let (told, round) = mpsc::channel();
    let going = thread::Builder::new().name("round".to_owned()).spawn(move || {
        if let Err(error) = visit_all().or_else(|_| grace_period()) {
            tracing::debug!(%error, "the last packets of a fault may not be counted");
        }
        AWAY.store(false, Release);
        // Nobody may wait any more.
        let _ = told.send(());
    });
    match going {
        Ok(_) => {
            if round.recv_timeout(PATIENCE).is_err() {
                tracing::debug!("not all processors could be visited in time");
            }
        }
        Err(error) => {
            AWAY.store(false, Release);
            tracing::debug!(%error, "the last packets of a fault may not be counted");
        }
    }
}

fn visit_all() -> io::Result<()> {
    let this = Pid::from_raw(0);
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
    visited.map_err(io::Error::from)
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
    fn every_processor_and_the_kernel_can_be_waited_for() {
        // On a thread that has nothing else to do, as above.
        thread::spawn(visit_all).join().unwrap().unwrap();
        grace_period().unwrap();
    }
}
