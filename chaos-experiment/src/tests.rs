//! The whole of it against a service that does as it is told, and an injector that tells it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chaos_probe::{Direct, Net};
use chaos_spec::NetworkFault;
use chaos_spec::api::{ExperimentView, Outcome, Packets, Reason};
use chaos_spec::experiment::{RunSubmission, parse_run};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Barrier, watch};

use crate::{Conductor, Injector, Ledger, Look, Nets, Refusal, StopOrder, conduct};

/// A web server that can be slow, and can be wrong.
#[derive(Default)]
struct Service {
    delay_ms: AtomicU64,
    fails: AtomicBool,
    answered: AtomicU64,
}

async fn serve(service: Arc<Service>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let service = Arc::clone(&service);
            tokio::spawn(async move {
                let mut request = [0; 2048];
                let _ = stream.read(&mut request).await;
                tokio::time::sleep(Duration::from_millis(service.delay_ms.load(Ordering::SeqCst))).await;
                let status = if service.fails.load(Ordering::SeqCst) {
                    "500 Internal Server Error"
                } else {
                    "200 OK"
                };
                service.answered.fetch_add(1, Ordering::SeqCst);
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    port
}

/// What its faults do to the service.
#[derive(Clone, Copy, PartialEq)]
enum Harm {
    None,
    Slow(u64),
    Wrong,
    /// Stays when the fault has ended.
    Lasting,
}

struct Fake {
    service: Arc<Service>,
    harm: Harm,
    active: Mutex<HashMap<String, NetworkFault>>,
    log: Mutex<Vec<String>>,
    refuse: Option<Refusal>,
    /// The fault ends by itself.
    dies: AtomicBool,
    stuck: AtomicBool,
    /// No fault ends before so many are asked to.
    together: Barrier,
}

impl Fake {
    fn harm(&self, on: bool) {
        match self.harm {
            Harm::None => {}
            Harm::Slow(by) => self
                .service
                .delay_ms
                .store(if on { by } else { 0 }, Ordering::SeqCst),
            Harm::Wrong => self.service.fails.store(on, Ordering::SeqCst),
            Harm::Lasting => {
                if on {
                    self.service.fails.store(true, Ordering::SeqCst);
                }
            }
        }
    }
}

impl Injector for Fake {
    fn check(&self, faults: Vec<NetworkFault>) -> BoxFuture<'_, Result<(), Refusal>> {
        assert!(!faults.is_empty());
        Box::pin(async { self.refuse.clone().map_or(Ok(()), Err) })
    }

    fn apply(&self, fault: NetworkFault) -> BoxFuture<'_, Result<u64, Refusal>> {
        Box::pin(async move {
            let spec = &fault.spec;
            let flows = spec
                .traffic
                .flows
                .map_or_else(|| "100%".to_owned(), |it| it.to_string());
            let seed = spec.seed.unwrap();
            self.log.lock().unwrap().push(format!("{} {flows}", fault.name()));
            self.active.lock().unwrap().insert(fault.name().to_owned(), fault);
            self.harm(true);
            Ok(seed)
        })
    }

    fn end<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Packets>, String>> {
        Box::pin(async move {
            if self.stuck.load(Ordering::SeqCst) {
                return Err("the kernel says no".to_owned());
            }
            self.together.wait().await;
            self.log.lock().unwrap().push(format!("{name} ends"));
            self.active.lock().unwrap().remove(name);
            self.harm(false);
            let packets = Packets {
                matched: 7,
                ..Packets::default()
            };
            Ok(Some(packets))
        })
    }

    fn look<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Look, String>> {
        Box::pin(async move {
            if self.dies.load(Ordering::SeqCst) {
                return Ok(Look::Ended {
                    reason: Some(Reason::Health),
                    message: "its check failed".to_owned(),
                    packets: Packets::default(),
                });
            }
            Ok(match self.active.lock().unwrap().contains_key(name) {
                true => Look::Active(Packets::default()),
                false => Look::Unknown,
            })
        })
    }
}

struct Here;

impl Nets for Here {
    fn within(&self, _: Option<&str>) -> Arc<dyn Net> {
        Arc::new(Direct)
    }
}

