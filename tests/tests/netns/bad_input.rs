//! What is wrong is refused with place, reason and remedy; nothing is attached and nothing changes.

use chaos_tests::{Api, FaultFile, Output};
use serde_json::json;

use crate::bed::Bed;

/// Refused as a mistake of the user's, in words that name it, and without any effect.
fn assert_refused(bed: &Bed, what: &str, output: &Output, words: &[&str]) {
    assert_eq!(output.code, 2, "{what}: {output}");
    for word in words {
        assert!(output.stderr.contains(word), "{what}: no `{word}` in: {output}");
    }
    assert!(bed.ctl.faults().is_empty(), "{what}");
    bed.assert_untouched();
}

#[test]
fn every_mistake_in_a_file_is_named_with_its_place() {
    let bed = Bed::new();
    let netns = bed.net.client.netns.path().display().to_string();
    let file = |target: &str, rest: &str| {
        format!(
            "apiVersion: chaos-daemon.dev/v1alpha1\nkind: NetworkFault\nmetadata:\n  name: wrong\nspec:\n  \
             target: {target}\n{rest}"
        )
    };
    let netns = format!("{{netns: {netns}}}");
    let fine = "  fault:\n    drop: {chance: 10%}\n  duration: 10s\n";
    let cases = [
        (
            "unknown field",
            file(&netns, "  fault:\n    drop: {chanse: 10%}\n  duration: 10s\n"),
            vec!["chanse", ":8", "chance"],
        ),
        (
            "unknown fault",
            file(&netns, "  fault:\n    dorp: {chance: 10%}\n  duration: 10s\n"),
            vec!["dorp", ":8", "drop"],
        ),
        (
            "130 %",
            file(&netns, "  fault:\n    drop: {chance: 130%}\n  duration: 10s\n"),
            vec!["130%", ":8", "100%"],
        ),
        (
            "no unit",
            file(&netns, "  fault:\n    drop: {chance: 10%}\n  duration: 10\n"),
            vec!["10", ":9", "10s"],
        ),
        (
            "no percent sign",
            file(&netns, "  fault:\n    drop: {chance: 10}\n  duration: 10s\n"),
            vec!["10%", ":8"],
        ),
        (
            "wrong unit",
            file(
                &netns,
                "  fault:\n    drop: {chance: 10%}\n  duration: 10 parsecs\n",
            ),
            vec!["parsecs", ":9"],
        ),
        (
            "no duration",
            file(&netns, "  fault:\n    drop: {chance: 10%}\n"),
            vec!["duration"],
        ),
        ("no target", file("{}", fine), vec!["target", ":6", "netns"]),
        (
            "two targets",
            file("{cgroup: /a, pid: 1}", fine),
            vec!["cgroup", "pid", ":6"],
        ),
        (
            "no fault",
            file(&netns, "  fault: {}\n  duration: 10s\n"),
            vec!["fault"],
        ),
        (
            "port 70000",
            file(
                &netns,
                &format!("  traffic:\n    remote: {{ports: [70000]}}\n{fine}"),
            ),
            vec!["70000", ":8", "65535"],
        ),
        (
            "a range backwards",
            file(
                &netns,
                &format!("  traffic:\n    remote: {{ports: [20-10]}}\n{fine}"),
            ),
            vec!["20-10", ":8"],
        ),
        (
            "no prefix",
            file(
                &netns,
                &format!("  traffic:\n    remote: {{cidrs: [10.0.0.0/40]}}\n{fine}"),
            ),
            vec!["10.0.0.0/40", ":8"],
        ),
        (
            "a fault of later",
            file(&netns, "  fault:\n    delay: {latency: 2h}\n  duration: 10s\n"),
            vec!["delay", ":8"],
        ),
        ("not YAML", "spec: [1, 2\n".to_owned(), vec![":1"]),
        ("nothing", String::new(), vec![]),
        (
            "another kind",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {}\n".to_owned(),
            vec!["Pod", "NetworkFault"],
        ),
        (
            "a cgroup that is not there",
            file("{cgroup: /chaos-t-nowhere}", fine),
            vec!["/chaos-t-nowhere"],
        ),
        (
            "a namespace that is not there",
            file("{netns: chaos-t-nowhere}", fine),
            vec!["chaos-t-nowhere"],
        ),
        (
            "a process that is not there",
            file("{pid: 4194304}", fine),
            vec!["4194304"],
        ),
        (
            "a container that is not there",
            file("{container: chaos-t-nowhere}", fine),
            vec!["chaos-t-nowhere"],
        ),
        (
            "an interface that is not there",
            file(&netns.replace('}', ", interfaces: [nope0]}"), fine),
            vec!["nope0", "c0"],
        ),
    ];
    for (what, text, words) in cases {
        let output = bed.ctl.apply_text(&text);
        let mut words = words;
        if !words.is_empty() {
            words.push(".yaml");
        }
        assert_refused(&bed, what, &output, &words);
    }
    assert!(bed.reaches(bed.net.server.at(9000)));
}

