//! `cargo xtask demo`: the main job, end to end, on a stage that the demo builds and removes.

mod control;
pub(crate) mod enter;
mod experiment;
mod interrupt;
mod leftovers;
mod process;
mod shop;
mod snapshot;
mod stage;
pub(crate) mod stock;
mod table;
mod traffic;
mod web;

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use self::control::{Ctl, Daemon, Fault, kernel_programs};
use self::interrupt::Interrupt;
pub(crate) use self::interrupt::Interrupted;
use self::snapshot::Snapshot;
use self::stage::Stage;
use self::traffic::{Lane, Seen};
use self::web::{OTHER_PORT, PORT};
use crate::process::is_root;
use crate::setup::{self, Purpose};
use crate::{build, workspace::Workspace};

/// Show a fault on one cgroup and one port, from healthy traffic to proof that it is gone. Needs root.
///
/// Everything happens in network namespaces and cgroups that the demo makes and removes; no interface of this
/// machine is touched.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Requests of each client in each act.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(10..=i64::from(traffic::MAX_REQUESTS)))]
    requests: u16,
}

pub(crate) fn run(ws: &Workspace, args: &Args) -> Result<()> {
    if !is_root() {
        bail!(
            "the demo makes network namespaces and loads BPF programs, which needs root: sudo -E cargo xtask demo"
        );
    }
    setup::programs_for(Purpose::Demo)?;
    traffic::check_client()?;
    build::binaries(ws)?;
    let interrupt = Interrupt::watch()?;
    let dir = tempfile::Builder::new()
        .prefix("chaos-demo-")
        .tempdir()
        .context("no temporary folder")?;
    let stage = Stage::build()?;
    let _nginx = web::start(&stage.server(), dir.path())?;
    let lanes = Lanes::new(&stage);
    interrupt.wait_for("nginx to answer", Duration::from_secs(10), || {
        Ok(lanes.victim.ask(&interrupt)?.ok())
    })?;
    // The cable reports that it is up a moment after it carries traffic.
    interrupt.wait_for("the cable to come up", Duration::from_secs(10), || stage.is_up())?;
    let before = Snapshot::take(&stage)?;
    let ctl = Ctl::new(ws, dir.path());
    let mut daemon = Daemon::start(ws, &stage.client(), dir.path(), &ctl, &interrupt)?;
    println!(
        "\nThe stage: two network namespaces joined by a cable, made for this demo.\n  \
         server     nginx on {}:{PORT} and :{OTHER_PORT}\n  \
         client     curl in the cgroup `victim`, and curl in the cgroup `neighbour`\n  \
         daemon     chaos-daemon, pid {}\n",
        stage::SERVER_ADDRESS,
        daemon.pid()
    );

    let show = Show {
        ctl: &ctl,
        lanes: &lanes,
        requests: usize::from(args.requests),
        interrupt: &interrupt,
    };
    stage.check_own()?;
    let cgroup = stage.victim_cgroup()?;
    let healthy = show.healthy("1. Healthy traffic")?;
    show.lossy(&cgroup, &healthy)?;
    show.refusing(&cgroup)?;
    let held = daemon.programs()?;
    show.whole_again()?;
    experiment::run(ws, &ctl, &stage, dir.path(), &interrupt)?;
    show.killed(&cgroup, &mut daemon)?;
    drop(daemon);

    println!("7. What is left behind");
    // The next daemon undoes what a killed one could not, on kernels where a filter outlives its process.
    Daemon::start(ws, &stage.client(), dir.path(), &ctl, &interrupt)?.stop()?;
    nothing_left(&before, &stage, &held)?;
    println!("\nDone. The namespaces and cgroups of the demo are removed now.");
    Ok(())
}

/// Who asks whom: the traffic that the faults name, and two kinds that they do not.
struct Lanes {
    victim: Lane,
    other_port: Lane,
    neighbour: Lane,
}

impl Lanes {
    fn new(stage: &Stage) -> Self {
        Self {
            victim: Lane {
                name: "victim -> :8080   (named)",
                place: stage.victim(),
                port: PORT,
            },
            other_port: Lane {
                name: "victim -> :8081",
                place: stage.victim(),
                port: OTHER_PORT,
            },
            neighbour: Lane {
                name: "neighbour -> :8080",
                place: stage.neighbour(),
                port: PORT,
            },
        }
    }
}