const RUN: &str = r#"
apiVersion: chaos-daemon.dev/v1alpha1
kind: Experiment
metadata: {name: shop}
spec:
  hypothesis: The shop answers
  steadyState:
    - {name: shop, http: {url: "http://127.0.0.1:PORT/"}, every: 20ms, timeout: 900ms, EXPECT}
  baseline: {for: 200ms}
  method: [{fault: slow, ramp: [{flows: 10%, for: 200ms}, {flows: 100%, for: 300ms}]}]
  recovery: {within: 1s}
  EXTRA
---
apiVersion: chaos-daemon.dev/v1alpha1
kind: NetworkFault
metadata: {name: slow}
spec: {target: {host: true}, fault: {delay: {latency: 100ms}}, duration: 1m}
"#;

/// A run with all its people.
struct Bed {
    service: Arc<Service>,
    fake: Arc<Fake>,
    stop: watch::Sender<Option<StopOrder>>,
    conductor: Conductor,
}

async fn bed(harm: Harm, expect: &str, extra: &str) -> Bed {
    bed_of(RUN, 1, harm, expect, extra).await
}

async fn bed_of(run: &str, together: usize, harm: Harm, expect: &str, extra: &str) -> Bed {
    let service = Arc::new(Service::default());
    let port = serve(Arc::clone(&service)).await;
    let text = run
        .replace("PORT", &port.to_string())
        .replace("EXPECT", expect)
        .replace("EXTRA", extra);
    let run: RunSubmission = parse_run(&[("run.yaml".to_owned(), text.into_bytes())])
        .unwrap_or_else(|wrong| panic!("{wrong}"))
        .submission();
    let fake = Arc::new(Fake {
        service: Arc::clone(&service),
        harm,
        active: Mutex::default(),
        log: Mutex::default(),
        refuse: None,
        dies: AtomicBool::new(false),
        stuck: AtomicBool::new(false),
        together: Barrier::new(together),
    });
    let (stop, stopping) = watch::channel(None);
    let conductor = Conductor {
        ledger: Ledger::new("1".to_owned(), &run.experiment, "root".to_owned(), 42),
        run,
        injector: Arc::clone(&fake) as Arc<dyn Injector>,
        nets: Arc::new(Here),
        stop: stopping,
    };
    Bed {
        service,
        fake,
        stop,
        conductor,
    }
}

async fn outcome(harm: Harm, expect: &str, extra: &str) -> (ExperimentView, Bed2) {
    let bed = bed(harm, expect, extra).await;
    let view = conduct(bed.conductor).await;
    assert!(
        bed.fake.active.lock().unwrap().is_empty(),
        "nothing is left behind"
    );
    (
        view,
        Bed2 {
            fake: bed.fake,
            _stop: bed.stop,
        },
    )
}

struct Bed2 {
    fake: Arc<Fake>,
    _stop: watch::Sender<Option<StopOrder>>,
}

fn came_out(view: &ExperimentView) -> (Outcome, &str) {
    let status = &view.status;
    (status.outcome.unwrap(), status.message.as_deref().unwrap())
}

const SUCCESS: &str = "expect: {success: \">= 99%\", p95: \"<= 150ms\"}";

#[tokio::test]
async fn what_holds_is_held_by_all_that_was_seen() {
    let (view, bed) = outcome(Harm::Slow(20), SUCCESS, "").await;
    let (outcome, message) = came_out(&view);
    assert_eq!(outcome, Outcome::Held, "{message}");
    let log = bed.fake.log.lock().unwrap().clone();
    assert_eq!(log, ["shop-slow 10%", "shop-slow 100%", "shop-slow ends"]);
    let probe = &view.status.probes[0];
    assert!(
        probe.baseline.samples > 3 && probe.during.samples > 5,
        "{probe:?}"
    );
    assert!(probe.during.p50_ms.unwrap() >= 20.0, "{probe:?}");
    let fault = &view.status.faults[0];
    assert!(
        fault.gone && fault.packets.matched == 7 && fault.seed.is_some(),
        "{fault:?}"
    );
    assert!(view.status.recovery.as_ref().unwrap().took_ms.is_some());
    assert_eq!(view.status.steps.len(), 2);
    assert!(view.status.steps.iter().all(|step| step.ended_at.is_some()));
}

