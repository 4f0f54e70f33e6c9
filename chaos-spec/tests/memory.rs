//! What a large text may cost, in memory and in time: the daemon reads texts of whoever may ask it for a plan. One
//! test, alone in its program: the allocator counts for all threads. With CHAOS_TEST_ALL the texts are as large as any
//! that is read, else 1/128 of it.

use std::time::Duration;

use chaos_spec::{Diagnostics, MAX_TEXT_BYTES};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Memory for one text: so much, whatever its length (what YAML's aliases may unfold to) …
const MOST: usize = 80 << 20;
/// … and so many times its length: a list of digits, two bytes each, becomes a tree.
const MOST_EACH: usize = 80;
/// Time for a text of the largest size, in a build that is shipped.
const LONGEST: Duration = Duration::from_secs(3);
/// How much slower a debug build is.
const SLOWER: u32 = if cfg!(debug_assertions) { 15 } else { 1 };

const HEAD: &str = "apiVersion: chaos-daemon.dev/v1alpha1\nkind: NetworkFault\nmetadata: {name: a}\nspec:\n  target: {netns: blue}\n  duration: 5m\n";

/// `piece` as often as it fits beside `head` and `tail`.
fn filled(size: usize, head: &str, piece: impl Fn(usize) -> String, tail: &str) -> Vec<u8> {
    let room = size - head.len() - tail.len();
    let mut text = head.to_owned();
    let mut number = 0;
    loop {
        let piece = piece(number);
        if text.len() + piece.len() > head.len() + room {
            break;
        }
        text.push_str(&piece);
        number += 1;
    }
    text.push_str(tail);
    text.into_bytes()
}

fn same(piece: &str) -> impl Fn(usize) -> String {
    move |_| piece.to_owned()
}

fn texts(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let fault = r#"{"apiVersion":"chaos-daemon.dev/v1alpha1","kind":"NetworkFault","metadata":{"name":"a"},"spec":{"target":{"netns":"blue"},"#;
    let faulty = |traffic: &str| {
        format!("{fault}\"fault\":{{\"partition\":{{}}}},\"duration\":\"5m\",\"traffic\":{traffic}")
    };
    let remote = faulty(r#"{"remote":{"#);
    let ports = format!("{remote}\"ports\":[1");
    let cidrs = format!("{remote}\"cidrs\":[\"::1\"");
    let excepts = format!("{remote}\"cidrs\":[\"10.0.0.0/8\"],\"except\":[\"10.0.0.0/9\"");
    let health = format!(
        "{fault}\"fault\":{{\"partition\":{{}}}},\"duration\":\"5m\",\"safety\":{{\"health\":[{{\"tcp\":{{\"address\":\"a:1\"}}}}"
    );
    let aliases = |count: usize| {
        let room = size - 5 * count;
        format!(
            "a: &a {}\nb: [{}]\n",
            "x".repeat(room),
            vec!["*a"; count].join(", ")
        )
    };
    let nested = {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..30 {
            let below = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        text
    };
    vec![
        ("a list of nothing", filled(size, "[", same("0,"), "0]")),
        (
            "items of nothing",
            filled(size, r#"{"items":["#, same("0,"), "0]}"),
        ),
        (
            "items of nearly nothing",
            filled(size, r#"{"items":["#, same("{},"), "{}]}"),
        ),
        (
            "items with unknown fields",
            filled(size, r#"{"items":[{"#, |n| format!("\"{n}\":0,"), "\"x\":0}]}"),
        ),
        (
            "faults of one name",
            filled(
                size,
                r#"{"items":["#,
                same(&format!("{}}}}},", faulty("{}"))),
                "0]}",
            ),
        ),
        (
            "many faults",
            filled(
                size,
                r#"{"items":["#,
                |n| format!("{}}}}},", faulty("{}").replace("\"a\"", &format!("\"a{n}\""))),
                &format!("{}}}}}]}}", faulty("{}")),
            ),
        ),
        (
            "ports",
            filled(size, &ports, |n| format!(",{}", n % 65_535 + 1), "]}}}}"),
        ),
        (
            "ranges of ports",
            filled(
                size,
                &ports,
                |n| format!(",\"{}-65535\"", n % 65_535 + 1),
                "]}}}}",
            ),
        ),
        (
            "networks",
            filled(
                size,
                &cidrs,
                |n| format!(",\"10.{}.{}.{}\"", n >> 16 & 255, n >> 8 & 255, n & 255),
                "]}}}}",
            ),
        ),
        (
            "excepted networks",
            filled(
                size,
                &excepts,
                |n| format!(",\"10.{}.{}.{}\"", n >> 16 & 255, n >> 8 & 255, n & 255),
                "]}}}}",
            ),
        ),
        (
            "checks",
            filled(
                size,
                &health,
                |n| format!(",{{\"name\":\"n{n}\",\"tcp\":{{\"address\":\"a:1\"}}}}"),
                "]}}}",
            ),
        ),
        ("a key", filled(size, "{\"", same("k"), "\":0}")),
        ("keys", filled(size, "{", |n| format!("\"{n}\":0,"), "\"x\":0}")),
        ("a word", filled(size, "{\"kind\":\"", same("k"), "\"}")),
        ("brackets", filled(size, "", same("["), "")),
        ("braces in JSON", filled(size, "", same("{\"a\":"), "")),
        ("dashes", filled(size, "", same("- "), "")),
        ("documents", filled(size, "", same("---\n"), "")),
        ("documents of a number", filled(size, "", same("--- 1\n"), "")),
        ("lines of a list", filled(size, HEAD, same("- 1\n"), "")),
        ("comments", filled(size, HEAD, same("#\n"), "")),
        ("anchors", filled(size, "a: [", |n| format!("&a{n} 1,"), "1]")),
        ("a long text many times", aliases(99).into_bytes()),
        ("a long text very many times", aliases(1000).into_bytes()),
        ("aliases of aliases", nested.into_bytes()),
        ("numbers", filled(size, "[", same("1e400,"), "1]")),
        ("quotes", filled(size, "", same("\""), "")),
        ("no text", vec![0xff; size]),
        ("nothing", vec![0; size]),
    ]
}

#[test]
fn large_texts_cost_bounded_memory_and_time() {
    let is_full = std::env::var_os("CHAOS_TEST_ALL").is_some();
    let size = if is_full {
        MAX_TEXT_BYTES
    } else {
        MAX_TEXT_BYTES >> 7
    };
    let mut found = Vec::new();
    for (what, text) in texts(size) {
        assert!(text.len() <= MAX_TEXT_BYTES, "{what}: {} bytes", text.len());
        let mut read = |how: &str, work: &dyn Fn() -> usize| {
            let before = ALLOCATOR.current_usage();
            ALLOCATOR.reset_peak_usage();
            let (faults, took) = chaos_fuzz::timed(work);
            let cost = ALLOCATOR.peak_usage().saturating_sub(before);
            let told = format!("{what} as {how}: {} KiB, {took:?}, {faults} faults", cost >> 10);
            println!("{told}");
            if cost > MOST + MOST_EACH * text.len() || took > LONGEST * SLOWER {
                found.push(told);
            }
        };
        // What is wrong is told as well: that must not cost more than the text.
        let told = |wrong: Diagnostics| drop(wrong.to_string());
        read("body", &|| {
            chaos_spec::parse_body(&text).map_or_else(|wrong| (told(wrong), 0).1, |faults| faults.len())
        });
        read("yaml", &|| {
            chaos_spec::parse("f.yaml", &text).map_or_else(|wrong| (told(wrong), 0).1, |faults| faults.len())
        });
    }
    assert!(found.is_empty(), "{found:#?}");
}
