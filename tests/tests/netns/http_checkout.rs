//! The question that everybody asks first: if the payment provider answers 503 to more than 30 % of the requests, does
//! checkout switch to its queue and lose no order? Asked of a real checkout that is right, and of two that are wrong.

use std::collections::BTreeSet;

use chaos_tests::{Process, binomial_999, eventually, helper_binary, is_emulated, need, require_program};
use serde_json::Value;
use tempfile::TempDir;

use crate::http::{LATE, PORT, Site};

/// Where checkout listens, in the client's namespace.
const CHECKOUT: &str = "127.0.0.1:9000";

/// A checkout that charges the web server, and what became of its orders.
struct Checkout {
    _process: Process,
    folder: TempDir,
    site: Site,
}

impl Checkout {
    /// `on_failure`: `queue` is right; `forget` and `fail` are wrong.
    fn new(on_failure: &str) -> Self {
        let site = Site::new();
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let program = helper_binary("chaos-checkout");
        let argv = [
            program.display().to_string(),
            CHECKOUT.to_owned(),
            site.net.server.at(PORT).to_string(),
            folder.path().display().to_string(),
            on_failure.to_owned(),
        ];
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let netns = &site.net.client.netns;
        Self {
            _process: Process::spawn(netns, None, &argv).listens(netns, 9000),
            folder,
            site,
        }
    }

    /// Numbers of the orders that are `accepted`, in the `queue`, or `paid`.
    fn orders(&self, what: &str) -> BTreeSet<u64> {
        std::fs::read_dir(self.folder.path().join(what))
            .expect("checkout has made it")
            .map(|entry| {
                let name = entry.expect("readable").file_name();
                name.to_str()
                    .and_then(|name| name.parse().ok())
                    .expect("a number")
            })
            .collect()
    }

    /// Numbers of the orders that the provider was paid for, as often as it was.
    fn charged(&self) -> Vec<u64> {
        let seen = self.site.web.seen();
        seen.iter()
            .map(|seen| seen.uri["/pay/".len()..].parse().expect("a number"))
            .collect()
    }

    /// The question as it stands in the catalogue, printed, so that `change` may change it; asked. The exit code, and the
    /// report.
    #[track_caller]
    fn ask(&self, change: impl FnOnce(String) -> String) -> (i32, Value) {
        let netns = self.site.net.client.netns.path().display().to_string();
        let url = |name: &str, path: &str| format!("{name}=http://{CHECKOUT}{path}");
        let set = [
            format!("target=netns={netns}"),
            format!("netns={netns}"),
            format!("address={}", self.site.net.server.v4),
            format!("ports={PORT}"),
            "path=/pay/*".to_owned(),
            "chance=50%".to_owned(),
            url("url", "/checkout"),
            url("queue", "/queueing"),
            url("orders", "/orders/complete"),
            "every=10ms".to_owned(),
            "duration=5s".to_owned(),
            "baseline=1s".to_owned(),
            "recovery=5s".to_owned(),
            // What is wrong is to be seen to the end.
            "failures=100000".to_owned(),
        ];
        let mut words = vec!["catalog", "start", "errors-payment-queue", "--print"];
        for value in &set {
            words.extend(["--set", value]);
        }
        let printed = self.site.ctl.ok(&words).stdout;
        let (file, reports) = (
            self.folder.path().join("run.yaml"),
            self.folder.path().join("report"),
        );
        let seeded = printed.replacen("  steadyState:", "  seed: 1\n  steadyState:", 1);
        std::fs::write(&file, change(seeded)).expect("writes");
        let (file, at) = (file.display().to_string(), reports.display().to_string());
        let output = self.site.ctl.run(&["run", &file, "--report", &at]);
        println!("{output}");
        let text = std::fs::read_to_string(reports.join("report.json")).expect("there is a report");
        (output.code, serde_json::from_str(&text).expect("it is JSON"))
    }

