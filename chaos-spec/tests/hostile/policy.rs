use chaos_fuzz::{cases, corpus, damaged, documents};
use chaos_spec::policy::LocatedPolicy;
use jiff::Timestamp;
use proptest::prelude::*;

use crate::{check_refusal, folder, in_a_moment};

fn read(text: &[u8]) {
    match in_a_moment(|| LocatedPolicy::parse("policy.yaml", text)) {
        Ok(located) => {
            // At the ends of time, too.
            for now in [
                Timestamp::MIN,
                Timestamp::UNIX_EPOCH,
                Timestamp::now(),
                Timestamp::MAX,
            ] {
                for window in &located.policy.windows {
                    let _ = window.left(now);
                    assert!(!window.to_string().is_empty());
                }
            }
            let json = serde_json::to_string(&located.policy).expect("renders");
            let again = LocatedPolicy::parse("policy.json", json.as_bytes());
            let again = again.unwrap_or_else(|wrong| panic!("{wrong}\n{json}"));
            assert_eq!(again.policy, located.policy, "{json}");
        }
        Err(wrong) => check_refusal("policy.yaml", &wrong),
    }
}

#[test]
fn the_corpus_is_read_or_refused() {
    for (name, text) in corpus(folder("policy")) {
        println!("{name}");
        read(&text);
    }
}

#[test]
fn a_version_or_kind_that_is_a_number_is_refused() {
    for text in [
        "apiVersion: 0\nkind: Policy\n",
        "apiVersion: chaos-daemon.dev/v1alpha1\nkind: 1\n",
    ] {
        let wrong = LocatedPolicy::parse("policy.yaml", text.as_bytes()).expect_err(text);
        assert!(wrong.to_string().contains("is known"), "{wrong}");
    }
}

proptest! {
    #![proptest_config(cases(500))]
    #[test]
    fn damaged_policies_are_read_or_refused(text in damaged(documents(folder("policy")))) {
        read(&text.0);
    }
}
