//! Faults that come, change and go under load, again and again: does anything grow, and do the counts add up?

use std::fs;
use std::time::{Duration, Instant};

use chaos_bench::{Better, Row, Target};
use chaos_tests::{FaultFile, Pair, Process, Skip, Ticker, eventually, require_program, require_tcx};
use serde_json::{Value, json};

use crate::paths::{Bed, middle};
use crate::run::Run;

/// Datagrams to this port meet a fault that stays; those to the next one meet faults that come and go.
const STAYING: u16 = 9001;
const PASSING: u16 = 9002;
const PACE: Duration = Duration::from_micros(500);
const SOON: Duration = Duration::from_secs(10);
/// Looks at what the daemon holds.
const LOOKS: u32 = 20;
/// In this share of the time everything has been used once: buffers have their size, memory has its pages.
const WARM: u32 = 4;

pub(crate) fn measure(run: &mut Run) -> Result<(), Skip> {
    require_tcx()?;
    require_program("iperf3")?;
    // A machine so busy that the daemon stands still for two seconds would end all faults, as it should.
    let bed = Bed::with(&["--lease", "10s"]);
    let other = Pair::new();
    let net = &bed.net;
    let staying = Ticker::start(&net.client, &net.server, net.server.at(STAYING), PACE);
    let passing = Ticker::start(&net.client, &net.server, net.server.at(PASSING), PACE);
    let length = length(run);
    let _streams = Streams::start(&bed, length);
    let mut churn = Churn {
        bed: &bed,
        other: &other,
        turns: 0,
        requests: 0,
        dropped: 0,
        duplicated: 0,
    };
    churn.apply(&[churn.udp("staying", STAYING, &json!({"drop": {"chance": "5%"}}))]);
    churn.turn();
    let (start, mut looks) = (Instant::now(), Vec::new());
    while start.elapsed() < length {
        let next = length / LOOKS * u32::try_from(looks.len() + 1).expect("a few");
        while start.elapsed() < next {
            churn.turn();
        }
        bed.calm();
        looks.push(Look::at(&bed));
    }
    let (staying, passing) = (staying.stop(), passing.stop());
    let counts = churn.delete("staying");
    let reason = &counts["status"]["reason"];
    assert_eq!(reason, "Deleted", "it was there all the time");
    report(run, &churn, &looks, length);
    // The first datagrams were sent before there was a fault.
    let lost = staying.sent.iter().filter(|(_, came)| !came).count() as f64;
    zero(
        run,
        "one fault all the time: packets dropped less packets that did not come",
        lost - counted(&counts, "dropped"),
        &format!("{lost} of {} did not come", staying.sent.len()),
    );
    let sent = passing.sent.len() as f64;
    let expected = sent - churn.dropped as f64 + churn.duplicated as f64;
    zero(
        run,
        "faults that come and go: packets sent, less those dropped, with copies, less those that came",
        expected - passing.came as f64,
        &format!(
            "{sent} sent, {} dropped and {} copied by {} faults",
            churn.dropped, churn.duplicated, churn.turns
        ),
    );
    Ok(())
}

fn length(run: &Run) -> Duration {
    let asked = std::env::var("CHAOS_SOAK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    Duration::from_secs(asked.unwrap_or(if run.is_quick() { 30 } else { 1800 }))
}

fn zero(run: &mut Run, name: &str, difference: f64, remark: &str) {
    run.row(
        Row::new(name, "packets", Better::Lower, "none", &[(difference.abs(), 0.0)])
            .target(Target::AtMost(0.0))
            .remark(remark),
    );
}

/// TCP that is hit by what comes and goes; it ends when it is dropped.
struct Streams {
    _client: Process,
    _server: Process,
}

impl Streams {
    fn start(bed: &Bed, length: Duration) -> Self {
        let server = &bed.net.server.netns;
        let serving = Process::spawn(server, None, &["iperf3", "-s"]).listens(server, 5201);
        let (to, time) = (
            bed.net.server.v4.to_string(),
            (length.as_secs() * 2 + 60).to_string(),
        );
        // At a rate that leaves the machine time for the rest.
        let argv = [
            "iperf3", "-c", &to, "-t", &time, "-b", "50M", "-P", "2", "-i", "0",
        ];
        Self {
            _client: Process::spawn(&bed.net.client.netns, None, &argv),
            _server: serving,
        }
    }
}

struct Churn<'a> {
    bed: &'a Bed,
    /// A namespace that is a target only now and then, so that programs and links come and go.
    other: &'a Pair,
    turns: usize,
    requests: u64,
    dropped: u64,
    duplicated: u64,
}

