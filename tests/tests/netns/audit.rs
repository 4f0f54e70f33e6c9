//! The audit log, and every way to tamper with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use chaos_tests::{Api, Chaosctl, Daemon, FaultFile, Output, Pair, SmallDisk, eventually};
use serde_json::json;
use tempfile::TempDir;

use crate::bed::Bed;
use crate::people::{audit, refusals};

fn log(state: &Path) -> PathBuf {
    state.join("audit/audit.jsonl")
}

fn verify(ctl: &Chaosctl, state: &Path) -> Output {
    ctl.run(&["audit".as_ref(), "verify".as_ref(), log(state).as_os_str()])
}

#[test]
fn the_life_of_a_fault_is_taken_down_with_who_what_and_where() {
    let bed = Bed::new();
    bed.ctl.apply(&[bed.on_client("cut", json!({"partition": {}}))]);
    bed.delete("cut");
    let missing = bed.ctl.run(&["delete", "--yes", "nothing-of-this-name"]);
    assert_ne!(missing.code, 0);
    let records = audit(&bed.daemon);
    let of = |kind: &str| {
        let found = records.iter().find(|record| record["kind"] == kind);
        found.unwrap_or_else(|| panic!("no {kind} in {records:#?}"))
    };
    let applying = of("applying");
    assert_eq!(
        (&applying["who"]["uid"], &applying["who"]["by"]),
        (&json!(0), &json!("unix"))
    );
    let exe = applying["who"]["exe"].as_str().unwrap_or_default();
    assert!(exe.ends_with("/chaosctl"), "{applying}");
    assert_eq!(applying["plan"].as_str().map(str::len), Some(64), "{applying}");
    let target = applying["faults"][0]["resolved"][0].as_str().unwrap_or_default();
    let inode = bed.net.client.netns.inode().to_string();
    assert!(target.contains(&inode) && target.contains("c0#"), "{applying}");
    assert_eq!(of("fault-active")["fault"], "cut");
    assert_eq!(of("fault-ended")["fault"], "cut");
    let deleted = records
        .iter()
        .find(|record| record["request"] == "DELETE /v1/faults/cut");
    assert_eq!(deleted.expect("who deleted it")["who"]["role"], "admin");
    assert_eq!(of("daemon-started")["seq"], 1);
    let place = |kind: &str| of(kind)["seq"].as_u64().expect("a number");
    assert!(place("applying") < place("fault-active") && place("fault-active") < place("fault-ended"));
}

#[test]
fn every_kind_of_tampering_is_found_at_its_line() {
    let mut daemon = Daemon::start();
    let ctl = daemon.ctl();
    for number in 0..5 {
        ctl.run(&["delete", "--yes", &format!("fault-{number}")]);
        ctl.ok(&["halt"]);
        ctl.ok(&["halt", "--release"]);
    }
    assert!(daemon.stop().success());
    let state = daemon.state_dir();
    let whole = fs::read_to_string(log(&state)).expect("there is a log");
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let count = lines.len();
    assert!(count > 10, "{whole}");
    let untouched = verify(&ctl, &state);
    assert_eq!(untouched.code, 0, "{untouched}");

    let without = |place: usize| {
        let mut rest = lines.clone();
        rest.remove(place);
        rest.concat()
    };
    let mut swapped = lines.clone();
    swapped.swap(4, 5);
    let mut doubled = lines.clone();
    doubled.insert(6, lines[6]);
    let last = count - 1;
    let tampered = [
        ("an edit", whole.replacen("released", "halted!!", 1), 0),
        ("a cut of the head", lines[3..].concat(), 1),
        ("a cut in the middle", without(5), 6),
        ("a cut of the tail", lines[..last].concat(), last),
        ("a longer cut of the tail", lines[..2].concat(), 2),
        ("half a line cut off", whole[..whole.len() - 9].to_owned(), count),
        ("another order", swapped.concat(), 5),
        ("a line twice", doubled.concat(), 8),
        ("nothing left", String::new(), 1),
    ];
    for (what, text, line) in tampered {
        fs::write(log(&state), &text).expect("it can be written");
        let found = verify(&ctl, &state);
        assert_eq!(found.code, 1, "{what}: {found}");
        let line = match line {
            0 => {
                1 + lines
                    .iter()
                    .position(|line| line.contains("released"))
                    .expect("there is one")
            }
            line => line,
        };
        let place = format!("audit.jsonl:{line}: ");
        assert!(found.stdout.contains(&place), "{what}, {place}: {found}");
    }
    fs::write(log(&state), &whole).expect("it can be written");
    let head = state.join("audit.head");
    let kept = fs::read(&head).expect("it is there");
    fs::remove_file(&head).expect("it can be removed");
    assert_eq!(verify(&ctl, &state).code, 1, "without its head file");
    fs::write(&head, kept).expect("it can be written");
    assert_eq!(verify(&ctl, &state).code, 0, "as it was");

    // A daemon that goes on after a cut does not cover it up.
    fs::write(log(&state), lines[..5].concat()).expect("it can be written");
    daemon.start_again();
    let found = verify(&ctl, &state);
    assert_eq!(found.code, 1, "{found}");
    assert!(found.stdout.contains("audit.jsonl:6: "), "{found}");
}