#[tokio::test]
async fn what_does_not_hold_is_refuted_and_says_why() {
    let (view, _) = outcome(Harm::Slow(300), SUCCESS, "").await;
    let (outcome, message) = came_out(&view);
    assert_eq!(outcome, Outcome::Refuted, "{message}");
    assert!(
        message.contains("p95") && message.contains("expected <= 150ms"),
        "{message}"
    );
    assert!(view.status.probes[0].deviation.is_some());
}

#[tokio::test]
async fn a_multiple_of_the_baseline_becomes_a_limit() {
    let (view, _) = outcome(Harm::Slow(300), "expect: {p50: \"<= 3x baseline\"}", "").await;
    let (outcome, message) = came_out(&view);
    assert_eq!(outcome, Outcome::Refuted, "{message}");
    assert!(
        view.status.probes[0].expect[0].starts_with("p50 <= "),
        "{:?}",
        view.status.probes
    );
}

#[tokio::test]
async fn answers_that_never_came_while_the_fault_acted_count() {
    // Each takes longer than the whole method: none is in when it is over.
    let (view, _) = outcome(Harm::Slow(5_000), "expect: {success: \">= 50%\"}", "").await;
    let (outcome, message) = came_out(&view);
    assert_eq!(outcome, Outcome::Refuted, "{message}");
}

#[tokio::test]
async fn three_failures_stop_it_at_once() {
    let (view, bed) = outcome(Harm::Wrong, "", "abort: {after: 3 failures}").await;
    let (outcome, message) = came_out(&view);
    assert_eq!(outcome, Outcome::Aborted, "{message}");
    assert!(message.contains("`shop` failed 3 times in a row"), "{message}");
    let abort = view.status.abort.as_ref().unwrap();
    assert_eq!(abort.probe.as_deref(), Some("shop"));
    assert!(abort.restored_ms.unwrap() < 100.0, "{abort:?}");
    assert_eq!(
        bed.fake.log.lock().unwrap().len(),
        2,
        "the second stage never came"
    );
}

#[tokio::test]
async fn an_error_budget_and_a_time_stop_it_too() {
    let (view, _) = outcome(
        Harm::Wrong,
        "expect: {success: \">= 1%\"}",
        "abort: {errorBudget: 10%}",
    )
    .await;
    assert!(
        came_out(&view).1.contains("error budget"),
        "{:?}",
        came_out(&view)
    );
    let (view, _) = outcome(Harm::Wrong, "", "abort: {within: 100ms}").await;
    assert_eq!(came_out(&view).0, Outcome::Aborted);
    assert!(
        came_out(&view).1.contains("was not well for 100ms"),
        "{:?}",
        came_out(&view)
    );
}