/// What the three lanes saw in one act.
struct Act {
    victim: Seen,
    other_port: Seen,
    neighbour: Seen,
}

/// The acts. Each one checks what it shows: a demo that only prints proves nothing.
struct Show<'a> {
    ctl: &'a Ctl,
    lanes: &'a Lanes,
    requests: usize,
    interrupt: &'a Interrupt,
}

impl Show<'_> {
    fn healthy(&self, title: &str) -> Result<Act> {
        println!("{title}");
        let act = self.traffic(None)?;
        ensure!(
            act.victim.all_good() && act.other_port.all_good() && act.neighbour.all_good(),
            "traffic without a fault is not healthy"
        );
        Ok(act)
    }

    fn lossy(&self, cgroup: &str, healthy: &Act) -> Result<()> {
        println!("2. The victim loses 30 % of what it sends to :{PORT}");
        let aim = format!("--cgroup {cgroup} --protocol tcp --remote-port {PORT}");
        self.ctl
            .inject("lossy", &format!("inject drop 30% {aim} --for 120s"))?;
        let act = self.traffic(Some("lossy"))?;
        self.unharmed(&act)?;
        let fault = self.ctl.fault("lossy")?;
        println!("    counted in the kernel: {}\n", counters(&fault));
        ensure!(
            is_plausible(fault.dropped, fault.matched, 0.3),
            "30 % were asked for, and {} of {} packets were dropped",
            fault.dropped,
            fault.matched
        );
        // A lost SYN costs a second, a lost request a retransmission timeout; 30 % loss cannot hide in p95.
        ensure!(
            act.victim.quantile(0.95) > 10.0 * healthy.victim.quantile(0.95).min(10.0),
            "the victim did not feel the loss"
        );
        self.ctl.delete("lossy")?;
        println!();
        Ok(())
    }

    fn refusing(&self, cgroup: &str) -> Result<()> {
        println!("3. :{PORT} refuses the victim's connections, as a closed port does");
        let aim = format!("--cgroup {cgroup} --protocol tcp --remote-port {PORT}");
        self.ctl.inject(
            "refusing",
            &format!("inject reject --with reset {aim} --for 120s"),
        )?;
        let act = self.traffic(Some("refusing"))?;
        self.unharmed(&act)?;
        let fault = self.ctl.fault("refusing")?;
        println!("    counted in the kernel: {}\n", counters(&fault));
        ensure!(
            act.victim.good() == 0,
            "{} requests of the victim went through",
            act.victim.good()
        );
        self.ctl.show("get faults")?;
        println!();
        Ok(())
    }

    fn whole_again(&self) -> Result<()> {
        println!("4. Ended");
        self.ctl.delete("refusing")?;
        self.healthy("   and traffic is whole again")?;
        Ok(())
    }

    /// The promise that weighs most: a fault does not outlive its daemon, not even one that cannot clean up.
    fn killed(&self, cgroup: &str, daemon: &mut Daemon) -> Result<()> {
        println!("6. Cut off completely, then the daemon is killed with SIGKILL");
        self.ctl.inject(
            "cut-off",
            &format!("inject partition --cgroup {cgroup} --for 120s"),
        )?;
        ensure!(
            !self.lanes.victim.ask(self.interrupt)?.ok(),
            "a partitioned victim got an answer"
        );
        println!("    the victim gets no answer (curl gave up)");
        daemon.kill()?;
        let start = Instant::now();
        self.interrupt
            .wait_for("the victim's traffic", Duration::from_secs(10), || {
                Ok(self.lanes.victim.ask(self.interrupt)?.ok())
            })?;
        println!(
            "    kill -9 {}: the victim has an answer after {} ms, curl's start included\n",
            daemon.pid(),
            start.elapsed().as_millis()
        );
        Ok(())
    }

    /// All three lanes at once, with the fault's counters while they run, then the table.
    fn traffic(&self, fault: Option<&str>) -> Result<Act> {
        let drive = |lane: &Lane| lane.drive(self.requests, self.interrupt);
        let act = std::thread::scope(|scope| -> Result<Act> {
            let lanes = [&self.lanes.victim, &self.lanes.other_port, &self.lanes.neighbour];
            let workers = lanes.map(|lane| scope.spawn(move || drive(lane)));
            let shown = match fault {
                Some(name) => self.watch(name, || workers.iter().all(|w| w.is_finished())),
                None => Ok(()),
            };
            let [victim, other_port, neighbour] =
                workers.map(|worker| worker.join().expect("a lane returns its errors"));
            shown?;
            Ok(Act {
                victim: victim?,
                other_port: other_port?,
                neighbour: neighbour?,
            })
        })?;
        let rows = [
            (self.lanes.victim.name, &act.victim),
            (self.lanes.other_port.name, &act.other_port),
            (self.lanes.neighbour.name, &act.neighbour),
        ];
        println!("{}", table::render(&rows).trim_end());
        if fault.is_none() {
            println!();
        }
        Ok(act)
    }

    /// Shows the counters twice a second until `over`: on a terminal in one line, else a line each second look.
    fn watch(&self, name: &str, over: impl Fn() -> bool) -> Result<()> {
        let terminal = std::io::stdout().is_terminal();
        let mut next = Instant::now();
        let mut looks = 0_u32;
        while !over() {
            if Instant::now() >= next {
                let line = counters(&self.ctl.fault(name)?);
                if terminal {
                    print!("\r    live: {line:<60}");
                    std::io::stdout().flush().context("stdout")?;
                } else if looks % 2 == 1 {
                    println!("    live: {line}");
                }
                looks += 1;
                next += Duration::from_millis(500);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        if terminal {
            print!("\r{:<72}\r", "");
        }
        Ok(())
    }

    fn unharmed(&self, act: &Act) -> Result<()> {
        ensure!(
            act.other_port.all_good(),
            "the other port was hit: {}",
            act.other_port.failures()
        );
        ensure!(
            act.neighbour.all_good(),
            "the neighbour was hit: {}",
            act.neighbour.failures()
        );
        Ok(())
    }
}

fn counters(fault: &Fault) -> String {
    let mut text = format!("{} packets matched", fault.matched);
    for (count, what) in [(fault.dropped, "dropped"), (fault.rejected, "rejected")] {
        if count > 0 {
            let share = 100.0 * count as f64 / fault.matched.max(1) as f64;
            text.push_str(&format!(", {count} {what} ({share:.1} %)"));
        }
    }
    text
}

/// Does `hits` of `all` fit `chance`? Five standard deviations: one demo in a million is wronged.
fn is_plausible(hits: u64, all: u64, chance: f64) -> bool {
    let (n, expected) = (all as f64, all as f64 * chance);
    all > 0 && (hits as f64 - expected).abs() <= 5.0 * (n * chance * (1.0 - chance)).sqrt()
}

/// Compares the host with what it was, and looks for the daemon's programs in the kernel.
fn nothing_left(before: &Snapshot, stage: &Stage, held: &BTreeSet<u64>) -> Result<()> {
    let differences = before.differences(&Snapshot::take(stage)?);
    ensure!(
        differences.is_empty(),
        "not as it was:\n{}",
        differences.join("\n")
    );
    println!("    ip -j link, tc -j qdisc      as before, in both namespaces and on this machine");
    // A program is freed a moment after its last link is gone.
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let Some(now) = kernel_programs()? else {
            println!("    BPF programs                 not looked at: no bpftool");
            return Ok(());
        };
        let left: Vec<_> = held.intersection(&now).collect();
        if left.is_empty() {
            println!(
                "    bpftool prog                 none of the daemon's {} programs",
                held.len()
            );
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "BPF programs are still loaded: {left:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_on_a_share_is_wide_enough_for_luck_and_too_narrow_for_error() {
        assert!(is_plausible(300, 1000, 0.3));
        assert!(is_plausible(350, 1000, 0.3));
        assert!(!is_plausible(400, 1000, 0.3));
        assert!(!is_plausible(0, 1000, 0.3));
        assert!(!is_plausible(0, 0, 0.3));
    }

    #[test]
    fn only_what_happened_is_told() {
        let fault = Fault {
            matched: 10,
            dropped: 3,
            ..Fault::default()
        };
        assert_eq!(counters(&fault), "10 packets matched, 3 dropped (30.0 %)");
        assert_eq!(counters(&Fault::default()), "0 packets matched");
    }
}
