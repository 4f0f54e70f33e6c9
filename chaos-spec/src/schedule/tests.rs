use jiff::SignedDuration;

use super::*;
use crate::Diagnostics;

const MISSION: &str = "---\napiVersion: chaos-daemon.dev/v1alpha1\nkind: Mission\nmetadata: {name: orders}\n\
    spec: {entry: dns-slow, targets: [{netns: blue}]}\n";

fn schedule(spec: &str) -> Result<LocatedSchedule, Diagnostics> {
    let text = format!(
        "apiVersion: chaos-daemon.dev/v1alpha1\nkind: Schedule\nmetadata: {{name: weekly}}\nspec: {{{spec}}}\n{MISSION}"
    );
    parse_schedule("weekly.yaml", text.as_bytes())
}

fn spec(text: &str) -> ScheduleSpec {
    schedule(text).unwrap().schedule.spec
}

fn wrong(text: &str) -> String {
    schedule(text).unwrap_err().to_string()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const PROMPT: SignedDuration = SignedDuration::ZERO;

#[test]
fn the_clock_of_a_place_says_when_it_is_due_also_where_summer_begins() {
    let weekdays = spec(r#"cron: "30 10 * * mon-fri", timeZone: Europe/Berlin"#);
    // Friday; then Monday, and the clocks were changed in between.
    assert_eq!(
        weekdays.after(at("2026-03-27T09:30:00Z")),
        Some(at("2026-03-30T08:30:00Z"))
    );
    let gap = spec(r#"cron: "30 2 * * *", timeZone: Europe/Berlin"#);
    // Half past two does not exist on that day: it is due all the same, once.
    let first = gap.after(at("2026-03-28T12:00:00Z")).unwrap();
    assert_eq!(first.to_string(), "2026-03-29T01:00:00Z");
    assert_eq!(gap.after(first), Some(at("2026-03-30T00:30:00Z")));
    let fold = spec(r#"cron: "30 2 * * *", timeZone: Europe/Berlin"#);
    let first = fold.after(at("2026-10-24T12:00:00Z")).unwrap();
    assert_eq!(
        fold.after(first),
        Some(at("2026-10-26T01:30:00Z")),
        "and once where it comes twice"
    );
}

#[test]
fn what_is_due_begins_what_was_missed_is_counted_and_a_clock_that_goes_back_begins_nothing_twice() {
    let hourly = spec(r#"cron: "0 * * * *""#);
    let ten = at("2026-11-21T10:00:00Z");
    assert_eq!(
        hourly.due(ten, PROMPT, at("2026-11-21T09:59:59Z")),
        Due::Later(Some(ten))
    );
    let begin = |of: &str, missed, verdict| Due::Now {
        of: at(of),
        missed,
        verdict,
    };
    assert_eq!(
        hourly.due(ten, PROMPT, at("2026-11-21T10:00:30Z")),
        begin("2026-11-21T10:00:00Z", 0, Verdict::Begin)
    );
    let late = hourly.due(ten, PROMPT, at("2026-11-21T13:30:00Z"));
    let why = "4 were missed, and are not made up for".to_owned();
    assert_eq!(late, begin("2026-11-21T13:00:00Z", 4, Verdict::Skip(why)));
    let once = spec(r#"cron: "0 * * * *", missed: RunOnce"#);
    assert_eq!(
        once.due(ten, PROMPT, at("2026-11-21T13:30:00Z")),
        begin("2026-11-21T13:00:00Z", 4, Verdict::Begin)
    );
    // Three were missed, and the last is in time.
    assert_eq!(
        hourly.due(ten, PROMPT, at("2026-11-21T13:00:10Z")),
        begin("2026-11-21T13:00:00Z", 3, Verdict::Begin)
    );
    let jitter = SignedDuration::from_mins(5);
    assert_eq!(
        hourly.due(ten, jitter, at("2026-11-21T10:04:00Z")),
        Due::Later(Some(at("2026-11-21T10:05:00Z")))
    );
    assert_eq!(
        hourly.due(at("2026-11-21T11:00:00Z"), PROMPT, at("2026-11-21T09:00:00Z")),
        Due::Later(Some(at("2026-11-21T11:00:00Z"))),
        "the clock was turned back after the one of ten"
    );
}

#[test]
fn nothing_begins_in_a_blackout_outside_of_windows_or_while_suspended() {
    let due = |text: &str, now: &str| {
        let spec = spec(&format!(r#"cron: "* * * * *", {text}"#));
        match spec.due(at(now), PROMPT, at(now)) {
            Due::Now { verdict, .. } => verdict,
            later @ Due::Later(_) => panic!("{later:?}"),
        }
    };
    let span =
        r#"blackouts: [{begins: "2026-12-20T00:00:00Z", ends: "2027-01-02T00:00:00Z", why: holidays}]"#;
    assert_eq!(
        due(span, "2026-12-24T18:00:00Z"),
        Verdict::Skip("nothing begins in 2026-12-20T00:00:00Z to 2027-01-02T00:00:00Z (holidays)".to_owned())
    );
    assert_eq!(due(span, "2026-12-19T18:00:00Z"), Verdict::Begin);
    let nights = r#"blackouts: [{from: "22:00", to: "06:00", timeZone: Europe/Berlin}]"#;
    assert_eq!(due(nights, "2026-12-01T12:00:00Z"), Verdict::Begin);
    assert!(matches!(due(nights, "2026-12-01T21:30:00Z"), Verdict::Skip(_)));
    let window = r#"windows: [{days: [mon-fri], from: "10:00", to: "16:00"}]"#;
    assert_eq!(due(window, "2026-12-01T12:00:00Z"), Verdict::Begin);
    assert_eq!(
        due(window, "2026-12-01T17:00:00Z"),
        Verdict::Skip("it may begin only mon-fri 10:00-16:00 UTC".to_owned())
    );
    assert_eq!(
        due("suspended: true", "2026-12-01T12:00:00Z"),
        Verdict::Skip("it is suspended".to_owned())
    );
}

#[test]
fn what_says_no_times_is_told_with_its_place() {
    for (text, told) in [
        (
            r#"cron: "often""#,
            "weekly.yaml:4:14: spec.cron: `often` says no times (",
        ),
        (r#"cron: "0 0 30 2 *""#, "that day never comes"),
        (r#"cron: "61 * * * *""#, "says no times"),
        (
            r#"cron: "0 * * * *", timeZone: Europe/Bonn"#,
            "`Europe/Bonn` is no time zone that is known",
        ),
        (
            r#"cron: "0 * * * *", startWithin: 0s"#,
            "spec.startWithin: everything would be missed",
        ),
        (
            r#"cron: "0 * * * *", blackouts: [{begins: "2026-12-20T00:00:00Z", ends: "2026-12-19T00:00:00Z"}]"#,
            "spec.blackouts[0]: it ends before it begins",
        ),
        (r#"cron: "0 * * * *", concurrency: allow"#, "spec.concurrency"),
    ] {
        let found = wrong(text);
        assert!(found.contains(told), "{text}: {found}");
    }
    let two = parse_schedule("two.yaml", MISSION.trim_start_matches("---\n").as_bytes()).unwrap_err();
    assert!(
        two.to_string().contains("there has to be one Schedule in it"),
        "{two}"
    );
}
