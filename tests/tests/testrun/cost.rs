//! The promises on cost, as the issue states them. The whole table: `cargo xtask bench`.

use chaos_tests::Skip;
use chaos_tests::packet::cost::{Cost, Effort, dropping, passing, text};

/// A busy machine disturbs samples and never makes one too quick: a promise is broken when no try keeps it.
fn keeps(test: &str, measure: fn(Effort, &mut dyn FnMut(Cost)) -> Result<(), Skip>) {
    let mut best: Vec<Cost> = Vec::new();
    for _ in 0..3 {
        let mut costs = Vec::new();
        let effort = Effort {
            repeat: 1_000_000,
            samples: 5,
        };
        if let Err(skip) = measure(effort, &mut |cost| costs.push(cost)) {
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
        if best.iter().all(Cost::holds) {
            break;
        }
    }
    println!("{}", text(&best));
    let missed: Vec<&str> = best
        .iter()
        .filter(|cost| !cost.holds())
        .map(|cost| cost.name.as_str())
        .collect();
    assert!(missed.is_empty(), "{missed:#?}\n{}", text(&best));
}

#[test]
fn a_packet_that_no_fault_names_pays_at_most_30_ns() {
    keeps("cost::a_packet_that_no_fault_names_pays_at_most_30_ns", passing);
}

#[test]
fn a_drop_costs_at_most_50_ns() {
    keeps("cost::a_drop_costs_at_most_50_ns", dropping);
}
