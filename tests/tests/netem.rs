//! Ours beside `tc netem` and `tbf`, in one boot of a kernel that has them: `cargo xtask bench netem`.
//!
//! Arguments are names of groups; all when there are none. Each row is printed as `ROW {json}`.
#![forbid(unsafe_code)]

#[path = "netem/bed.rs"]
mod bed;
#[path = "netem/groups.rs"]
mod groups;
#[path = "netem/row.rs"]
mod row;

use std::process::ExitCode;

use chaos_tests::{Since, require_feature};

use crate::bed::{Bed, has_netem};
use crate::groups::GROUPS;

fn main() -> ExitCode {
    // What libtest's runners say to every test program begins with dashes.
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    if let Some(unknown) = asked
        .iter()
        .find(|name| GROUPS.iter().all(|(known, ..)| known != name))
    {
        let known: Vec<&str> = GROUPS.iter().map(|(name, ..)| *name).collect();
        eprintln!(
            "netem: no group is called `{unknown}`; there are {}",
            known.join(", ")
        );
        return ExitCode::from(2);
    }
    if let Err(skip) = require_feature("netem", Since::Config("CONFIG_NET_SCH_NETEM"), has_netem()) {
        skip.report("netem");
        return ExitCode::SUCCESS;
    }
    for (name, line, measure) in GROUPS {
        if asked.is_empty() || asked.iter().any(|word| word == name) {
            measure(&Bed::new(&["--line", line]), &mut |row| {
                let row = row.of(name);
                println!("{row:?}");
                println!("ROW {}", serde_json::to_string(&row).expect("numbers and words"));
            });
        }
    }
    ExitCode::SUCCESS
}
