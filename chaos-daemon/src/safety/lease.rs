//! The heartbeat. Every rule in the kernel is void once the lease is over; this thread moves it on, but only as far
//! as the engine's own last sign of life plus the lease. A hung engine, a stopped or killed process: the lease ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::clock::monotonic_ns;

/// The lease as the kernel programs read it.
pub trait Heart: Send + Sync + 'static {
    /// Rules act until this reading of CLOCK_MONOTONIC.
    ///
    /// # Errors
    /// The kernel did not take the value: the old one stands and will pass.
    fn renew(&self, until_monotonic_ns: u64) -> Result<(), String>;

    /// Every rule is void at once.
    ///
    /// # Errors
    /// The kernel did not take the value: the lease ends by itself.
    fn halt(&self) -> Result<(), String>;
}

/// The engine's sign of life.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Beats>);

#[derive(Debug)]
struct Beats {
    last: AtomicU64,
    /// While the engine is inside the kernel it cannot beat; until then that is no reason to worry.
    busy_until: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(Beats {
            last: AtomicU64::new(monotonic_ns()),
            busy_until: AtomicU64::new(0),
        }))
    }
}

impl Pulse {
    /// I am alive, now.
    pub fn beat(&self) {
        self.0.last.store(monotonic_ns(), Ordering::SeqCst);
        self.0.busy_until.store(0, Ordering::SeqCst);
    }

    /// The next beat may take this long: I am about to make calls that take their time.
    pub fn busy(&self, at_most: Duration) {
        self.0
            .busy_until
            .store(monotonic_ns().saturating_add(nanos(at_most)), Ordering::SeqCst);
    }

    /// I am gone: no beat is to be waited for.
    pub fn stop(&self) {
        self.0.busy_until.store(0, Ordering::SeqCst);
        self.0.last.store(0, Ordering::SeqCst);
    }

    /// Until when the engine was known to be well, CLOCK_MONOTONIC nanoseconds, `now` at most; 0 after [`Pulse::stop`].
    pub fn last(&self, now: u64) -> u64 {
        let busy_until = self.0.busy_until.load(Ordering::SeqCst);
        self.0.last.load(Ordering::SeqCst).max(busy_until.min(now))
    }

    pub fn age(&self) -> Duration {
        let now = monotonic_ns();
        Duration::from_nanos(now.saturating_sub(self.last(now)))
    }
}

/// A handle on the lease; clones are the same lease.
#[derive(Clone)]
pub struct Lease(Arc<Shared>);

struct Shared {
    heart: Box<dyn Heart>,
    pulse: Pulse,
    length: Duration,
    halted: AtomicBool,
    /// What the kernel was told last; 0 = void.
    until: AtomicU64,
}

