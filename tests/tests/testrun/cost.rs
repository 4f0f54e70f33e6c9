//! Cost: flat in the number of faults, and no worse than it is. The promised nanoseconds themselves are checked by
//! `cargo xtask bench -- --check`.

use chaos_tests::Skip;
use chaos_tests::packet::cost::{Cost, Effort, dropping, passing, text};

/// Nobody may make packets pay more than this without noticing; far above what is promised.
const CEILING: f64 = 400.0;

type Group = fn(Effort, &mut dyn FnMut(Cost)) -> Result<(), Skip>;

/// A busy machine disturbs samples and never makes one too quick: of several tries the best counts.
fn flat(test: &str, group: Group, few: &str, many: &str) {
    let mut best: Vec<Cost> = Vec::new();
    let mut wrong = Vec::new();
    for _ in 0..4 {
        let mut costs = Vec::new();
        let effort = Effort {
            repeat: 1_000_000,
            samples: 3,
        };
        if let Err(skip) = group(effort, &mut |cost| costs.push(cost)) {
            return skip.report(test);
        }
        if best.is_empty() {
            best = costs;
        } else {
            for (best, cost) in best.iter_mut().zip(costs) {
                if cost.over_empty_ns < best.over_empty_ns {
                    *best = cost;
                }
            }
        }
        wrong = complaints(&best, few, many);
        if wrong.is_empty() {
            break;
        }
    }
    println!("{}", text(&best));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Pairs of lines that differ only in the number of faults must cost about the same.
fn complaints(costs: &[Cost], few: &str, many: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut pairs = 0;
    for cost in costs {
        if cost.over_empty_ns > CEILING {
            wrong.push(format!("{}: {:.0} ns", cost.name, cost.over_empty_ns));
        }
        let Some(rest) = cost.name.strip_prefix(many) else {
            continue;
        };
        let one = format!("{few}{rest}");
        let one = costs
            .iter()
            .find(|other| other.name == one)
            .unwrap_or_else(|| panic!("no line {one}"));
        pairs += 1;
        // A quarter and 15 ns: a larger table is colder.
        if cost.over_empty_ns > one.over_empty_ns * 1.25 + 15.0 {
            wrong.push(format!(
                "{}: {:.0} ns, alone {:.0}",
                cost.name, cost.over_empty_ns, one.over_empty_ns
            ));
        }
    }
    assert!(pairs > 0, "no line begins with {many}");
    wrong
}

#[test]
fn a_packet_that_no_fault_names_pays_the_same_with_4096_faults_as_with_one() {
    let test = "cost::a_packet_that_no_fault_names_pays_the_same_with_4096_faults_as_with_one";
    flat(test, passing, "1 faults", "4096 faults");
}

#[test]
fn a_drop_pays_the_same_beside_4095_faults_as_alone() {
    flat(
        "cost::a_drop_pays_the_same_beside_4095_faults_as_alone",
        dropping,
        "beside 0 ",
        "beside 4095 ",
    );
}
