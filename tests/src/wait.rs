//! Waiting for conditions, never for time.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(5);

/// How long something may take that takes `native` on an idle machine: ten times as long where every instruction is
/// emulated (`cargo xtask vm`), which says nothing about the product.
pub fn patience(native: Duration) -> Duration {
    native * if is_emulated() { 10 } else { 1 }
}

/// Whether this kernel runs in an emulated machine, as its init tells.
pub fn is_emulated() -> bool {
    std::env::var_os("CHAOS_EMULATED").is_some()
}

/// Whether tests take the time that the promises speak of (`cargo xtask test --all`), in place of a sample.
pub fn is_full_run() -> bool {
    std::env::var_os("CHAOS_TEST_ALL").is_some()
}

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not hold within `timeout`; the message gives `what`.
#[track_caller]
pub fn eventually(timeout: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    eventually_some(timeout, what, || condition().then_some(()));
}

/// Waits until `probe` gives a value, and returns it.
///
/// # Panics
/// When it gives none within `timeout`, which [`patience`] stretches.
#[track_caller]
pub fn eventually_some<T>(timeout: Duration, what: &str, probe: impl FnMut() -> Option<T>) -> T {
    let timeout = patience(timeout);
    within(timeout, probe).unwrap_or_else(|| panic!("not within {timeout:?}: {what}"))
}

/// Waits until `probe` gives a value; `None` when it gives none within `timeout`. For endings, where a panic would be a
/// second one.
pub fn within<T>(timeout: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let found = probe();
        if found.is_some() || start.elapsed() >= timeout {
            return found;
        }
        thread::sleep(STEP);
    }
}

/// Waits until a moment of `CLOCK_MONOTONIC` has come, in nanoseconds: for what is to happen at a time, not after something.
pub fn until(moment: u64) {
    while let Some(left) = moment.checked_sub(monotonic_nanos()).filter(|left| *left > 0) {
        thread::sleep(Duration::from_nanos(left));
    }
}

/// Waits until `probe` has given the same value for `quiet`, and returns it: for counts whose end is unknown,
/// because packets were lost on purpose.
///
/// # Panics
/// When the value still changes after 60 seconds.
#[track_caller]
pub fn settled<T: PartialEq + Debug>(quiet: Duration, mut probe: impl FnMut() -> T) -> T {
    let start = Instant::now();
    let mut last = probe();
    let mut since = Instant::now();
    while since.elapsed() < quiet {
        thread::sleep(STEP);
        let now = probe();
        if now != last {
            last = now;
            since = Instant::now();
        }
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "still changing after a minute: {last:?}"
        );
    }
    last
}

/// Nanoseconds of `CLOCK_MONOTONIC`: the same in every process, so that times of several can be compared.
pub fn monotonic_nanos() -> u64 {
    nanos(ClockId::CLOCK_MONOTONIC)
}

/// Nanoseconds of `CLOCK_BOOTTIME`, which the kernel programs keep deadlines by.
pub fn boot_nanos() -> u64 {
    nanos(ClockId::CLOCK_BOOTTIME)
}

fn nanos(clock: ClockId) -> u64 {
    let now = clock_gettime(clock).expect("the clock exists on every Linux");
    u64::try_from(Duration::from(now).as_nanos()).expect("the machine has been up for less than 584 years")
}