#[test]
fn flags_and_files_that_cannot_be_right_are_usage_errors() {
    let bed = Bed::new();
    let netns = bed.net.client.netns.name();
    let refused =
        |args: &[&str], words: &[&str]| assert_refused(&bed, &args.join(" "), &bed.ctl.run(args), words);
    refused(
        &["inject", "drop", "130%", "--netns", netns, "--for", "5s"],
        &["130%"],
    );
    refused(
        &["inject", "drop", "30", "--netns", netns, "--for", "5s"],
        &["30%"],
    );
    refused(&["inject", "drop", "30%", "--netns", netns], &["--for"]);
    refused(&["inject", "drop", "30%", "--for", "5s"], &["--netns"]);
    refused(
        &["inject", "drop", "30%", "--netns", netns, "--for", "5"],
        &["5s"],
    );
    refused(
        &[
            "inject",
            "drop",
            "30%",
            "--netns",
            netns,
            "--for",
            "5s",
            "--remote-port",
            "70000",
        ],
        &["70000"],
    );
    refused(
        &[
            "inject",
            "drop",
            "30%",
            "--netns",
            netns,
            "--for",
            "5s",
            "--direction",
            "up",
        ],
        &["egress"],
    );
    refused(
        &["inject", "dropp", "30%", "--netns", netns, "--for", "5s"],
        &["drop"],
    );
    refused(
        &["apply", "-f", "/nonexistent/fault.yaml"],
        &["/nonexistent/fault.yaml"],
    );
    refused(&["apply", "-f", "/proc/self/mem"], &["/proc/self/mem"]);
    refused(&["delete", "nobody"], &["nobody"]);
    refused(&["get", "faults", "nobody"], &["nobody"]);
}

#[test]
fn the_socket_refuses_what_is_too_large_cut_short_or_senseless() {
    let bed = Bed::new();
    let api = Api::of(&bed.daemon);
    let good = bed.on_client("good", json!({"partition": {}}));
    let sixty_four_mb = format!(
        "{{\"items\": [{good}], \"padding\": \"{}\"}}",
        "x".repeat(64 << 20)
    );
    assert_eq!(api.send("POST", "/v1/faults", &sixty_four_mb).status, 413);
    let body = good.to_string();
    let head = format!(
        "POST /v1/faults HTTP/1.1\r\nHost: chaos\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let short = api.send_raw(&[head.as_bytes(), &body.as_bytes()[..body.len() / 2]], false);
    // A client that died mid-sentence may not even hear the answer.
    assert!([0, 400].contains(&short.status), "{short:?}");
    let answers = [
        (api.send("POST", "/v1/faults", &body[..body.len() / 2]), vec![400]),
        (api.send("POST", "/v1/faults", "[]"), vec![400, 422]),
        (api.send("POST", "/v1/faults", ""), vec![400, 422]),
        (
            api.send(
                "POST",
                "/v1/faults",
                &good
                    .clone()
                    .fault(json!({"drop": {"chance": "130%"}}))
                    .to_string(),
            ),
            vec![422],
        ),
        (
            api.send(
                "POST",
                "/v1/faults",
                &good.clone().set("/spec", "tarhet", json!(1)).to_string(),
            ),
            vec![422],
        ),
        (api.send("POST", "/v1/faults", &"[".repeat(1 << 20)), vec![400]),
        (api.send("GET", "/v1/nothing", ""), vec![404]),
        (api.send("GET", "/v1/faults/nobody", ""), vec![404]),
        (api.send("DELETE", "/v1/faults/nobody", ""), vec![404]),
        (api.send("PATCH", "/v1/faults", ""), vec![405]),
    ];
    for (answer, want) in &answers {
        assert!(want.contains(&answer.status), "wanted {want:?}: {answer:?}");
        let problem: serde_json::Value =
            serde_json::from_str(&answer.body).unwrap_or_else(|e| panic!("{e}: {answer:?}"));
        assert_eq!(problem["status"], answer.status, "{answer:?}");
        assert!(
            problem["title"].as_str().is_some_and(|title| !title.is_empty()),
            "{answer:?}"
        );
    }
    assert!(bed.ctl.faults().is_empty());
    bed.assert_untouched();
    bed.ctl.apply(&[good]);
    assert!(!bed.reaches(bed.net.server.at(9000)), "it still works");
}

#[test]
fn a_change_that_is_wrong_leaves_the_running_fault_as_it_was() {
    let bed = Bed::new();
    let cut = |ports: serde_json::Value| {
        bed.on_client("cut", json!({"partition": {}}))
            .traffic(json!({"protocol": "udp", "remote": {"ports": ports}}))
    };
    bed.ctl.apply(&[cut(json!([9000]))]);
    assert_eq!(bed.ctl.try_apply(&[cut(json!([70_000]))]).code, 2);
    let missing = FaultFile::new(
        "cut",
        json!({"netns": "chaos-t-nowhere"}),
        json!({"partition": {}}),
    );
    assert_eq!(bed.ctl.try_apply(&[missing]).code, 2);
    assert_eq!(bed.ctl.fault("cut").phase(), "Active");
    assert!(!bed.reaches(bed.net.server.at(9000)) && bed.reaches(bed.net.server.at(9001)));
    bed.delete("cut");
}

#[test]
fn an_interface_that_is_down_is_told() {
    let bed = Bed::new();
    bed.net.client.netns.ip("link set c0 down");
    let output = bed
        .ctl
        .try_apply(&[bed.on_client("down", json!({"partition": {}}))]);
    assert!([0, 2].contains(&output.code), "{output}");
    assert!(
        output.stderr.contains("c0") && output.stderr.contains("down"),
        "{output}"
    );
    if output.code == 0 {
        assert!(bed.ctl.fault("down").warnings().contains(&"InterfaceDown"));
        bed.ctl.delete("down");
    }
    bed.net.client.netns.ip("link set c0 up");
    // Coming up again takes the link-local address's detection along.
    bed.net.client.netns.ip("address replace fd77::1/64 dev c0 nodad");
}

#[test]
fn without_a_daemon_the_exit_code_says_so() {
    let folder = tempfile::TempDir::new().expect("a temporary folder can be made");
    let ctl = chaos_tests::Chaosctl::new(&folder.path().join("nobody.sock"));
    let output = ctl.run(&["get", "faults"]);
    assert_eq!(output.code, 20, "{output}");
    assert!(output.stderr.contains("nobody.sock"), "{output}");
}
