//! Ctrl-C and its kin: noted, so that the guards undo everything on the ordinary way out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// The user asked to stop. `main` gives it the exit code 130.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted; everything was undone")
    }
}

impl std::error::Error for Interrupted {}

#[derive(Clone, Debug)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub(super) fn watch() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&flag)).context("cannot watch for Ctrl-C")?;
        }
        Ok(Self(flag))
    }

    pub(super) fn seen(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.seen() {
            Err(Interrupted.into())
        } else {
            Ok(())
        }
    }

    /// Asks `ready` until it says yes, fails, the time is over, or the user has had enough.
    pub(super) fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        mut ready: impl FnMut() -> Result<bool>,
    ) -> Result<Duration> {
        let start = Instant::now();
        loop {
            if ready()? {
                return Ok(start.elapsed());
            }
            self.check()?;
            if start.elapsed() > limit {
                bail!("waited {limit:?} for {what}, in vain");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
