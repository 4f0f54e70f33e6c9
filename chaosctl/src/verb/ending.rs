//! Ending a fault and making sure that it has ended.

use std::time::Duration;

use chaos_spec::api::{FaultView, Phase};
use tokio::time::{Instant, sleep};

use crate::daemon::Daemon;
use crate::failure::Failure;

/// Between two looks at a fault.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a fault may take to end once the daemon has said yes; less when --timeout is less.
const PATIENCE: Duration = Duration::from_secs(5);

/// What became of a fault that was to end.
pub(super) enum Ending {
    /// It has ended; its last state, when the daemon still has it.
    Ended(Option<Box<FaultView>>),
    /// There is no fault of this name.
    Unknown,
}

/// Ends a fault and waits until the daemon says that it has ended.
pub(super) async fn end(daemon: &Daemon, name: &str) -> Result<Ending, Failure> {
    let mut view = match daemon.delete(name).await? {
        None => return Ok(Ending::Unknown),
        Some(deleted) => deleted.view,
    };
    let give_up = Instant::now() + PATIENCE.min(daemon.client().timeout());
    loop {
        match view {
            Some(view) if view.status.phase != Phase::Ended => {
                if Instant::now() > give_up {
                    return Err(Failure::RollbackIncomplete(format!(
                        "fault/{name} was deleted but is still {} – look again with `chaosctl get faults {name}`, \
                         or stop the daemon: its faults end with it",
                        view.status.phase
                    )));
                }
            }
            Some(view) => return Ok(Ending::Ended(Some(Box::new(view)))),
            None => return Ok(Ending::Ended(None)),
        }
        sleep(LOOK_EVERY).await;
        view = daemon.fault(name).await?;
    }
}
