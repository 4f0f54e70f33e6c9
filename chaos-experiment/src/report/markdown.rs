use std::fmt::Write as _;

use chaos_spec::api::ExperimentView;

use super::{acted_on, is_good, lasted, ms, score, share, verdict};

/// A report that fits a comment on a pull request, with room for what people learnt.
pub fn markdown(view: &ExperimentView) -> String {
    let status = &view.status;
    let mut text = String::new();
    let mark = if is_good(status.outcome) { "✅" } else { "❌" };
    let _ = writeln!(text, "## {mark} {}: {}\n", plain(view.name()), verdict(status));
    let _ = writeln!(text, "> {}\n", plain(&view.spec.hypothesis));
    if let Some(message) = &status.message {
        let _ = writeln!(text, "{}\n", plain(message));
    }
    text.push_str("| probe | before | during | after | p95 before | p95 during | p95 after | expected | |\n");
    text.push_str("|---|---|---|---|---|---|---|---|---|\n");
    for probe in &status.probes {
        let said = match &probe.deviation {
            None => "held".to_owned(),
            Some(why) => plain(why),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {said} |",
            plain(&probe.name),
            share(&probe.baseline),
            share(&probe.during),
            share(&probe.after),
            ms(probe.baseline.p95_ms),
            ms(probe.during.p95_ms),
            ms(probe.after.p95_ms),
            plain(&probe.expect.join(", ")),
        );
    }
    text.push('\n');
    if !status.faults.is_empty() {
        text.push_str(
            "| fault | what it does | matched packets | acted on | gone |\n|---|---|---|---|---|\n",
        );
        for (fault, (_, matched, acted)) in status.faults.iter().zip(acted_on(view)) {
            let _ = writeln!(
                text,
                "| {} | {} | {matched} | {acted} | {} |",
                plain(&fault.name),
                plain(&fault.what),
                if fault.gone { "yes" } else { "**no**" },
            );
        }
        text.push('\n');
    }
    if let Some(abort) = &status.abort {
        let restored = ms(abort.restored_ms);
        let _ = writeln!(
            text,
            "* stopped early: {}; no fault acted any more after {restored}",
            plain(&abort.why)
        );
    }
    if let Some(recovery) = &status.recovery {
        let _ = match recovery.took_ms {
            Some(took) => writeln!(text, "* well again after {}", ms(Some(took))),
            None => writeln!(text, "* not well again within {}", view.spec.recovery.within),
        };
    }
    if let Some(score) = score(view) {
        let _ = writeln!(
            text,
            "* resilience score {:.0} of 100 (stayed well {:.2}, stayed quick {:.2}, came back {:.2})",
            score.total, score.well, score.quick, score.back
        );
    }
    for warning in &status.warnings {
        let _ = writeln!(text, "* ⚠ {}", plain(warning));
    }
    let _ = writeln!(
        text,
        "* run {} by {}, {}, seed {}",
        view.id,
        plain(&status.by),
        lasted(status.started_at, status.ended_at),
        status.seed
    );
    if status.outcome.is_some() && !is_good(status.outcome) {
        text.push_str(POST_MORTEM);
        let _ = writeln!(
            text,
            "**What happened.** {}\n",
            plain(status.message.as_deref().unwrap_or("–"))
        );
        text.push_str("**Who noticed, and how.** \n\n**Why.** \n\n**What we change, and who does it.** \n");
    }
    text
}

const POST_MORTEM: &str = "\n### To be learnt\n\n";

/// Text of others in a table: no pipes, no lines, no markup.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '`' | '*' | '_' | '<' | '>' | '[' | ']' | '\\' => {
                plain.push('\\');
                plain.push(c);
            }
            c if c.is_control() => plain.push(' '),
            c => plain.push(c),
        }
    }
    plain
}
