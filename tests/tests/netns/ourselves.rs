//! Faults on ourselves: no disk, no descriptors, no room in the maps, no way into the kernel. New
//! faults are refused with the reason and the remedy, running ones end, and nothing is left.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Output as Ended;
use std::time::Duration;

use chaos_tests::{
    Daemon, FailingDisk, FaultFile, Output, Pair, SmallDisk, Snapshot, eventually, need, require_program,
    veth,
};
use serde_json::json;
use tempfile::TempDir;

use crate::bed::Bed;

/// The daemon has reported no panic, of whatever thread.
#[track_caller]
pub(crate) fn assert_no_panic(daemon: &Daemon) {
    let log = daemon.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// What is attached.
#[track_caller]
pub(crate) fn assert_nothing_attached(daemon: &Daemon) {
    eventually(Duration::from_secs(2), "nothing is attached", || {
        daemon.bpf_objects().links.is_empty()
    });
}

#[track_caller]
fn assert_refused(output: &Output, code: i32, words: &[&str]) {
    assert_eq!(output.code, code, "{output}");
    for word in words {
        assert!(output.stderr.contains(word), "`{word}`: {output}");
    }
}

pub(crate) fn said(ended: &Ended) -> String {
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

#[test]
fn on_a_disk_that_turns_read_only_faults_end_and_none_begins() {
    let mut bed = Bed::new();
    assert!(bed.daemon.stop().success());
    let disk = need!(FailingDisk::mount(&bed.daemon.state_dir()));
    bed.daemon.start_again();
    let other = bed.on_client("other", json!({"drop": {"chance": "1%"}}));
    bed.ctl.apply(&[
        bed.on_client("running", json!({"partition": {}})),
        bed.on_client("halted", json!({"drop": {"chance": "1%"}})),
    ]);
    disk.fail();
    let refused = bed.ctl.try_apply(std::slice::from_ref(&other));
    assert_refused(&refused, 14, &["audit log", "Read-only", "make it writable"]);
    assert!(bed.ctl.find("other").is_none());
    assert!(!bed.reaches(bed.net.server.at(9000)), "what runs goes on");
    bed.ctl.delete("running");
    assert!(bed.reaches(bed.net.server.at(9000)));
    let halted = bed.ctl.run(&["halt"]);
    assert_refused(
        &halted,
        1,
        &["every fault has ended", "Read-only", "would forget the halt"],
    );
    assert_eq!(bed.ctl.fault("halted").reason(), "Halt");
    bed.assert_untouched();
    assert_refused(&bed.ctl.try_apply(std::slice::from_ref(&other)), 14, &["halt"]);
    // There is no file to remove, so nothing holds the halt.
    bed.ctl.ok(&["halt", "--release"]);
    assert_nothing_attached(&bed.daemon);
    assert!(bed.daemon.stop().success());

    // A daemon that starts on such a disk undoes what there is, and refuses in the same way.
    bed.daemon.start_again();
    let refused = bed.ctl.try_apply(std::slice::from_ref(&other));
    assert_refused(&refused, 14, &["audit log", "Read-only"]);
    assert!(bed.daemon.log().contains("journal"), "{}", bed.daemon.log());
    assert!(bed.daemon.stop().success());
    assert_no_panic(&bed.daemon);
    drop(disk);
    bed.daemon.start_again();
    bed.ctl.apply(&[other]);
    bed.delete("other");
}

#[test]
fn a_restart_on_a_full_disk_undoes_what_was_left_and_takes_faults_when_there_is_room() {
    let net = Pair::new();
    let device = &net.client.device;
    let look = || Snapshot::of_devices(&[device]);
    let before = look();
    let args = ["--attach", "clsact", "--xdp", "never"];
    let mut daemon = Daemon::builder().args(&args).start();
    assert!(daemon.stop().success());
    let disk = SmallDisk::mount(&daemon.state_dir());
    daemon.start_again();
    let ctl = daemon.ctl();
    let cut = FaultFile::on_netns("cut", &net.client.netns, json!({"partition": {}}));
    ctl.apply(std::slice::from_ref(&cut));
    assert_ne!(look(), before);
    daemon.sigkill();
    disk.fill();
    daemon.start_again();
    // Filters in a clsact qdisc outlive a daemon; its journal could be read.
    look().assert_same_as(&before);
    assert!(daemon.log().contains("undone now"), "{}", daemon.log());
    // The last pages may have room for a few lines more.
    let refused = (0..50)
        .map(|_| {
            let tried = ctl.try_apply(std::slice::from_ref(&cut));
            ctl.run(&["delete", "--yes", "cut"]);
            tried
        })
        .find(|tried| tried.code != 0)
        .expect("a full disk refuses");
    assert_refused(&refused, 14, &["audit log", "No space left", "free space"]);
    look().assert_same_as(&before);
    assert_refused(
        &ctl.run(&["halt"]),
        1,
        &["No space left", "would forget the halt"],
    );
    disk.free();
    ctl.ok(&["halt"]);
    ctl.ok(&["halt", "--release"]);
    ctl.apply(std::slice::from_ref(&cut));
    daemon.sigkill();
    // The journal that could not be written at the start is written by now.
    daemon.start_again();
    look().assert_same_as(&before);
    assert_no_panic(&daemon);
    assert!(daemon.stop().success());
    drop(disk);
    daemon.start_again();
}

/// Descriptors: programs and attachments have one each, and so has every connection.
#[test]
fn out_of_descriptors_faults_are_refused_and_can_all_be_ended() {
    need!(require_program("prlimit"));
    let net = Pair::new();
    let (client, other) = (&net.client.netns, &net.server.netns);
    // Enough for all descriptors that faults may take.
    let cables: Vec<_> = (0..90)
        .map(|n| veth((client, &format!("v{n}")), (other, &format!("w{n}"))).0)
        .collect();
    let before = Snapshot::of(client, &[&net.client.device]);
    let mut daemon = Daemon::builder()
        .wrapper(&["prlimit", "--nofile=1024:1024"])
        .start();
    let ctl = daemon.ctl();
    let cut = |n: usize| {
        FaultFile::on_device(&format!("f{n}"), &cables[n], json!({"partition": {}}))
            .traffic(json!({"direction": "both", "remote": {"ports": [9000 + n]}}))
    };
    let all: Vec<FaultFile> = (0..cables.len()).map(cut).collect();
    let whole = ctl.try_apply(&all);
    assert_refused(
        &whole,
        14,
        &["1024 files", "kept for those who end", "LimitNOFILE="],
    );
    assert!(ctl.faults().is_empty(), "all or nothing");
    assert_nothing_attached(&daemon);
    let begun = (0..all.len())
        .find(|n| ctl.try_apply(std::slice::from_ref(&all[*n])).code != 0)
        .expect("at some time there are no descriptors left");
    assert!(begun > 20, "{begun} faults");
    let refused = ctl.try_apply(std::slice::from_ref(&all[begun]));
    assert_refused(&refused, 14, &["1024 files", "LimitNOFILE="]);
    assert!(ctl.find(all[begun].name()).is_none());

    // Everybody who may connect does, and one of them wants an end.
    let idle: Vec<UnixStream> = (0..250)
        .map(|_| UnixStream::connect(daemon.socket()).expect("it listens"))
        .collect();
    ctl.delete("f0");
    ctl.apply(&[cut(0)]);
    ctl.ok(&["halt"]);
    assert!(ctl.faults().iter().all(|fault| fault.phase() == "Ended"));
    assert_nothing_attached(&daemon);
    drop(idle);
    Snapshot::of(client, &[&net.client.device]).assert_same_as(&before);
    assert_no_panic(&daemon);
    let objects = daemon.bpf_objects();
    assert!(daemon.stop().success());
    objects.assert_gone();
    daemon.start_again();
}

#[test]
fn too_few_descriptors_are_said_at_the_start() {
    need!(require_program("prlimit"));
    let folder = TempDir::new().expect("a temporary folder can be made");
    let ended = start(&["prlimit", "--nofile=256:256"], folder.path());
    assert_eq!(ended.status.code(), Some(1));
    let said = said(&ended);
    assert!(
        said.contains("256 files") && said.contains("LimitNOFILE="),
        "{said}"
    );
}

#[test]
fn a_full_map_refuses_what_has_no_place_and_what_runs_goes_on() {
    let net = Pair::new();
    let client = &net.client.netns;
    let mut devices = vec![net.client.device.clone()];
    devices.extend((0..4).map(|n| veth((client, &format!("v{n}")), (&net.server.netns, &format!("w{n}"))).0));
    let names: Vec<&str> = devices.iter().map(|device| device.name()).collect();
    let look = || Snapshot::of(client, &[&net.client.device]);
    let before = look();
    let daemon = Daemon::builder().args(&["--max-faults", "2"]).start();
    let ctl = daemon.ctl();
    let cut = |n: u16| {
        FaultFile::on_netns(&format!("f{n}"), client, json!({"partition": {}}))
            .traffic(json!({"protocol": "udp", "remote": {"ports": [9000 + n]}}))
    };
    let many = ctl.try_apply(&[cut(0), cut(1), cut(2)]);
    assert_refused(&many, 14, &["takes 2", "end some", "--max-faults"]);
    assert!(ctl.faults().is_empty());
    look().assert_same_as(&before);
    ctl.apply(&[cut(0), cut(1)]);
    assert_refused(&ctl.try_apply(&[cut(2)]), 14, &["2 faults run", "--max-faults"]);
    // Changing one needs no new place, and ending one makes one.
    ctl.apply(&[cut(1).fault(json!({"drop": {"chance": "10%"}}))]);
    ctl.delete("f0");
    ctl.apply(&[cut(2)]);
    for name in ["f1", "f2"] {
        ctl.delete(name);
    }
    look().assert_same_as(&before);
    // Eight rules: a fault that names five devices in both directions has ten.
    let wide = cut(3)
        .traffic(json!({"direction": "both"}))
        .set("/spec/target", "interfaces", json!(names));
    let refused = ctl.try_apply(std::slice::from_ref(&wide));
    assert_refused(&refused, 14, &["rules are all in use (8)", "--max-faults"]);
    assert!(ctl.find("f3").is_none());
    assert_nothing_attached(&daemon);
    look().assert_same_as(&before);
    // What was staged of it has been given back, to the last.
    for _ in 0..10 {
        assert_eq!(ctl.try_apply(std::slice::from_ref(&wide)).code, 14);
    }
    ctl.apply(&[wide.set("/spec/target", "interfaces", json!(names[..4]))]);
    ctl.delete("f3");
    look().assert_same_as(&before);
    assert_no_panic(&daemon);
}

/// Root of a user namespace has every capability there, and none in the kernel's eyes.
#[test]
fn a_kernel_that_refuses_bpf_is_named_and_nothing_is_left() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let ended = start(&["unshare", "--user", "--map-root-user"], folder.path());
    assert_eq!(ended.status.code(), Some(1));
    let said = said(&ended);
    assert!(
        said.contains("not permitted") && said.contains("CAP_BPF"),
        "{said}"
    );
    assert!(!said.contains("panicked"), "{said}");
    assert!(!folder.path().join("api.sock").exists());
}

/// The real verifier, and a program that it does not like.
#[test]
fn a_program_that_the_verifier_refuses_is_named_with_its_reason_and_nothing_is_left() {
    need!(require_program("cc"));
    let folder = TempDir::new().expect("a temporary folder can be made");
    let (source, library) = (folder.path().join("spoil.c"), folder.path().join("spoil.so"));
    std::fs::write(&source, include_str!("spoil.c")).expect("it can be written");
    let (source, library) = (source.display().to_string(), library.display().to_string());
    chaos_tests::run(&["cc", "-shared", "-fPIC", "-o", &library, &source, "-ldl"]);
    let preload = format!("LD_PRELOAD={library}");
    let ended = start(&["env", &preload], folder.path());
    assert_eq!(ended.status.code(), Some(1));
    let said = said(&ended);
    assert!(
        said.contains("chaos_ingress") && said.contains("R5 !read_ok"),
        "{said}"
    );
    assert!(!said.contains("panicked"), "{said}");
    assert!(!folder.path().join("api.sock").exists());
}

/// Starts a daemon in a namespace of its own that is expected to end by itself.
pub(crate) fn start(wrapper: &[&str], folder: &Path) -> Ended {
    let netns = chaos_tests::Netns::new();
    let mut command = std::process::Command::new(wrapper[0]);
    command
        .args(&wrapper[1..])
        .arg(chaos_tests::binary("chaos-daemon"));
    command.arg("--socket").arg(folder.join("api.sock"));
    command.arg("--state-dir").arg(folder.join("state"));
    netns.enter(|| command.output().expect("it can be started"))
}