#[test]
fn a_kill_at_any_moment_leaves_a_log_that_goes_on() {
    let net = Pair::new();
    let mut daemon = Daemon::start();
    for round in 0..8 {
        let over = AtomicBool::new(false);
        let api = Api::of(&daemon);
        let fault = FaultFile::on_netns("busy", &net.client.netns, json!({"drop": {"chance": "1%"}}));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    // The daemon dies under these requests.
                    api.try_apply(std::slice::from_ref(&fault));
                    api.try_send("DELETE", "/v1/faults/busy", "");
                }
            });
            let path = log(&daemon.state_dir());
            let size = || fs::metadata(&path).map_or(0, |about| about.len());
            let before = size();
            // Another amount each round: so the kill meets another moment.
            eventually(Duration::from_secs(20), "the log grows", || {
                size() > before + 2000 + 137 * round
            });
            daemon.sigkill();
            over.store(true, Ordering::Relaxed);
        });
        daemon.start_again();
        let records = audit(&daemon);
        let starts = |record: &&serde_json::Value| record["kind"] == "daemon-started";
        assert_eq!(records.iter().filter(starts).count() as u64, round + 2);
    }
}

#[test]
fn on_a_full_disk_new_faults_are_refused_and_running_ones_end() {
    let mut bed = Bed::new();
    assert!(bed.daemon.stop().success());
    let disk = SmallDisk::mount(&bed.daemon.state_dir());
    bed.daemon.start_again();
    bed.ctl
        .apply(&[bed.on_client("running", json!({"partition": {}}))]);
    disk.fill();
    // The last page of the log may have room for one or two more.
    let names: Vec<String> = (0..20).map(|number| format!("new-{number}")).collect();
    let refusal = |name: &String| {
        let ran = bed
            .ctl
            .try_apply(&[bed.on_client(name, json!({"drop": {"chance": "1%"}}))]);
        (ran.code != 0).then_some(ran)
    };
    let (begun, refused) = names
        .iter()
        .enumerate()
        .find_map(|(number, name)| Some((number, refusal(name)?)))
        .expect("a full disk refuses");
    assert_eq!(refused.code, 14, "{refused}");
    assert!(refused.stderr.contains("audit log"), "it says why: {refused}");
    assert!(bed.ctl.find(&names[begun]).is_none());
    for name in &names[..begun] {
        bed.ctl.delete(name);
        assert_eq!(bed.ctl.fault(name).phase(), "Ended");
    }
    bed.delete("running");
    assert!(bed.reaches(bed.net.server.at(9000)));
    disk.free();
    eventually(Duration::from_secs(10), "what waited is written", || {
        verify(&bed.ctl, &bed.daemon.state_dir()).code == 0
            && fs::read_to_string(log(&bed.daemon.state_dir())).is_ok_and(|text| text.contains("deleted by"))
    });
    let rules: Vec<_> = refusals(&bed.daemon)
        .iter()
        .map(|record| record["rule"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(rules, ["audit"], "the refusal is taken down as well");
    bed.ctl.apply(&[bed.on_client("new", json!({"partition": {}}))]);
    bed.delete("new");
    assert!(bed.daemon.stop().success());
    drop(disk);
    bed.daemon.start_again();
}

#[test]
fn a_log_elsewhere_is_verified_without_a_daemon() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let nowhere = Chaosctl::new(&folder.path().join("no.sock"));
    let output = nowhere.run(&["audit".as_ref(), "verify".as_ref(), folder.path().as_os_str()]);
    assert_eq!(output.code, 2, "{output}");
    assert!(output.stderr.contains("no audit log"), "{output}");
}
