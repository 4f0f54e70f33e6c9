//! Times at which the machine stood still. A virtual machine shares its processors with others: for some tens of
//! milliseconds one may not run at all, and a promise of 20 ms is a promise about the product, not about them. A witness
//! on each processor, which sleeps for a millisecond again and again, sees such a time by getting up late.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::wait::monotonic_nanos;

/// How long a witness sleeps.
const NAP: Duration = Duration::from_millis(1);
/// Getting up this much later is what a scheduler does to those who share a processor; later is a stall.
const USUAL: u64 = 3_000_000;

/// From and to, nanoseconds of `CLOCK_MONOTONIC`, of whatever processor.
static STALLS: OnceLock<Mutex<Vec<(u64, u64)>>> = OnceLock::new();

/// Begins to watch; once is enough.
pub fn watch_for_stalls() {
    STALLS.get_or_init(|| {
        let ours = sched_getaffinity(Pid::from_raw(0)).expect("a thread may know where it runs");
        for cpu in (0..CpuSet::count()).filter(|cpu| ours.is_set(*cpu) == Ok(true)) {
            thread::spawn(move || witness(cpu));
        }
        Mutex::default()
    });
}

/// On one processor (0 names the calling thread).
fn witness(cpu: usize) {
    let mut here = CpuSet::new();
    let pinned = here
        .set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &here));
    if let Err(error) = pinned {
        println!("nobody watches processor {cpu}: {error}");
        return;
    }
    let nap = u64::try_from(NAP.as_nanos()).expect("a short time");
    loop {
        let asleep = monotonic_nanos();
        thread::sleep(NAP);
        let awake = monotonic_nanos();
        if awake - asleep > nap + USUAL {
            let stalls = STALLS.get_or_init(Mutex::default);
            let mut stalls = stalls.lock().unwrap_or_else(PoisonError::into_inner);
            stalls.push((asleep + nap, awake));
        }
    }
}

/// For how long the machine stood still between two times of `CLOCK_MONOTONIC`, on any of its processors.
pub fn stalled(from: u64, to: u64) -> Duration {
    Duration::from_nanos(covered(stalls(from, to), from, to))
}

/// The times, from and to, at which one of its processors stood still between two times of `CLOCK_MONOTONIC`.
pub fn stalls(from: u64, to: u64) -> Vec<(u64, u64)> {
    let stalls = STALLS.get_or_init(Mutex::default);
    let stalls = stalls.lock().unwrap_or_else(PoisonError::into_inner);
    let between = stalls.iter().filter(|(begin, end)| *begin < to && from < *end);
    between.copied().collect()
}

/// How long it took from one time to another, without the time for which the machine stood still.
pub fn moved(from: u64, to: u64) -> Duration {
    Duration::from_nanos(to.saturating_sub(from)).saturating_sub(stalled(from, to))
}

/// A clock that stands still while the machine does.
pub struct Stopwatch(u64);

impl Stopwatch {
    pub fn start() -> Self {
        watch_for_stalls();
        Self(monotonic_nanos())
    }

    pub fn took(&self) -> Duration {
        moved(self.0, monotonic_nanos())
    }
}

/// The length of what spans cover of `from..to`; where they overlap they count once.
fn covered(mut spans: Vec<(u64, u64)>, from: u64, to: u64) -> u64 {
    spans.sort_unstable();
    let mut reached = from;
    let mut sum = 0;
    for (begin, end) in spans {
        let (begin, end) = (begin.max(reached), end.min(to));
        if begin < end {
            sum += end - begin;
            reached = end;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_overlap_count_once_and_only_inside() {
        let spans = || vec![(50, 60), (10, 30), (20, 40), (12, 15)];
        assert_eq!(covered(spans(), 0, 100), 40);
        assert_eq!(covered(spans(), 25, 55), 20);
        assert_eq!(covered(spans(), 41, 49), 0);
        assert_eq!(covered(Vec::new(), 0, 100), 0);
    }

    #[test]
    fn a_busy_processor_is_no_stall_of_the_whole_length() {
        watch_for_stalls();
        let start = monotonic_nanos();
        while monotonic_nanos() < start + 50_000_000 {
            std::hint::spin_loop();
        }
        assert!(moved(start, monotonic_nanos()) >= Duration::from_millis(20));
    }
}
