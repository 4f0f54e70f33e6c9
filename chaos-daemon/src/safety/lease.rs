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
pub struct Pulse(Arc<AtomicU64>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(monotonic_ns())))
    }
}

impl Pulse {
    /// I am alive, now.
    pub fn beat(&self) {
        self.0.store(monotonic_ns(), Ordering::Release);
    }

    /// I am gone: no beat is to be waited for.
    pub fn stop(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// Last beat, CLOCK_MONOTONIC nanoseconds; 0 after [`Pulse::stop`].
    pub fn last(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub fn age(&self) -> Duration {
        Duration::from_nanos(monotonic_ns().saturating_sub(self.last()))
    }
}

struct Shared {
    heart: Box<dyn Heart>,
    pulse: Pulse,
    lease: Duration,
    halted: AtomicBool,
    /// What the kernel was told last; 0 = void.
    until: AtomicU64,
}

/// Owns the renewing thread; dropping it stops the thread and leaves the lease to run out.
pub struct LeaseKeeper {
    shared: Arc<Shared>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Shared {
    fn renew(&self) -> bool {
        let last = self.pulse.last();
        if self.halted.load(Ordering::SeqCst) || last == 0 {
            return false;
        }
        let lease = u64::try_from(self.lease.as_nanos()).unwrap_or(u64::MAX);
        let until = last.saturating_add(lease);
        if let Err(error) = self.heart.renew(until) {
            tracing::error!(
                error,
                "the lease could not be renewed; faults end when it is over"
            );
            return false;
        }
        self.until.store(until, Ordering::SeqCst);
        // A halt that came between the look above and the write must win.
        if self.halted.load(Ordering::SeqCst) {
            self.void();
            return false;
        }
        until > monotonic_ns()
    }

    fn void(&self) {
        self.until.store(0, Ordering::SeqCst);
        if let Err(error) = self.heart.halt() {
            tracing::error!(error, "the lease could not be voided; it ends by itself");
        }
    }
}

impl LeaseKeeper {
    /// Renews once, then every quarter of `lease`, for as long as `pulse` beats.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(heart: impl Heart, lease: Duration, pulse: Pulse, halted: bool) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            heart: Box::new(heart),
            pulse,
            lease,
            halted: AtomicBool::new(halted),
            until: AtomicU64::new(0),
        });
        if halted {
            shared.void();
        } else {
            shared.renew();
        }
        let (stop, stopped) = mpsc::channel();
        let runner = Arc::clone(&shared);
        let watchdog = sd_notify::watchdog_enabled();
        let thread = thread::Builder::new().name("lease".to_owned()).spawn(move || {
            // systemd asks for a ping within its time; half of it, or our own beat when that is shorter.
            let beat = watchdog.map_or(lease / 4, |limit| (lease / 4).min(limit / 2));
            while stopped.recv_timeout(beat) == Err(RecvTimeoutError::Timeout) {
                runner.renew();
                let engine_lives =
                    runner.pulse.last() != 0 && runner.pulse.age() < runner.lease.max(beat * 4);
                if watchdog.is_some() && engine_lives {
                    // Not told, systemd restarts the daemon, which is the right end of a failure to tell it.
                    let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
                }
            }
        })?;
        Ok(Self {
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Every rule is void when this returns, and stays so until [`LeaseKeeper::release`].
    pub fn halt(&self) {
        self.shared.halted.store(true, Ordering::SeqCst);
        self.shared.void();
    }

    /// Rules may act again.
    pub fn release(&self) {
        self.shared.halted.store(false, Ordering::SeqCst);
        self.shared.renew();
    }

    /// How much of the lease is left; zero: every rule is void.
    pub fn left(&self) -> Duration {
        Duration::from_nanos(
            self.shared
                .until
                .load(Ordering::SeqCst)
                .saturating_sub(monotonic_ns()),
        )
    }

    pub fn length(&self) -> Duration {
        self.shared.lease
    }

    /// Time since the engine's last sign of life.
    pub fn engine_age(&self) -> Duration {
        self.shared.pulse.age()
    }
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

    #[test]
    fn the_lease_follows_the_pulse_and_stops_with_it() {
        let heart = Recorder::default();
        let pulse = Pulse::default();
        let lease = Duration::from_millis(40);
        let keeper = LeaseKeeper::start(heart.clone(), lease, pulse.clone(), false).unwrap();
        pulse.beat();
        let beaten = pulse.last();
        assert!(until(|| heart.0.load(Ordering::SeqCst) == beaten + 40_000_000));
        // No beat any more: whatever the thread does, the lease ends 40 ms after the last one.
        assert!(until(|| keeper.left().is_zero()));
        assert_eq!(heart.0.load(Ordering::SeqCst), beaten + 40_000_000);
    }

    #[test]
    fn a_halt_voids_and_nothing_renews_until_release() {
        let heart = Recorder::default();
        let pulse = Pulse::default();
        let keeper =
            LeaseKeeper::start(heart.clone(), Duration::from_millis(8), pulse.clone(), false).unwrap();
        keeper.halt();
        let start = monotonic_ns();
        while monotonic_ns() < start + 30_000_000 {
            pulse.beat();
            assert_eq!(heart.0.load(Ordering::SeqCst), 0);
            thread::yield_now();
        }
        pulse.beat();
        keeper.release();
        assert!(heart.0.load(Ordering::SeqCst) > start);
    }

    #[test]
    fn a_daemon_that_starts_halted_has_no_lease() {
        let heart = Recorder::default();
        let keeper =
            LeaseKeeper::start(heart.clone(), Duration::from_millis(8), Pulse::default(), true).unwrap();
        assert!(keeper.left().is_zero());
        assert_eq!(heart.0.load(Ordering::SeqCst), 0);
    }
}
