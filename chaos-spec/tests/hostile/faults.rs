use chaos_fuzz::{cases, corpus, damaged, documents};
use proptest::prelude::*;

use crate::{check_refusal, folder, in_a_moment};

/// Reads a text in every way there is, and does with the faults that come out of it what a caller does.
fn read(text: &[u8]) {
    for file in ["f.yaml", "f.json"] {
        match in_a_moment(|| chaos_spec::parse(file, text)) {
            Ok(located) => {
                for one in located {
                    let fault = &one.fault;
                    assert!(!in_a_moment(|| chaos_spec::explain(fault)).summary.contains('\n'));
                    let yaml =
                        in_a_moment(|| chaos_spec::to_yaml(std::slice::from_ref(fault))).expect("renders");
                    let again = chaos_spec::parse("again.yaml", yaml.as_bytes());
                    let again = again.unwrap_or_else(|wrong| panic!("{wrong}\n{yaml}"));
                    assert_eq!(&again[0].fault, fault, "{yaml}");
                }
            }
            Err(wrong) => check_refusal(file, &wrong),
        }
    }
    match in_a_moment(|| chaos_spec::parse_body(text)) {
        Ok(faults) => {
            for fault in faults {
                let json = serde_json::to_vec(&fault).expect("renders");
                let again = chaos_spec::parse_body(&json).unwrap_or_else(|wrong| panic!("{wrong}"));
                assert_eq!(again, [fault]);
            }
        }
        Err(wrong) => check_refusal("", &wrong),
    }
}

#[test]
fn the_corpus_is_read_or_refused() {
    for (name, text) in corpus(folder("faults")) {
        println!("{name}");
        read(&text);
    }
}

#[test]
fn nothing_is_nested_too_deep_for_an_answer() {
    for depth in [40, 200, 5_000, 200_000] {
        for text in chaos_fuzz::deep(depth) {
            read(&text);
        }
    }
}

proptest! {
    #![proptest_config(cases(400))]
    #[test]
    fn damaged_documents_are_read_or_refused(text in damaged(documents(folder("faults")))) {
        read(&text.0);
    }
}