#[tokio::test]
async fn nothing_is_done_to_what_is_not_well() {
    let bed = bed(Harm::None, "", "").await;
    bed.service.fails.store(true, Ordering::SeqCst);
    let view = conduct(bed.conductor).await;
    let (outcome, message) = came_out(&view);
    assert_eq!(outcome, Outcome::NoSteadyState, "{message}");
    assert!(message.contains("HTTP status 500"), "{message}");
    assert!(bed.fake.log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_does_not_come_back_has_not_recovered() {
    let (view, _) = outcome(Harm::Lasting, "expect: {success: \">= 1%\"}", "").await;
    let (outcome, message) = came_out(&view);
    assert_eq!(outcome, Outcome::NotRecovered, "{message}");
    assert!(!view.status.recovery.as_ref().unwrap().lacking.is_empty());
}

#[tokio::test]
async fn a_refusal_by_policy_comes_before_everything() {
    let mut bed = bed(Harm::None, "", "").await;
    let fake = Fake {
        service: Arc::clone(&bed.service),
        harm: Harm::None,
        active: Mutex::default(),
        log: Mutex::default(),
        refuse: Some(Refusal::Policy("policy.yaml:3: flows above 50 %".to_owned())),
        dies: AtomicBool::new(false),
        stuck: AtomicBool::new(false),
        together: Barrier::new(1),
    };
    bed.conductor.injector = Arc::new(fake);
    let view = conduct(bed.conductor).await;
    assert_eq!(came_out(&view).0, Outcome::RefusedByPolicy);
    assert_eq!(bed.service.answered.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn whoever_stops_it_has_everything_undone() {
    let bed = bed(Harm::None, "", "").await;
    let fake = Arc::clone(&bed.fake);
    let stop = bed.stop;
    let stopper = tokio::spawn(async move {
        while fake.log.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        stop.send_replace(Some(StopOrder {
            by: "root".to_owned(),
        }));
        stop
    });
    let view = conduct(bed.conductor).await;
    assert_eq!(came_out(&view).0, Outcome::Interrupted);
    assert!(bed.fake.active.lock().unwrap().is_empty());
    drop(stopper.await.unwrap());
}

/// One that takes its time to end keeps none of the others.
#[tokio::test]
async fn faults_are_undone_side_by_side() {
    let (methods, faults) = RUN.split_once("---").unwrap();
    let ramp = "{fault: slow, ramp: [{flows: 10%, for: 200ms}, {flows: 100%, for: 300ms}]}";
    let both = "{parallel: [{fault: slow, for: 300ms}, {fault: slower, for: 300ms}]}";
    let run = [
        methods.replace(ramp, both),
        faults.to_owned(),
        faults.replace("name: slow", "name: slower"),
    ];
    let bed = bed_of(&run.join("---"), 2, Harm::None, "", "").await;
    let fake = Arc::clone(&bed.fake);
    let stop = bed.stop;
    let stopper = tokio::spawn(async move {
        while fake.active.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        stop.send_replace(Some(StopOrder {
            by: "root".to_owned(),
        }));
        stop
    });
    let view = tokio::time::timeout(Duration::from_secs(10), conduct(bed.conductor)).await;
    let view = view.expect("the first did not wait for the second");
    assert_eq!(came_out(&view).0, Outcome::Interrupted);
    assert!(bed.fake.active.lock().unwrap().is_empty());
    drop(stopper.await.unwrap());
}

#[tokio::test]
async fn a_fault_that_ends_by_itself_ends_the_run() {
    let bed = bed(Harm::None, "", "").await;
    bed.fake.dies.store(true, Ordering::SeqCst);
    let view = conduct(bed.conductor).await;
    let (outcome, message) = came_out(&view);
    assert_eq!(outcome, Outcome::Aborted);
    assert!(
        message.contains("ended before its time (Health): its check failed"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_cannot_be_ended_is_told() {
    let bed = bed(Harm::None, "", "").await;
    bed.fake.stuck.store(true, Ordering::SeqCst);
    let view = conduct(bed.conductor).await;
    let (outcome, message) = came_out(&view);
    assert_eq!(outcome, Outcome::RollbackIncomplete, "{message}");
    assert!(message.contains("the kernel says no"), "{message}");
}

#[tokio::test]
async fn one_seed_gives_every_fault_the_same_one_again() {
    let seed = |view: &ExperimentView| view.status.faults[0].seed.unwrap();
    let (one, _) = outcome(Harm::None, "", "").await;
    let (other, _) = outcome(Harm::None, "", "").await;
    assert_eq!(seed(&one), seed(&other));
}

#[tokio::test]
async fn a_ramp_of_targets_adds_one_after_the_other() {
    let mut bed = bed(Harm::None, "", "").await;
    let run = &mut bed.conductor.run;
    let mut second = run.faults[0].clone();
    second.metadata.name = "second".to_owned();
    run.faults.push(second);
    let stage = |targets: u32| serde_json::json!({"targets": targets, "for": "200ms", "flows": "100%"});
    run.experiment.spec.method = serde_json::from_value(serde_json::json!([
        {"faults": ["slow", "second"], "ramp": [stage(1), stage(2)]}
    ]))
    .unwrap();
    let view = conduct(bed.conductor).await;
    let (outcome, message) = came_out(&view);
    assert_eq!(outcome, Outcome::Held, "{message}");
    let begun = |name: &str| {
        let steps = view.status.steps.iter();
        let mut begun = steps.filter(|step| step.fault.as_deref() == Some(name));
        begun.next().unwrap().started_at
    };
    let later = begun("shop-second").duration_since(begun("shop-slow"));
    assert!(later.as_millis() >= 199, "{later}");
    assert!(view.status.faults.iter().all(|fault| fault.gone) && view.status.faults.len() == 2);
    assert!(bed.fake.active.lock().unwrap().is_empty());
}
