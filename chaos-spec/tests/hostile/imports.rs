//! Files of other tools: they are said as faults that are valid, or it is told what was not.

use chaos_fuzz::{cases, corpus, damaged, documents};
use chaos_spec::import::{Here, Imported, chaos_mesh, litmus};
use chaos_spec::{Diagnostics, Duration, Target};
use proptest::prelude::*;

use crate::{check_refusal, folder, in_a_moment};

fn check(imported: Result<Imported, Diagnostics>) {
    match imported {
        Ok(imported) => {
            for fault in &imported.faults {
                assert_eq!(chaos_spec::validate(fault), []);
            }
            for unsaid in &imported.unsaid {
                assert!(!unsaid.what.is_empty() && !unsaid.why.is_empty(), "{unsaid:?}");
            }
        }
        Err(wrong) => check_refusal("f.yaml", &wrong),
    }
}

fn read(text: &[u8]) {
    let here = Here {
        target: Target::netns("blue"),
        duration: Duration::from_secs(60),
    };
    check(in_a_moment(|| chaos_mesh("f.yaml", text, &here)));
    check(in_a_moment(|| litmus("f.yaml", text, &here)));
}

#[test]
fn the_corpus_is_said_or_told() {
    for (name, text) in corpus(folder("imports")) {
        println!("{name}");
        read(&text);
    }
}

proptest! {
    #![proptest_config(cases(400))]
    #[test]
    fn damaged_files_are_said_or_told(text in damaged(documents(folder("imports")))) {
        read(&text.0);
    }
}
