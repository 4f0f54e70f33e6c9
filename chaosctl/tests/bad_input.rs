//! Bad input ends with 2, says where and what to write, and sends nothing.

mod support;

use std::fs;

use support::{DROP, FakeDaemon, Ran, Reply, file, list, run_alone};

/// Applies a text against a daemon that must not be asked.
fn apply(text: &str) -> Ran {
    let daemon = FakeDaemon::start(|_| Reply::Json(200, list(&[])));
    let (_dir, path) = file("fault.yaml", text);
    let ran = daemon.run(&["apply", "-f", &path]);
    assert!(
        daemon.requests().is_empty(),
        "something was sent: {:?}",
        daemon.requests()
    );
    assert_eq!(ran.stdout, "");
    ran
}

#[test]
fn an_unknown_field_has_a_line_and_a_neighbour() {
    let ran = apply(&DROP.replace("    protocol: tcp", "    protocoll: tcp"));
    ran.expect(2, &["fault.yaml:8:5: ", "protocoll", "`protocol`"]);
}

#[test]
fn a_wrong_unit_says_which_to_write() {
    apply(&DROP.replace("duration: 5m", "duration: 5"))
        .expect(2, &["fault.yaml:12:13: ", "spec.duration", "5s"]);
    apply(&DROP.replace("30%", "30")).expect(2, &["fault.yaml:11:20: ", "spec.fault.drop.chance", "`30%`"]);
}

#[test]
fn more_than_everything_is_refused() {
    apply(&DROP.replace("30%", "130%")).expect(2, &["fault.yaml:11:20: ", "130%", "between 0% and 100%"]);
}

#[test]
fn no_target_is_refused() {
    let text = DROP.replace(
        "    cgroup: /system.slice/orders.service\n",
        "    interfaces: [eth0]\n",
    );
    apply(&text).expect(2, &["fault.yaml:5:", "no target", "`cgroup`"]);
    let text = DROP.replace("  target:\n    cgroup: /system.slice/orders.service\n", "");
    apply(&text).expect(2, &["fault.yaml:4:", "target"]);
}

#[test]
fn port_70000_is_refused() {
    apply(&DROP.replace("5432", "70000")).expect(2, &["fault.yaml:9:22: ", "70000", "65535"]);
}

#[test]
fn everything_wrong_is_told_at_once() {
    let text = DROP.replace("30%", "130%").replace("5432", "70000");
    apply(&text).expect(
        2,
        &["2 things are wrong, and nothing was sent", ":9:22: ", ":11:20: "],
    );
}

#[test]
fn a_fault_of_a_later_version_is_refused_by_name() {
    let pods = "pods: {namespace: shop, labelSelector: app=orders}";
    apply(&DROP.replace("cgroup: /system.slice/orders.service", pods))
        .expect(2, &["fault.yaml:6:", "pods", "not in this version"]);
}

