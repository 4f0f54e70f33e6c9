//! Takes the samples of several probes, each at its own pace.

use std::sync::Arc;
use std::time::Duration;

use chaos_probe::{Net, ProbeError, Prober, Sample};
use chaos_spec::experiment::SteadyProbe;
use chaos_spec::{Expect, Probe};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::conduct::Nets;

/// Samples on their way to the judge; whoever takes them faster than they are judged waits.
const ROOM: usize = 256;

/// Probes at work. Dropped, it takes no more samples, and gives up those that are under way.
pub(crate) struct Watch {
    _tasks: JoinSet<()>,
    closing: watch::Sender<bool>,
    samples: mpsc::Receiver<(usize, Sample)>,
    sender: Option<mpsc::Sender<(usize, Sample)>>,
    tasks: Vec<Task>,
}

struct Task {
    index: usize,
    prober: Arc<Prober>,
    every: Duration,
}

impl Watch {
    /// Readies the probes.
    ///
    /// # Errors
    /// A sample can never be taken; with the name of the probe.
    pub(crate) fn new<'a>(
        probes: impl Iterator<Item = (usize, &'a SteadyProbe, Expect)>,
        nets: &dyn Nets,
    ) -> Result<Self, (String, ProbeError)> {
        let mut tasks = Vec::new();
        for (index, steady, expect) in probes {
            let net = nets.within(steady.netns.as_deref());
            let prober = prober(&steady.probe, &expect, steady.timeout.as_std(), net)
                .map_err(|error| (steady.name.clone(), error))?;
            tasks.push(Task {
                index,
                prober: Arc::new(prober),
                every: steady.every.as_std(),
            });
        }
        let (sender, samples) = mpsc::channel(ROOM);
        Ok(Self {
            _tasks: JoinSet::new(),
            closing: watch::Sender::new(false),
            samples,
            sender: Some(sender),
            tasks,
        })
    }

    /// Begins.
    pub(crate) fn start(mut self) -> Self {
        let Some(sender) = self.sender.take() else {
            return self;
        };
        for Task { index, prober, every } in self.tasks.drain(..) {
            let (sender, mut closing) = (sender.clone(), self.closing.subscribe());
            self._tasks.spawn(async move {
                let mut ticks = tokio::time::interval(every);
                // A sample that took longer than its turn delays the next; none are made up for.
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    tokio::select! {
                        biased;
                        _ = closing.wait_for(|closing| *closing) => return,
                        _ = ticks.tick() => {}
                    }
                    let sample = prober.sample().await;
                    if sender.send((index, sample)).await.is_err() {
                        return;
                    }
                }
            });
        }
        self
    }

    /// The next sample; none once it was closed and the last is in.
    pub(crate) async fn next(&mut self) -> Option<(usize, Sample)> {
        self.samples.recv().await
    }

    /// Begins no more samples; those under way still come.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }
}

fn prober(
    probe: &Probe,
    expect: &Expect,
    timeout: Duration,
    net: Arc<dyn Net>,
) -> Result<Prober, ProbeError> {
    Prober::new(probe, expect, timeout, net)
}