    /// More than 30 % of the requests were answered: the question was really asked.
    #[track_caller]
    fn assert_asked(report: &Value) {
        let packets = &report["status"]["faults"][0]["packets"];
        let count = |name: &str| packets[name].as_u64().unwrap_or_default();
        let (matched, answered) = (count("matched"), count("answered"));
        let least = if is_emulated() { 50 } else { 200 };
        assert!(matched >= least, "{packets}");
        let (bounds, seed) = (binomial_999(matched, 0.5), &report["status"]["faults"][0]["seed"]);
        assert!(
            bounds.contains(&answered),
            "seed {seed}: {answered} of {matched}, not within {bounds:?}"
        );
        assert!(10 * answered > 3 * matched, "more than 30 %: {packets}");
    }
}

#[test]
fn a_checkout_that_queues_holds_and_every_order_is_paid_once() {
    need!(require_program("nginx"));
    let checkout = Checkout::new("queue");
    let (code, report) = checkout.ask(|text| text);
    assert_eq!((code, outcome(&report)), (0, "Held"));
    Checkout::assert_asked(&report);
    // Nobody orders any more, and the provider takes all: the queue comes to its end.
    eventually(LATE, "the queue is empty", || checkout.orders("queue").is_empty());
    let (accepted, paid) = (checkout.orders("accepted"), checkout.orders("paid"));
    assert!(accepted.len() > 300, "{}", accepted.len());
    assert_eq!(accepted, paid, "no order is lost");
    eventually(LATE, "the provider has written all down", || {
        checkout.charged().len() >= paid.len()
    });
    let charged = checkout.charged();
    assert_eq!(charged.len(), paid.len(), "nobody is charged twice");
    // Some had to wait: they were paid after later ones.
    assert!(!charged.is_sorted(), "the queue was used");
    assert_eq!(charged.into_iter().collect::<BTreeSet<_>>(), paid);
}

/// Its customers notice nothing: only who counts the orders does.
#[test]
fn a_checkout_that_forgets_orders_is_refuted() {
    need!(require_program("nginx"));
    let checkout = Checkout::new("forget");
    let lost = || {
        let (accepted, paid) = (checkout.orders("accepted"), checkout.orders("paid"));
        accepted.difference(&paid).count()
    };
    // What is lost stays lost; here it counts as long as the fault acts, or the shop would not have recovered, either.
    let (code, report) = checkout.ask(|text| {
        let changed = text.replace("name: orders", "name: orders\n    mode: onFault");
        assert_ne!(changed, text, "there is a probe of the orders");
        changed
    });
    assert_eq!((code, outcome(&report)), (10, "Refuted"));
    Checkout::assert_asked(&report);
    assert_eq!(deviating(&report), ["orders"]);
    assert!(lost() > 0, "orders were lost");
}

/// As it stands in the catalogue, the worse of two verdicts: refuted, and lost for good.
#[test]
fn lost_orders_are_no_recovery() {
    need!(require_program("nginx"));
    let checkout = Checkout::new("forget");
    let (code, report) = checkout.ask(|text| text);
    assert_eq!((code, outcome(&report)), (15, "NotRecovered"));
    assert!(deviating(&report).contains(&"orders"));
}

#[test]
fn a_checkout_that_sends_customers_away_is_refuted() {
    need!(require_program("nginx"));
    let checkout = Checkout::new("fail");
    let (code, report) = checkout.ask(|text| text);
    assert_eq!((code, outcome(&report)), (10, "Refuted"));
    Checkout::assert_asked(&report);
    assert_eq!(checkout.orders("accepted"), checkout.orders("paid"));
    assert_eq!(deviating(&report), ["checkout", "queue"]);
}

fn outcome(report: &Value) -> &str {
    report["status"]["outcome"].as_str().unwrap_or_default()
}

/// Names of the probes that did not find what they should.
fn deviating(report: &Value) -> Vec<&str> {
    let probes = report["status"]["probes"].as_array().expect("probes");
    probes
        .iter()
        .filter(|probe| !probe["deviation"].is_null())
        .filter_map(|probe| probe["name"].as_str())
        .collect()
}
