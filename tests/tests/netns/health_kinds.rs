//! Health checks of the kinds that ask real servers: DNS, gRPC, Prometheus.

use std::time::Duration;

use chaos_tests::{Daemon, FaultFile, Netns, Pair, Process, eventually, need, require_program};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::bed::SOON;
use crate::health::{Web, WithHealth as _, dnsmasq, health};

#[test]
fn a_name_that_is_gone_ends_the_fault() {
    need!(require_program("dnsmasq"));
    let net = Pair::new();
    let (names, file) = dnsmasq(&net.client.netns, "127.0.0.1", "10.77.0.9 db.example.test\n");
    let daemon = Daemon::builder().netns(&net.client.netns).start();
    let ctl = daemon.ctl();
    let fault = FaultFile::on_netns("lossy", &net.client.netns, json!({"drop": {"chance": "1%"}}));
    let check = json!({"dns": {"name": "db.example.test", "server": "127.0.0.1", "answers": ["10.77.0.9"]}, "interval": "50ms"});
    ctl.apply(&[fault.health(json!([check]))]);
    std::fs::write(file.path(), "10.77.0.8 db.example.test\n").expect("writes");
    names.signal(Signal::SIGHUP);
    let view = ctl.wait_for_phase("lossy", "Ended");
    assert_eq!(view.reason(), "Health");
    assert!(
        view.0["status"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("does not have `10.77.0.9`"))
    );
}

/// etcd answers the gRPC health protocol.
#[test]
fn a_grpc_server_that_dies_ends_the_fault() {
    need!(require_program("etcd"));
    let net = Pair::new();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let data = folder.path().join("etcd").display().to_string();
    let mut argv = vec!["etcd", "--data-dir", &data];
    for (flag, url) in [
        ("--listen-client-urls", "http://127.0.0.1:2379"),
        ("--advertise-client-urls", "http://127.0.0.1:2379"),
        ("--listen-peer-urls", "http://127.0.0.1:2380"),
        ("--initial-advertise-peer-urls", "http://127.0.0.1:2380"),
        ("--initial-cluster", "default=http://127.0.0.1:2380"),
    ] {
        argv.extend([flag, url]);
    }
    let etcd = Process::spawn(&net.client.netns, None, &argv).listens(&net.client.netns, 2379);
    let daemon = Daemon::builder().netns(&net.client.netns).start();
    let ctl = daemon.ctl();
    let lossy = |name: &str| FaultFile::on_netns(name, &net.client.netns, json!({"drop": {"chance": "1%"}}));
    let grpc = |service: &str| json!({"grpc": {"address": "127.0.0.1:2379", "service": service}, "interval": "50ms"});
    // It listens at once, but answers nobody before it has elected itself and written that to the disk.
    eventually(Duration::from_secs(30), "etcd serves", || {
        ctl.try_apply(&[lossy("lossy").health(json!([grpc("")]))]).code == 0
    });
    let unknown = ctl.try_apply(&[lossy("unknown").health(json!([grpc("shop.Orders")]))]);
    assert_eq!(unknown.code, 12, "{unknown}");
    assert!(
        unknown.stderr.contains("the service is not known to the server"),
        "{unknown}"
    );
    eventually(SOON, "samples", || {
        health(&ctl.fault("lossy"), 0)["samples"].as_u64() > Some(5)
    });
    assert_eq!(ctl.fault("lossy").phase(), "Active");
    etcd.signal(Signal::SIGSTOP);
    let view = ctl.wait_for_phase("lossy", "Ended");
    etcd.signal(Signal::SIGCONT);
    assert_eq!(view.reason(), "Health");
    let said = health(&view, 0)["message"].as_str().unwrap_or_default();
    assert!(said.contains("no answer within 500ms"), "{said}");
}

/// A real Prometheus that scrapes `/metrics` of these, twice a second, and whose alert `ShopErrors` fires above five
/// errors. It listens on 127.0.0.1:9090.
pub(crate) fn prometheus(netns: &Netns, web: &Web, targets: &[&str]) -> Process {
    let (conf, rules) = (web.file("prometheus.yml"), web.file("rules.yml"));
    std::fs::write(
        &rules,
        "groups: [{name: shop, rules: [{alert: ShopErrors, expr: max(shop_errors) > 5}]}]\n",
    )
    .expect("writes");
    let text = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}\n\
         rule_files: ['{}']\n\
         scrape_configs: [{{job_name: shop, static_configs: [{{targets: {targets:?}}}]}}]\n",
        rules.display()
    );
    std::fs::write(&conf, text).expect("writes");
    let flags = [
        format!("--config.file={}", conf.display()),
        format!("--storage.tsdb.path={}", web.file("tsdb").display()),
        "--web.listen-address=127.0.0.1:9090".to_owned(),
    ];
    let argv: Vec<&str> = std::iter::once("prometheus")
        .chain(flags.iter().map(String::as_str))
        .collect();
    Process::spawn(netns, None, &argv).listens(netns, 9090)
}

/// Prometheus scrapes a page of nginx.
#[test]
fn a_query_over_its_threshold_ends_the_fault() {
    need!(require_program("nginx"));
    need!(require_program("prometheus"));
    let net = Pair::new();
    let web = Web::start(&net.client.netns, 8080, "127.0.0.1:1");
    web.errors(1);
    let _prometheus = prometheus(&net.client.netns, &web, &["127.0.0.1:8080", "localhost:8080"]);
    let daemon = Daemon::builder().netns(&net.client.netns).start();
    let ctl = daemon.ctl();
    let lossy = |query: &str| {
        let check = json!({"prometheus": {"url": "http://127.0.0.1:9090", "query": query}, "expect": "<= 5", "interval": "100ms"});
        FaultFile::on_netns("lossy", &net.client.netns, json!({"drop": {"chance": "1%"}}))
            .health(json!([check]))
    };
    eventually(Duration::from_secs(20), "Prometheus has scraped both", || {
        let output = ctl.try_apply(&[lossy("shop_errors")]);
        if output.code == 0 {
            // One of them.
            ctl.delete("lossy");
        }
        output.stderr.contains("2 series")
    });
    for (query, expected) in [
        ("shop_errors", "2 series"),
        ("nothing_of_that_name", "no series"),
        ("vector(0) / 0", "NaN"),
        ("vector(6)", "the value is 6, expected <= 5"),
        ("sum(", "the query failed"),
        ("shop_errors[1m]", "a range of values"),
    ] {
        let output = ctl.try_apply(&[lossy(query)]);
        assert_eq!(output.code, 12, "{query}: {output}");
        assert!(output.stderr.contains(expected), "{query}: {output}");
    }
    ctl.apply(&[lossy("max(shop_errors)")]);
    assert_eq!(health(&ctl.fault("lossy"), 0)["last"][0]["value"], 1.0);
    web.errors(9);
    let view = ctl.wait_for_phase("lossy", "Ended");
    assert_eq!(view.reason(), "Health");
    let said = view.0["status"]["message"].as_str().unwrap_or_default();
    assert!(said.contains("the value is 9, expected <= 5"), "{said}");
}