impl Churn<'_> {
    fn udp(&self, name: &str, port: u16, fault: &Value) -> FaultFile {
        let traffic = json!({"protocol": "udp", "remote": {"ports": [port]}});
        self.bed.fault(name, fault.clone()).traffic(traffic).lasting("3h")
    }

    fn tcp(&self, fault: &Value) -> FaultFile {
        let traffic = json!({"protocol": "tcp", "remote": {"ports": [5201]}});
        self.bed.fault("tcp", fault.clone()).traffic(traffic)
    }

    fn send(&mut self, method: &str, path: &str, body: &str) -> Value {
        self.requests += 1;
        let answer = self.bed.api.send(method, path, body);
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        serde_json::from_str(&answer.body).unwrap_or_default()
    }

    fn apply(&mut self, faults: &[FaultFile]) {
        let items: Vec<&Value> = faults.iter().map(FaultFile::value).collect();
        self.send("POST", "/v1/faults", &json!({"items": items}).to_string());
    }

    fn delete(&mut self, name: &str) -> Value {
        self.send("DELETE", &format!("/v1/faults/{name}"), "")
    }

    /// Faults of all kinds come, each is changed, and all go.
    fn turn(&mut self) {
        let passing = [
            [json!({"drop": {"chance": "10%"}}), json!({"drop": {"every": 5}})],
            [json!({"duplicate": {"chance": "20%"}}), json!({"partition": {}})],
            [
                json!({"drop": {"chance": "3%"}, "duplicate": {"chance": "5%"}}),
                json!({"drop": {"chance": "50%"}}),
            ],
        ];
        let tcp = [
            [
                json!({"delay": {"latency": "5ms", "jitter": "1ms"}}),
                json!({"delay": {"latency": "20ms"}}),
            ],
            [
                json!({"drop": {"chance": "1%"}}),
                json!({"corrupt": {"chance": "1%", "checksum": "leave"}}),
            ],
            [
                json!({"bandwidth": {"rate": "20mbit"}}),
                json!({"bandwidth": {"rate": "40mbit"}}),
            ],
            [
                json!({"reorder": {"chance": "5%"}, "delay": {"latency": "2ms"}}),
                json!({"drop": {"every": 100}}),
            ],
            [
                json!({"http": {"status": 503}}),
                json!({"reset": {"chance": "0%"}}),
            ],
        ];
        let passing = &passing[self.turns % passing.len()];
        let tcp = &tcp[self.turns % tcp.len()];
        let many: Vec<FaultFile> = (0..20)
            .map(|n| {
                let traffic =
                    json!({"protocol": "udp", "direction": "both", "remote": {"ports": [20_000 + n]}});
                FaultFile::on_netns(
                    &format!("many{n}"),
                    &self.other.client.netns,
                    json!({"partition": {}}),
                )
                .traffic(traffic)
            })
            .collect();
        self.apply(&[self.udp("passing", PASSING, &passing[0]), self.tcp(&tcp[0])]);
        self.apply(&many);
        self.seen("passing");
        self.apply(&[self.udp("passing", PASSING, &passing[1])]);
        self.apply(&[self.tcp(&tcp[1])]);
        for fault in &many {
            self.delete(fault.name());
        }
        self.delete("tcp");
        let counts = self.delete("passing");
        self.dropped += counted(&counts, "dropped") as u64;
        self.duplicated += counted(&counts, "duplicated") as u64;
        self.turns += 1;
    }

    /// Waits until a fault has met some packets.
    fn seen(&self, name: &str) {
        let path = format!("/v1/faults/{name}");
        eventually(SOON, "packets are matched", || {
            self.bed
                .api
                .try_get(&path)
                .is_some_and(|view| counted(&view, "matched") >= 10.0)
        });
    }
}

fn counted(view: &Value, counter: &str) -> f64 {
    view["status"]["packets"][counter]
        .as_f64()
        .unwrap_or_else(|| panic!("no counter {counter}: {view}"))
}

/// What the daemon and its host hold while only the staying fault is there.
struct Look {
    memory: f64,
    descriptors: usize,
    threads: usize,
    maps: usize,
    programs: usize,
    links: usize,
    devices: usize,
}

impl Look {
    fn at(bed: &Bed) -> Self {
        let proc = format!("/proc/{}", bed.daemon.pid());
        let status = fs::read_to_string(format!("{proc}/status")).expect("the daemon runs");
        let memory = status
            .lines()
            .find_map(|line| {
                line.strip_prefix("VmRSS:")?
                    .trim()
                    .strip_suffix(" kB")?
                    .parse::<f64>()
                    .ok()
            })
            .expect("a process has memory");
        let entries = |folder: &str| {
            fs::read_dir(format!("{proc}/{folder}"))
                .expect("the daemon runs")
                .count()
        };
        let objects = bed.daemon.bpf_objects();
        Self {
            memory: memory / 1024.0,
            descriptors: entries("fd"),
            threads: entries("task"),
            maps: objects.maps.len(),
            programs: objects.programs.len(),
            links: objects.links.len(),
            devices: bed.net.client.netns.ip("-o link show").lines().count(),
        }
    }
}

/// The later half of the looks, each beside the middle of the first ones after everything has been used once.
fn report(run: &mut Run, churn: &Churn<'_>, looks: &[Look], length: Duration) {
    let first = looks.len() / WARM as usize;
    let (start, end) = (&looks[first / 2..=first], &looks[looks.len() / 2..]);
    let remark = format!(
        "{} requests in {} s under two TCP streams and 4,000 datagrams a second",
        churn.requests,
        length.as_secs()
    );
    type Of = fn(&Look) -> f64;
    let things: [(&str, &str, Of); 7] = [
        ("resident memory", "MiB", |look| look.memory),
        ("file descriptors", "", |look| look.descriptors as f64),
        ("threads", "", |look| look.threads as f64),
        ("BPF maps", "", |look| look.maps as f64),
        ("BPF programs", "", |look| look.programs as f64),
        ("BPF links", "", |look| look.links as f64),
        ("devices of the target", "", |look| look.devices as f64),
    ];
    for (name, unit, of) in things {
        let start = middle(start.iter().map(of));
        let pairs: Vec<(f64, f64)> = end.iter().map(|look| (of(look), start)).collect();
        let target = match name {
            "resident memory" => Target::RatioAtMost(1.1),
            // Those that wait for work end when there is none for a while.
            "threads" => Target::OverAtMost(2.0),
            _ => Target::OverAtMost(0.0),
        };
        run.row(
            Row::new(name, unit, Better::Lower, "the first quarter", &pairs)
                .target(target)
                .remark(&*remark),
        );
    }
}