#[test]
fn empty_and_broken_files_are_refused() {
    apply("").expect(2, &["fault.yaml: ", "no document"]);
    apply("spec: [").expect(2, &["fault.yaml:"]);
    apply("\u{0}\u{1}").expect(2, &["fault.yaml"]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    run_alone(&["apply", "-f", "/nonexistent/fault.yaml"]).expect(
        2,
        &["/nonexistent/fault.yaml: cannot be read: there is no such file"],
    );
    run_alone(&["plan", "-f", "/nonexistent/fault.yaml"]).expect(2, &["no such file"]);
    run_alone(&["explain", "-f", "/nonexistent/fault.yaml"]).expect(2, &["no such file"]);
}

#[test]
fn a_huge_file_is_not_even_read() {
    let (_dir, path) = file("fault.json", &format!("[{}]", "0,".repeat(4 << 20)));
    run_alone(&["apply", "-f", &path]).expect(2, &["fault.json: ", "4 MiB"]);
    run_alone(&["apply", "-f", "/dev/zero"]).expect(2, &["/dev/zero: ", "4 MiB"]);
}

#[test]
fn one_bad_file_among_good_ones_stops_all() {
    let daemon = FakeDaemon::start(|_| Reply::Json(200, list(&[])));
    let (dir, _) = file("a-good.yaml", DROP);
    fs::write(dir.path().join("b-bad.yaml"), DROP.replace("30%", "130%")).expect("a file");
    fs::write(
        dir.path().join("c-good.yml"),
        DROP.replace("lossy-orders", "other"),
    )
    .expect("a file");
    fs::write(dir.path().join("notes.txt"), "no fault at all").expect("a file");
    let ran = daemon.run(&["apply", "-f", dir.path().to_str().expect("UTF-8")]);
    ran.expect(2, &["b-bad.yaml:11:20: ", "130%"]);
    assert!(!ran.stderr.contains("notes.txt"));
    assert!(daemon.requests().is_empty());
}

#[test]
fn a_directory_without_faults_is_refused() {
    let (dir, _) = file("notes.txt", "");
    run_alone(&["apply", "-f", dir.path().to_str().expect("UTF-8")]).expect(2, &["has no *.yaml"]);
}

#[test]
fn the_same_name_in_two_files_is_refused() {
    let (dir, first) = file("a.yaml", DROP);
    let second = dir.path().join("b.yaml");
    fs::write(&second, DROP).expect("a file");
    run_alone(&["apply", "-f", &first, second.to_str().expect("UTF-8")])
        .expect(2, &["b.yaml:3:", "`lossy-orders` is taken", "a.yaml:3:"]);
}

#[test]
fn bad_flags_say_what_to_write() {
    let inject = |args: &[&str]| run_alone(&[&["inject"], args].concat());
    inject(&["drop", "30%", "--for", "60s"]).expect(2, &["no target is named", "--cgroup PATH"]);
    inject(&["drop", "130%", "--host", "--for", "60s"]).expect(2, &["130% is more than 100%"]);
    inject(&["drop", "30", "--host", "--for", "60s"]).expect(2, &["write `30%`"]);
    inject(&["drop", "--host", "--for", "60s"]).expect(2, &["how much to drop is missing"]);
    inject(&["drop", "30%", "--every", "5", "--host", "--for", "60s"]).expect(2, &["cannot be used with"]);
    inject(&["drop", "30%", "--host"]).expect(2, &["--for <TIME>"]);
    inject(&["drop", "30%", "--host", "--for", "60"]).expect(2, &["write `60s`"]);
    inject(&["drop", "30%", "--host", "--for", "0s"]).expect(2, &["spec.duration"]);
    inject(&["drop", "30%", "--host", "--pid", "1", "--for", "60s"]).expect(2, &["cannot be used with"]);
    inject(&["drop", "30%", "--host", "--remote-port", "70000", "--for", "60s"])
        .expect(2, &["70000", "65535"]);
    inject(&["drop", "30%", "--host", "--remote", "10.0.0.1/8", "--for", "60s"]).expect(2, &["`10.0.0.0/8`"]);
    inject(&["drop", "30%", "--host", "--remote", "10.0.0", "--for", "60s"]).expect(2, &["not an address"]);
    inject(&["drop", "30%", "--host", "--direction", "up", "--for", "60s"])
        .expect(2, &["egress, ingress, both"]);
    inject(&["drop", "30%", "--interface", "eth0@", "--for", "60s"]).expect(2, &["`eth0@blue`"]);
    inject(&["drop", "30%", "--host", "--name", "Bad_Name", "--for", "60s"]).expect(2, &["metadata.name"]);
    inject(&["drop", "--gilbert-elliott", "p=1%", "--host", "--for", "60s"]).expect(2, &["`r` is missing"]);
    inject(&["delay", "2h", "--host", "--for", "60s"]).expect(2, &["more than an hour"]);
    inject(&["reorder", "25%", "--gap", "0", "--host", "--for", "60s"]).expect(2, &["no 0th packet"]);
    inject(&["bandwidth", "0bit", "--host", "--for", "60s"]).expect(2, &["nothing would ever pass"]);
    inject(&["http", "503", "--protocol", "udp", "--host", "--for", "60s"])
        .expect(2, &["UDP has no requests to read"]);
    inject(&["http", "99", "--host", "--for", "60s"]).expect(2, &["200..=599"]);
    inject(&["http", "503", "--method", "get", "--host", "--for", "60s"]).expect(2, &["write `GET`"]);
    inject(&["dns", "nxdomain", "--protocol", "tcp", "--host", "--for", "60s"])
        .expect(2, &["look-ups are answered over UDP"]);
    inject(&["dns", "nxdomian", "--host", "--for", "60s"]).expect(2, &["nxdomain"]);
    inject(&["http", "--host", "--for", "60s"]).expect(2, &["`inject http 503`", "--abort", "--delay 300ms"]);
    inject(&["http", "503", "--delay", "1s", "--host", "--for", "60s"]).expect(2, &["cannot be used with"]);
    inject(&["http", "--abort", "--body", "a", "--host", "--for", "60s"]).expect(2, &["cannot be used with"]);
    inject(&["http", "503", "--header", "Retry-After", "--host", "--for", "60s"])
        .expect(2, &["has no `:`", "'Retry-After: 5'"]);
    inject(&[
        "http",
        "503",
        "--header",
        "connection: a",
        "--host",
        "--for",
        "60s",
    ])
    .expect(2, &["is written by the fault itself"]);
    inject(&["http", "503", "--http-host", "a:80", "--host", "--for", "60s"]).expect(2, &["has a port"]);
    inject(&["dns", "--host", "--for", "60s"]).expect(2, &["`inject dns nxdomain`", "--a ADDRESS"]);
    inject(&["dns", "refused", "--a", "192.0.2.1", "--host", "--for", "60s"])
        .expect(2, &["cannot be used with"]);
    inject(&["dns", "--a", "db", "--host", "--for", "60s"]).expect(2, &["no IPv4 address", "192.0.2.7"]);
    inject(&["dns", "nxdomain", "--ttl", "5s", "--host", "--for", "60s"]).expect(2, &["--a"]);
    inject(&["bandwidth", "10", "--host", "--for", "60s"]).expect(2, &["has no unit"]);
    inject(&["explode"]).expect(2, &["unrecognized subcommand"]);
}

#[test]
fn other_verbs_check_their_words_too() {
    run_alone(&[]).expect(2, &["Usage"]);
    run_alone(&["delete"]).expect(2, &["required"]);
    run_alone(&["delete", "x", "--all"]).expect(2, &["cannot be used with"]);
    run_alone(&["run"]).expect(2, &["<FILE>"]);
    run_alone(&["run", "/nonexistent.yaml"]).expect(2, &["there is no such file"]);
    run_alone(&["import", "netem", "/nonexistent.sh"]).expect(2, &["there is no such file"]);
    run_alone(&["import", "comcast", "x"]).expect(2, &["possible values", "netem", "toxiproxy"]);
    run_alone(&["report", "show"]).expect(2, &["<REPORT>"]);
    run_alone(&["get", "faults", ""]).expect(2, &["a name is empty"]);
    run_alone(&["apply"]).expect(2, &["--file <FILE>"]);
    run_alone(&["apply", "-f", "-", "-f", "-"]).expect(2, &["standard input can be read once"]);
    run_alone(&["status", "--timeout", "0s"]).expect(2, &["leaves no time"]);
    run_alone(&["status", "--timeout", "5"]).expect(2, &["write `5s`"]);
    run_alone(&["halt", "--release", "--reason", "x"]).expect(2, &["cannot be used with"]);
}
