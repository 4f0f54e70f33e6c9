//! Every row of the table.

use chaos_tests::packet::{At, FAR_MAC, Fixture, Injection, Lab, NEAR_MAC, Settings, fixtures};
use chaos_tests::{Capture, Way};

use super::support::lab_with;

/// Runs rows one after the other, each with its fault beside one that names none of the packets: the programs stay
/// loaded from row to row. What is wrong with any row is told at the end.
fn run(lab: &mut Lab, rows: &[Fixture]) {
    lab.inject(&resident());
    let filter = format!("ether host {} or ether host {}", mac(NEAR_MAC), mac(FAR_MAC));
    let leaving = Capture::start(lab.far(), Way::In, &filter);
    let arriving = Capture::start(lab.near(), Way::In, &filter);
    let mut copies = [0, 0];
    let mut wrong = Vec::new();
    for row in rows {
        let id = lab.inject(&row.injection);
        let result = lab.run(row.at, &row.packet.frame());
        if let Err(reason) = row.expect.check(&row.packet, &result) {
            wrong.push(format!("{}: {reason}", row.description));
        }
        let counted = lab.counters(id);
        if counted.matched != 1 {
            wrong.push(format!(
                "{}: matched {} packets",
                row.description, counted.matched
            ));
        }
        lab.end(&[id]);
        let Some(copy) = &row.copy else { continue };
        let (capture, seen) = match row.at {
            At::Egress => (&leaving, &mut copies[0]),
            _ => (&arriving, &mut copies[1]),
        };
        *seen += 1;
        let frames = capture.wait_for(*seen);
        if frames[*seen - 1].bytes != *copy {
            wrong.push(format!(
                "{}: the copy is {:02x?}",
                row.description,
                frames[*seen - 1].bytes
            ));
        }
    }
    assert_eq!(
        (leaving.count(), arriving.count()),
        (copies[0], copies[1]),
        "no other frame went anywhere"
    );
    assert_eq!(lab.stat("helper_failed"), 0);
    assert!(
        wrong.is_empty(),
        "{} of {} rows:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}

fn resident() -> Injection {
    Injection::new("{direction: both, remote: {ports: [1]}}", "{partition: {}}")
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

#[test]
fn every_fault_in_every_family_protocol_and_direction_at_tc() {
    let Some(mut lab) = lab_with(
        "table::every_fault_in_every_family_protocol_and_direction_at_tc",
        Settings::default(),
    ) else {
        return;
    };
    let rows: Vec<Fixture> = fixtures().into_iter().filter(|row| row.at != At::Xdp).collect();
    // Of what is lost at ingress nobody can be told: that one row is for egress alone.
    assert_eq!(rows.len(), 14 * 2 * 3 * 2 - 2 * 3);
    run(&mut lab, &rows);
}

#[test]
fn losses_at_xdp() {
    let settings = Settings {
        xdp: true,
        ..Settings::default()
    };
    let Some(mut lab) = lab_with("table::losses_at_xdp", settings) else {
        return;
    };
    let rows: Vec<Fixture> = fixtures().into_iter().filter(|row| row.at == At::Xdp).collect();
    assert_eq!(rows.len(), 5 * 2 * 3);
    run(&mut lab, &rows);
}