/// Owns the renewing thread; dropping it stops the thread and leaves the lease to run out.
pub struct LeaseKeeper {
    lease: Lease,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Lease {
    fn new(heart: impl Heart, length: Duration, pulse: Pulse, halted: bool) -> Self {
        Self(Arc::new(Shared {
            heart: Box::new(heart),
            pulse,
            length,
            halted: AtomicBool::new(halted),
            until: AtomicU64::new(0),
        }))
    }

    fn renew(&self) {
        let shared = &*self.0;
        let last = shared.pulse.last(monotonic_ns());
        // A lease that has lapsed stays so: rules that were void must not act again as if nothing had been. Looked at
        // after the pulse: standing still between the two lines can only make `until` a time of the past.
        if shared.halted.load(Ordering::SeqCst) || last == 0 || self.has_lapsed() {
            return;
        }
        let until = last.saturating_add(nanos(shared.length));
        if let Err(error) = shared.heart.renew(until) {
            tracing::error!(
                error,
                "the lease could not be renewed; faults end when it is over"
            );
            return;
        }
        shared.until.store(until, Ordering::SeqCst);
        // A halt that came between the look above and the write must win.
        if shared.halted.load(Ordering::SeqCst) {
            self.void();
        }
    }

    fn void(&self) {
        self.0.until.store(0, Ordering::SeqCst);
        if let Err(error) = self.0.heart.halt() {
            tracing::error!(error, "the lease could not be voided; it ends by itself");
        }
    }

    /// Whether the lease ran out without having been voided: the rules stopped acting, and nobody decided that.
    pub fn has_lapsed(&self) -> bool {
        let until = self.0.until.load(Ordering::SeqCst);
        until != 0 && monotonic_ns() >= until
    }

    /// Begins anew after a lapse, when every fault of before has been ended.
    pub fn restart(&self) {
        self.void();
        self.renew();
    }

    /// Every rule is void when this returns, and stays so until [`Lease::release`].
    pub fn halt(&self) {
        self.0.halted.store(true, Ordering::SeqCst);
        self.void();
    }

    /// Rules may act again.
    pub fn release(&self) {
        self.0.halted.store(false, Ordering::SeqCst);
        self.renew();
    }

    /// How much of the lease is left; zero: every rule is void.
    pub fn left(&self) -> Duration {
        Duration::from_nanos(self.0.until.load(Ordering::SeqCst).saturating_sub(monotonic_ns()))
    }

    pub fn length(&self) -> Duration {
        self.0.length
    }

    /// Time since the engine was last known to be well.
    pub fn engine_age(&self) -> Duration {
        self.0.pulse.age()
    }
}

impl LeaseKeeper {
    /// Renews once, then every quarter of `length`, for as long as `pulse` beats.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(heart: impl Heart, length: Duration, pulse: Pulse, halted: bool) -> std::io::Result<Self> {
        let lease = Lease::new(heart, length, pulse, halted);
        if halted {
            lease.void();
        } else {
            lease.renew();
        }
        let (stop, stopped) = mpsc::channel();
        let runner = lease.clone();
        let watchdog = sd_notify::watchdog_enabled();
        let thread = thread::Builder::new().name("lease".to_owned()).spawn(move || {
            // systemd asks for a ping within its time; half of it, or our own beat when that is shorter.
            let beat = watchdog.map_or(length / 4, |limit| (length / 4).min(limit / 2));
            while stopped.recv_timeout(beat) == Err(RecvTimeoutError::Timeout) {
                runner.renew();
                if watchdog.is_some() && runner.engine_age() < length {
                    // Not told, systemd restarts the daemon, which is the right end of a failure to tell it.
                    let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
                }
            }
        })?;
        Ok(Self {
            lease,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub fn lease(&self) -> &Lease {
        &self.lease
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by then; the lease runs out either way.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Recorder(Arc<AtomicU64>);

    impl Heart for Recorder {
        fn renew(&self, until: u64) -> Result<(), String> {
            self.0.store(until, Ordering::SeqCst);
            Ok(())
        }

        fn halt(&self) -> Result<(), String> {
            self.0.store(0, Ordering::SeqCst);
            Ok(())
        }
    }

    fn until(condition: impl Fn() -> bool) -> bool {
        let end = monotonic_ns() + 5_000_000_000;
        while monotonic_ns() < end {
            if condition() {
                return true;
            }
            thread::yield_now();
        }
        false
    }

    fn start(lease: u64, halted: bool) -> (LeaseKeeper, Recorder, Pulse) {
        let (heart, pulse) = (Recorder::default(), Pulse::default());
        let keeper =
            LeaseKeeper::start(heart.clone(), Duration::from_millis(lease), pulse.clone(), halted).unwrap();
        (keeper, heart, pulse)
    }

    impl Recorder {
        fn until(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn the_lease_follows_the_pulse_and_stops_with_it() {
        let (keeper, heart, pulse) = start(200, false);
        pulse.beat();
        let beaten = pulse.last(u64::MAX);
        assert!(until(|| heart.until() == beaten + 200_000_000));
        // No beat any more: whatever the thread does, the lease ends 200 ms after the last one.
        assert!(until(|| keeper.lease().has_lapsed()));
        assert_eq!(heart.until(), beaten + 200_000_000);
    }

    #[test]
    fn a_lease_that_lapsed_stays_lapsed_until_it_is_begun_anew() {
        let (keeper, heart, pulse) = start(40, false);
        assert!(until(|| keeper.lease().has_lapsed()));
        let lapsed = heart.until();
        let start = monotonic_ns();
        while monotonic_ns() < start + 100_000_000 {
            pulse.beat();
            assert_eq!(heart.until(), lapsed);
            thread::yield_now();
        }
        pulse.beat();
        keeper.lease().restart();
        assert!(heart.until() > lapsed);
    }

    #[test]
    fn whoever_is_busy_is_not_taken_for_dead() {
        let (keeper, _, pulse) = start(60, false);
        pulse.busy(Duration::from_millis(400));
        let start = monotonic_ns();
        while monotonic_ns() < start + 300_000_000 {
            assert!(!keeper.lease().has_lapsed());
            thread::yield_now();
        }
        assert!(until(|| keeper.lease().has_lapsed()));
    }

    #[test]
    fn a_halt_voids_and_nothing_renews_until_release() {
        let (keeper, heart, pulse) = start(8, false);
        keeper.lease().halt();
        let start = monotonic_ns();
        while monotonic_ns() < start + 30_000_000 {
            pulse.beat();
            assert_eq!(heart.until(), 0);
            thread::yield_now();
        }
        assert!(!keeper.lease().has_lapsed());
        pulse.beat();
        keeper.lease().release();
        assert!(heart.until() > start);
    }

    #[test]
    fn a_daemon_that_starts_halted_has_no_lease() {
        let (keeper, heart, _) = start(8, true);
        assert!(keeper.lease().left().is_zero());
        assert_eq!(heart.until(), 0);
    }
}
