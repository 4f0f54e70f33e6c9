//! What ends a fault, each with its trial.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chaos_tests::workload::Handle;
use chaos_tests::{eventually, eventually_some, monotonic_nanos};
use serde_json::json;

use super::bed::{Bed, NAME, Trial, judge};

/// A safety net.
pub(crate) struct Net {
    pub(crate) name: &'static str,
    /// From when the time counts.
    pub(crate) trigger: &'static str,
    /// Longest time, in milliseconds.
    pub(crate) bound: f64,
    pub(crate) trial: fn(&mut Bed, Handle) -> Trial,
}

/// The client's pace is a millisecond, so a time below two cannot be told from none.
pub(crate) const NETS: [Net; 7] = [
    Net {
        name: "delete",
        trigger: "before the request is sent",
        bound: 100.0,
        trial: delete,
    },
    Net {
        name: "halt",
        trigger: "before the request is sent",
        bound: 100.0,
        trial: halt,
    },
    Net {
        name: "deadline",
        trigger: "`endsAt`",
        bound: 10.0,
        trial: deadline,
    },
    Net {
        name: "health",
        trigger: "before the third bad answer is sent",
        bound: 50.0,
        trial: health,
    },
    Net {
        name: "budget",
        trigger: "the last packet of 50",
        bound: 2.0,
        trial: budget,
    },
    Net {
        name: "link",
        trigger: "before SIGKILL is sent",
        bound: 20.0,
        trial: link,
    },
    Net {
        name: "lease",
        trigger: "the process stands still after SIGSTOP; a lease of 2 s",
        bound: 2050.0,
        trial: lease,
    },
];

const SOON: Duration = Duration::from_secs(10);

fn delete(bed: &mut Bed, probe: Handle) -> Trial {
    bed.cut(probe, bed.fault());
    let trigger = monotonic_nanos();
    let answer = bed.api.send("DELETE", &format!("/v1/faults/{NAME}"), "");
    assert_eq!(answer.status, 200, "{answer:?}");
    bed.since(probe, trigger)
}

fn halt(bed: &mut Bed, probe: Handle) -> Trial {
    bed.cut(probe, bed.fault());
    let trigger = monotonic_nanos();
    let answer = bed.api.send("POST", "/v1/halt", "");
    assert_eq!(answer.status, 200, "{answer:?}");
    let trial = bed.since(probe, trigger);
    let answer = bed.api.send("DELETE", "/v1/halt", "");
    assert_eq!(answer.status, 200, "{answer:?}");
    trial
}

fn deadline(bed: &mut Bed, probe: Handle) -> Trial {
    bed.cut(probe, bed.fault().lasting("500ms"));
    let ends: jiff::Timestamp = bed.status()["endsAt"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a running fault has an end");
    let left = ends.duration_since(jiff::Timestamp::now()).as_nanos();
    let now = i128::from(monotonic_nanos());
    bed.since(probe, u64::try_from(now + left).expect("after the boot"))
}

/// Ends when the fault has had its packets; that they were neither more nor fewer is checked as well.
fn budget(bed: &mut Bed, probe: Handle) -> Trial {
    const PACKETS: usize = 50;
    bed.apply(probe, bed.fault().max_packets(PACKETS as u64));
    eventually(SOON, "the client is cut off", || {
        bed.report(probe)
            .last_lost(monotonic_nanos() - 50_000_000)
            .is_some()
    });
    let report = bed.whole(probe, 0);
    let last = report
        .last_lost(report.now - 50_000_000)
        .expect("the client was cut off");
    let lost = report.between(0, last + 1);
    let lost = lost.iter().filter(|sample| sample.answered.is_none()).count();
    assert_eq!(lost, PACKETS, "to the packet");
    judge(&report, last)
}

fn link(bed: &mut Bed, probe: Handle) -> Trial {
    bed.cut(probe, bed.fault());
    let trigger = bed.daemon.sigkill();
    let trial = bed.since(probe, trigger);
    bed.daemon.start_again();
    trial
}

fn lease(bed: &mut Bed, probe: Handle) -> Trial {
    bed.cut(probe, bed.fault());
    let trigger = bed.daemon.sigstop();
    let trial = bed.since(probe, trigger);
    bed.daemon.sigcont();
    eventually(SOON, "it ends what the lease ended", || {
        bed.status()["reason"] == "Lease"
    });
    trial
}

/// A service that says it is not well, and when it said so.
struct Service {
    ill: AtomicBool,
    over: AtomicBool,
    bad: Mutex<Vec<u64>>,
}

impl Service {
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let word = if self.ill.load(Ordering::SeqCst) {
            self.bad
                .lock()
                .expect("nobody panics holding it")
                .push(monotonic_nanos());
            "500 Internal Server Error"
        } else {
            "200 OK"
        };
        write!(
            stream,
            "HTTP/1.1 {word}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    }
}

fn health(bed: &mut Bed, probe: Handle) -> Trial {
    const THRESHOLD: usize = 3;
    let listener = bed
        .daemon
        .netns()
        .enter(|| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    let at = listener.local_addr().expect("it has an address");
    let service = Arc::new(Service {
        ill: AtomicBool::new(false),
        over: AtomicBool::new(false),
        bad: Mutex::default(),
    });
    let shared = Arc::clone(&service);
    let served = std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if shared.over.load(Ordering::SeqCst) {
                return;
            }
            // Whoever hangs up early has its reasons.
            let _ = shared.answer(stream);
        }
    });
    let check = json!({
        "http": {"url": format!("http://{at}/")},
        "interval": "100ms", "timeout": "90ms", "failureThreshold": THRESHOLD,
    });
    bed.cut(
        probe,
        bed.fault().set("/spec", "safety", json!({"health": [check]})),
    );
    service.ill.store(true, Ordering::SeqCst);
    let trigger = eventually_some(SOON, "the check fails three times", || {
        let bad = service.bad.lock().expect("nobody panics holding it");
        bad.get(THRESHOLD - 1).copied()
    });
    let trial = bed.since(probe, trigger);
    assert_eq!(bed.status()["reason"], "Health");
    service.over.store(true, Ordering::SeqCst);
    // Wakes the thread, which then ends.
    let woken = bed.daemon.netns().enter(|| TcpStream::connect(at));
    drop(woken);
    let _ = served.join();
    trial
}
