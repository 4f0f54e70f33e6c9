//! The catalogue, entry by entry, on a real web server and a real name server: what should be seen is seen.

use chaos_tests::{need, require_program};
use serde_json::Value;

use crate::health::dnsmasq;
use crate::shop::Shop;

/// What makes an entry short, and strong enough to be seen within a second; those of these that it has are set.
fn values(shop: &Shop) -> Vec<(&'static str, String)> {
    let (server, netns) = (shop.net.server.v4, shop.net.client.netns.path());
    let netns = netns.display().to_string();
    let set = |name, value: &str| (name, value.to_owned());
    vec![
        set("target", &format!("netns={netns}")),
        set("netns", &netns),
        set("url", &format!("http://{server}:8080/")),
        set("queue", &format!("http://{server}:8080/")),
        set("orders", &format!("http://{server}:8080/")),
        set("primary", &format!("{server}:8080")),
        set("address", &server.to_string()),
        set("region", &server.to_string()),
        set("resolver", &format!("{server}:53")),
        set("name", "shop.test"),
        set("duration", "1s"),
        set("flows", "100%"),
        set("every", "25ms"),
        set("timeout", "1s"),
        set("patience", "900ms"),
        set("failures", "100000"),
        set("baseline", "300ms"),
        set("recovery", "10s"),
        set("latency", "60ms"),
        set("jitter", "20ms"),
        set("rest", "300ms"),
        set("times", "2"),
        set("chance", "30%"),
        set("p", "30%"),
        set("burst", "2kB"),
        set("rate", "64kbit"),
    ]
}

fn entries(shop: &Shop) -> Vec<Value> {
    let listed = shop.ctl.ok(&["catalog", "list", "-o", "json"]).stdout;
    serde_json::from_str(&listed).expect("it is JSON")
}

#[test]
fn every_entry_shows_what_it_says_and_leaves_nothing() {
    need!(require_program("nginx"));
    need!(require_program("dnsmasq"));
    let shop = Shop::new();
    let server = shop.net.server.v4.to_string();
    let (_dnsmasq, _hosts) = dnsmasq(&shop.net.server.netns, &server, &format!("{server} shop.test\n"));
    let values = values(&shop);
    for entry in entries(&shop) {
        let name = entry["metadata"]["name"].as_str().expect("it has a name");
        let parameters = entry["spec"]["parameters"]
            .as_object()
            .expect("it has parameters");
        let mut words = vec!["catalog".to_owned(), "start".to_owned(), name.to_owned()];
        let mut set = |name: &str, value: &str| words.extend(["--set".to_owned(), format!("{name}={value}")]);
        for (parameter, value) in values.iter().filter(|(name, _)| parameters.contains_key(*name)) {
            let value = match *parameter {
                // A median moves only when most are late.
                "chance" if name == "dns-slow-name" => "100%",
                // The first packet of a connection may be lost, and comes again after a second.
                "duration" if name.starts_with("link-") => "3s",
                _ => value,
            };
            set(parameter, value);
        }
        // Those of the web server, but for questions to a name server.
        if parameters.contains_key("ports") && !parameters.contains_key("resolver") {
            set("ports", "8080");
        }
        let output = shop.ctl.run(&words);
        println!("{output}");
        // The shop is as good as its network: what matters is that it is known what became of it.
        assert!([0, 10].contains(&output.code), "{name}: {output}");
        let seen = output.stdout.matches("\n  seen: ").count();
        let shown = entry["spec"]["signals"].as_array().expect("signals");
        let shown = shown.iter().filter(|signal| !signal["shows"].is_null()).count();
        assert!(
            seen == shown && !output.stdout.contains("not seen"),
            "{name}: {output}"
        );
        shop.assert_untouched();
    }
}

#[test]
fn what_is_printed_runs_and_what_is_missing_is_told() {
    need!(require_program("nginx"));
    let shop = Shop::new();
    let output = shop.ctl.run(&["catalog", "start", "flaky-los"]);
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("did you mean `flaky-loss`?"), "{output}");
    let output = shop
        .ctl
        .run(&["catalog", "start", "flaky-loss", "--set", "chance=a lot"]);
    assert_eq!(output.code, 2);
    for told in [
        "--set: chance: ",
        "`target` has to be given",
        "`url` has to be given",
    ] {
        assert!(output.stderr.contains(told), "{told}: {output}");
    }
    let values: Vec<String> = values(&shop)
        .into_iter()
        .filter(|(name, _)| ["target", "url", "netns", "every", "baseline", "flows"].contains(name))
        .flat_map(|(name, value)| ["--set".to_owned(), format!("{name}={value}")])
        .collect();
    let mut words: Vec<&str> = [
        "catalog",
        "start",
        "flaky-loss",
        "--duration",
        "500ms",
        "--as",
        "mine",
    ]
    .to_vec();
    words.extend(values.iter().map(String::as_str));
    words.push("--print");
    let printed = shop.ctl.ok(&words).stdout;
    assert!(
        shop.ctl
            .ok(&["get", "experiments", "-o", "name"])
            .stdout
            .is_empty()
    );
    let file = shop.folder.path().join("mine.yaml");
    std::fs::write(&file, printed).expect("writes");
    let (code, report) = shop.run(&file);
    assert_eq!(code, 0, "{report}");
    assert_eq!(report["metadata"]["name"], "mine");
}

#[test]
fn a_mission_runs_on_all_of_its_targets_and_not_outside_of_its_window() {
    need!(require_program("nginx"));
    let shop = Shop::new();
    let (client, server) = (shop.net.client.netns.path(), shop.net.server.netns.path());
    let url = format!("http://{}/", shop.net.server.at(8080));
    let mission = |window: &str| {
        let text = format!(
            "apiVersion: chaos-daemon.dev/v1alpha1\n\
             kind: Mission\n\
             metadata: {{name: both-ends}}\n\
             spec:\n\
             \x20 entry: dependency-slow\n\
             \x20 targets: [{{netns: {}}}, \"netns={}\"]\n\
             \x20 set: {{url: \"{url}\", netns: {}, ports: [8080, 1024-65535], flows: 100%, latency: 20ms, every: 50ms, baseline: 300ms}}\n\
             \x20 duration: 1s\n\
             \x20 {window}\n",
            client.display(),
            server.display(),
            client.display(),
        );
        let file = shop.folder.path().join("mission.yaml");
        std::fs::write(&file, text).expect("writes");
        file
    };
    // Never open: from midnight to midnight of a day that is not today.
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).weekday();
    let other = days[(today.to_monday_zero_offset() as usize + 3) % 7];
    let closed = mission(&format!("windows: [{{days: [{other}]}}]"));
    let output = shop.ctl.run(&["run", &closed.display().to_string()]);
    assert_eq!(output.code, 14, "{output}");
    assert!(
        output.stderr.contains("the mission both-ends may begin"),
        "{output}"
    );
    let (code, report) = shop.run(&mission(""));
    assert_eq!(code, 0, "{report}");
    let faults = report["status"]["faults"].as_array().expect("faults");
    let delayed = |fault: &Value| fault["packets"]["delayed"].as_u64() > Some(5);
    assert!(faults.len() == 2 && faults.iter().all(delayed), "{report}");
    shop.assert_untouched();
}
