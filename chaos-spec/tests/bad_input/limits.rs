//! Input made to hurt.

use std::time::{Duration, Instant};

use crate::{GOOD, Parts, messages};

#[test]
fn too_large_a_file_is_refused_unread() {
    let text = " ".repeat(chaos_spec::MAX_TEXT_BYTES + 1);
    assert_eq!(
        messages("f.yaml", &text),
        "f.yaml: 4194305 bytes are more than the 4 MiB that are read – split it into several"
    );
    let refused = chaos_spec::parse_body(text.as_bytes()).expect_err("too large");
    assert_eq!(
        refused.to_string(),
        "4194305 bytes are more than the 4 MiB that are read – split it into several"
    );
}

#[test]
fn alias_bombs_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let before = format!("*a{}", level - 1);
        text.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            vec![before; 10].join(", ")
        ));
    }
    let told = messages("f.yaml", &text);
    assert!(
        told.contains("the aliases unfold to more than a spec can hold – write the values out"),
        "{told}"
    );
}

#[test]
fn a_modest_alias_is_fine() {
    let parts = Parts {
        traffic: "traffic: {remote: {cidrs: &nets [10.0.0.0/8]}, protocol: tcp}",
        more: "seed: 1",
        ..GOOD
    };
    let second = parts.text().replace("name: a", "name: b");
    assert_eq!(
        messages("f.yaml", &format!("{}---\n{second}", parts.text())),
        "no error"
    );
}

#[test]
fn deep_nesting_is_refused() {
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        let text = format!("a: {}1{}\n", open.repeat(10_000), close.repeat(10_000));
        let told = messages("f.yaml", &text);
        assert!(told.starts_with("f.yaml:1:"), "{told}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(chaos_spec::parse_body(deep.as_bytes()).is_err());
}

#[test]
fn what_is_not_text_is_refused() {
    let told = chaos_spec::parse("f.yaml", b"a: 1\nb: \xff\xfe\n")
        .expect_err("not UTF-8")
        .to_string();
    assert_eq!(
        told,
        "f.yaml:2:1: this is not UTF-8 text – save the file as UTF-8"
    );
}

/// Limits with room for a slow, busy machine: the point is that nothing is quadratic.
#[test]
fn large_honest_input_is_read_quickly() {
    let started = Instant::now();
    let many: Vec<_> = (0..65_536u32)
        .map(|n| format!("10.{}.{}.{}", n >> 16, (n >> 8) & 255, n & 255))
        .collect();
    let traffic = format!(
        "traffic: {{remote: {{cidrs: [{}], except: [10.0.255.0/24]}}}}",
        many.join(", ")
    );
    let told = Parts {
        traffic: &traffic,
        ..GOOD
    }
    .messages();
    assert_eq!(
        told.lines().count(),
        256,
        "one for each address that `except` takes away"
    );

    let documents: Vec<_> = (0..1000)
        .map(|n| GOOD.text().replace("name: a", &format!("name: f{n}")))
        .collect();
    let faults = chaos_spec::parse("f.yaml", documents.join("---\n").as_bytes()).expect("good");
    let items: Vec<_> = faults.into_iter().map(|located| located.fault).collect();
    let body = serde_json::to_vec(&chaos_spec::api::Submission { items }).expect("JSON");
    assert_eq!(chaos_spec::parse_body(&body).expect("good").len(), 1000);
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
}
