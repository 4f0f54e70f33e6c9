use std::fmt::Write as _;

use chaos_spec::api::ExperimentView;

use super::is_good;

/// One test suite with a case for each probe, one for the outcome and one for the recovery: JUnit's XML, as CI
/// systems read it.
pub fn junit(view: &ExperimentView) -> String {
    let status = &view.status;
    let name = escaped(view.name());
    let mut cases: Vec<(String, Option<String>)> = status
        .probes
        .iter()
        .map(|probe| (format!("probe {}", probe.name), probe.deviation.clone()))
        .collect();
    let message = status.message.clone().unwrap_or_default();
    let outcome = status.outcome.map_or("under way", |outcome| outcome.words());
    cases.push((
        "hypothesis".to_owned(),
        (!is_good(status.outcome)).then(|| format!("{outcome}: {message}")),
    ));
    if let Some(recovery) = &status.recovery {
        let failed = recovery.took_ms.is_none().then(|| recovery.lacking.join("; "));
        cases.push(("recovery".to_owned(), failed));
    }
    let failures = cases.iter().filter(|(_, failed)| failed.is_some()).count();
    let seconds = match (status.started_at, status.ended_at) {
        (Some(from), Some(to)) => to.duration_since(from).as_secs_f64(),
        _ => 0.0,
    };
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let _ = writeln!(
        xml,
        "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{failures}\" time=\"{seconds:.3}\">",
        cases.len()
    );
    for (case, failed) in cases {
        let case = escaped(&case);
        let _ = match failed {
            None => writeln!(xml, "    <testcase classname=\"{name}\" name=\"{case}\"/>"),
            Some(why) => writeln!(
                xml,
                "    <testcase classname=\"{name}\" name=\"{case}\"><failure message=\"{}\"/></testcase>",
                escaped(&why)
            ),
        };
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// As HTML and XML want it, in text and in attributes; what XML does not allow at all is left out.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push(' '),
            '\u{fffe}' | '\u{ffff}' => {}
            c => escaped.push(c),
        }
    }
    escaped
}
