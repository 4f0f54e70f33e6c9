//! Halt, one daemon a host, and what a restart finds.

use std::time::{Duration, Instant};

use chaos_tests::{FaultFile, Stopwatch, patience, require_tcx};
use serde_json::json;

use crate::bed::Bed;

fn hundred(bed: &Bed) -> Vec<FaultFile> {
    (0..100)
        .map(|n| {
            let traffic = json!({"protocol": "udp", "remote": {"ports": [9000 + n]}});
            bed.on_client(&format!("f{n}"), json!({"partition": {}}))
                .traffic(traffic)
                .lasting("10m")
        })
        .collect()
}

#[test]
fn halt_ends_a_hundred_faults_and_refuses_new_ones_until_release_also_after_a_restart() {
    let mut bed = Bed::new();
    bed.ctl.apply(&hundred(&bed));
    for port in [9000, 9050, 9099] {
        assert!(!bed.reaches(bed.net.server.at(port)), "{port}");
    }
    let watch = Stopwatch::start();
    bed.ctl.ok(&["halt"]);
    let took = watch.took();
    assert!(took < patience(Duration::from_millis(100)), "{took:?}");
    bed.assert_untouched();
    assert!(bed.reaches(bed.net.server.at(9050)));
    let views = bed.ctl.faults();
    assert!(
        views.iter().all(|f| f.phase() == "Ended" && f.reason() == "Halt"),
        "{:?}",
        views[0].0["status"]
    );

    let one = bed.on_client("one", json!({"partition": {}}));
    let refused = bed.ctl.try_apply(std::slice::from_ref(&one));
    assert_eq!(refused.code, 14, "{refused}");
    assert!(refused.stderr.contains("halt"), "it says why: {refused}");
    assert!(bed.daemon.stop().success());
    bed.daemon.start_again();
    assert_eq!(
        bed.ctl.try_apply(std::slice::from_ref(&one)).code,
        14,
        "after a restart"
    );
    bed.daemon.sigkill();
    bed.daemon.start_again();
    assert_eq!(
        bed.ctl.try_apply(std::slice::from_ref(&one)).code,
        14,
        "after a crash"
    );
    bed.assert_untouched();
    bed.ctl.ok(&["halt", "--release"]);
    bed.ctl.apply(&[one]);
    assert!(!bed.reaches(bed.net.server.at(9050)), "after release");
}

#[test]
fn a_second_daemon_refuses_and_touches_nothing() {
    let bed = Bed::new();
    bed.ctl.apply(&[bed.on_client("cut", json!({"partition": {}}))]);
    let second = bed
        .daemon
        .netns()
        .enter(|| bed.daemon.second().output().expect("it can be started"));
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(
        said.contains("another") || said.contains("already"),
        "it says why: {said}"
    );
    assert_eq!(
        bed.ctl.fault("cut").phase(),
        "Active",
        "the first one still answers"
    );
    assert!(!bed.reaches(bed.net.server.at(9000)), "and its fault still acts");
    bed.delete("cut");
}

#[test]
fn sigterm_undoes_and_a_restart_begins_with_nothing() {
    let mut bed = Bed::new();
    bed.ctl.apply(&hundred(&bed));
    assert!(bed.daemon.stop().success(), "exit code 0");
    bed.assert_untouched();
    bed.daemon.start_again();
    assert!(bed.ctl.faults().iter().all(|f| f.phase() == "Ended"));
    assert!(bed.reaches(bed.net.server.at(9000)));
    bed.ctl.apply(&[bed.on_client("f0", json!({"partition": {}}))]);
    assert!(!bed.reaches(bed.net.server.at(9001)), "names may be used again");
}

#[test]
fn a_crash_is_reported_by_the_next_daemon() {
    let mut bed = Bed::new();
    bed.ctl
        .apply(&[bed.on_client("left-behind", json!({"partition": {}}))]);
    bed.daemon.sigkill();
    let before = bed.daemon.log().len();
    bed.daemon.start_again();
    let log = bed.daemon.log();
    assert!(
        log[before..].contains("left-behind"),
        "it names what was running: {}",
        &log[before..]
    );
    assert!(bed.reaches(bed.net.server.at(9000)));
    bed.assert_untouched();
}

/// `halt --local` on the bed's daemon.
fn locally(bed: &Bed) -> chaos_tests::Output {
    let state = bed.daemon.state_dir();
    bed.ctl.run(&[
        "halt",
        "--local",
        "--reason",
        "it hangs",
        "--state-dir",
        state.to_str().expect("text"),
    ])
}

#[test]
fn halt_local_ends_a_stopped_a_running_and_a_dead_daemon_and_the_next_one_refuses() {
    let mut bed = Bed::new();
    let cut = bed.on_client("cut", json!({"partition": {}}));
    for state in ["stopped", "running", "dead"] {
        bed.ctl.apply(std::slice::from_ref(&cut));
        assert!(!bed.reaches(bed.net.server.at(9000)), "{state}");
        match state {
            "stopped" => {
                bed.daemon.sigstop();
            }
            "dead" => {
                bed.daemon.sigkill();
            }
            _ => {}
        }
        let start = Instant::now();
        let answer = locally(&bed);
        let took = start.elapsed();
        assert_eq!(answer.code, 0, "{state}: {answer}");
        let said = match state {
            "stopped" => "was killed",
            "dead" => "no daemon runs",
            _ => "undone everything",
        };
        assert!(answer.stdout.contains(said), "{state}: {answer}");
        assert!(took < patience(Duration::from_millis(700)), "{state}: {took:?}");
        assert!(bed.reaches(bed.net.server.at(9000)), "{state}");
        // Filters of a killed daemon stay until the next one, and do nothing.
        if require_tcx().is_ok() || state == "running" {
            bed.assert_untouched();
        }
        bed.daemon.was_ended();
        bed.daemon.start_again();
        bed.assert_untouched();
        let refused = bed.ctl.try_apply(std::slice::from_ref(&cut));
        assert_eq!(refused.code, 14, "{state}: {refused}");
        assert!(refused.stderr.contains("it hangs"), "{refused}");
        bed.ctl.ok(&["halt", "--release"]);
    }
}

#[test]
fn sigusr1_halts_and_sets_no_one_free_by_itself() {
    let bed = Bed::new();
    bed.ctl.apply(&hundred(&bed));
    bed.daemon.usr1();
    for fault in hundred(&bed) {
        assert_eq!(bed.ctl.wait_for_phase(fault.name(), "Ended").reason(), "Halt");
    }
    bed.assert_untouched();
    let refused = bed
        .ctl
        .try_apply(&[bed.on_client("one", json!({"partition": {}}))]);
    assert_eq!(refused.code, 14, "{refused}");
    bed.ctl.ok(&["halt", "--release"]);
}
