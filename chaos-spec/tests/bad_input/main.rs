//! Bad input and the exact message each gets: file, line, column, path, reason, remedy.

mod answers;
mod form;
mod health;
mod limits;
mod meaning;
mod several;

/// The messages for a text, one a line.
fn messages(file: &str, text: &str) -> String {
    match chaos_spec::parse(file, text.as_bytes()) {
        Ok(_) => "no error".to_owned(),
        Err(diagnostics) => diagnostics.to_string(),
    }
}

const HEAD: &str = "\
apiVersion: chaos-daemon.dev/v1alpha1
kind: NetworkFault
metadata: {name: a}
spec:
";

/// A fault whose parts can be replaced: `target` is line 5, `traffic` line 6, `fault` line 7, `duration` line 8,
/// anything more line 9. All values begin in column 12 or later.
#[derive(Clone, Copy)]
struct Parts<'a> {
    target: &'a str,
    traffic: &'a str,
    fault: &'a str,
    duration: &'a str,
    more: &'a str,
}

const GOOD: Parts<'static> = Parts {
    target: "target: {netns: blue}",
    traffic: "traffic: {protocol: tcp}",
    fault: "fault: {partition: {}}",
    duration: "duration: 5m",
    more: "",
};

impl Parts<'_> {
    fn text(self) -> String {
        let Self {
            target,
            traffic,
            fault,
            duration,
            more,
        } = self;
        let lines = [target, traffic, fault, duration, more];
        lines
            .iter()
            .fold(HEAD.to_owned(), |text, line| format!("{text}  {line}\n"))
    }

    fn messages(self) -> String {
        messages("f.yaml", &self.text())
    }
}

#[track_caller]
fn check(cases: &[(Parts<'_>, &str)]) {
    for (parts, expected) in cases {
        assert_eq!(
            parts.messages(),
            format!("f.yaml:{expected}"),
            "for\n{}",
            parts.text()
        );
    }
}

const fn target(target: &str) -> Parts<'_> {
    Parts { target, ..GOOD }
}

const fn traffic(traffic: &str) -> Parts<'_> {
    Parts { traffic, ..GOOD }
}

const fn fault(fault: &str) -> Parts<'_> {
    Parts { fault, ..GOOD }
}

const fn duration(duration: &str) -> Parts<'_> {
    Parts { duration, ..GOOD }
}

const fn more(more: &str) -> Parts<'_> {
    Parts { more, ..GOOD }
}

#[test]
fn the_good_parts_are_good() {
    assert_eq!(GOOD.messages(), "no error");
}
