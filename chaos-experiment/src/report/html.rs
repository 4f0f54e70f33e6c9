use std::fmt::Write as _;

use chaos_spec::api::ExperimentView;

use super::junit::escaped;
use super::plot::plot;
use super::{acted_on, is_good, lasted, ms, score, share, verdict};

const STYLE: &str = "
:root{--ink:#1c2430;--faint:#667085;--line:#d9dee7;--paper:#fff;--soft:#f5f7fa;--good:#157f4a;--bad:#b42318;--fault:#f79009}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--faint:#98a2b3;--line:#344054;--paper:#12161d;--soft:#1b212b;--good:#47cd89;--bad:#f97066;--fault:#fdb022}}
*{box-sizing:border-box}body{margin:0 auto;max-width:62rem;padding:2rem 1.25rem 4rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
h1{font-size:1.6rem;margin:0 0 .25rem}h2{font-size:1.15rem;margin:2.25rem 0 .5rem}
.badge{display:inline-block;padding:.15rem .7rem;border-radius:1rem;color:#fff;font-weight:600}.badge.good{background:var(--good)}.badge.bad{background:var(--bad)}
.hypothesis{margin:1rem 0;padding:.6rem 1rem;border-left:4px solid var(--line);background:var(--soft)}
table{border-collapse:collapse;width:100%;font-size:.92rem}th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}th{color:var(--faint);font-weight:600}th.n{text-align:right}td.n{text-align:right;font-variant-numeric:tabular-nums}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem;margin:1rem 0}.facts div{background:var(--soft);border-radius:.5rem;padding:.6rem .9rem}.facts b{display:block;font-size:1.25rem}.facts span{color:var(--faint);font-size:.85rem}
svg{width:100%;height:auto;background:var(--soft);border-radius:.5rem}svg text{font:11px system-ui,sans-serif;fill:var(--faint)}
.grid{stroke:var(--line)}.limit{stroke:var(--bad);stroke-dasharray:4 3}text.limit{fill:var(--bad);stroke:none}.ok{fill:var(--good);opacity:.75}.bad{fill:var(--bad)}.fault{fill:var(--fault);opacity:.18}
.warn{color:var(--bad)}.faint{color:var(--faint)}footer{margin-top:3rem;color:var(--faint);font-size:.85rem}
";

/// A page that needs nothing but itself: no network, no scripts.
pub fn html(view: &ExperimentView) -> String {
    let status = &view.status;
    let name = escaped(view.name());
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>{name}: {}</title><style>{STYLE}</style></head><body>\n",
        escaped(&verdict(status))
    );
    let class = if is_good(status.outcome) { "good" } else { "bad" };
    let _ = writeln!(
        page,
        "<h1>{name}</h1><p><span class=\"badge {class}\">{}</span></p>\
         <p class=\"hypothesis\">{}</p>",
        escaped(&verdict(status)),
        escaped(&view.spec.hypothesis)
    );
    if let Some(message) = &status.message {
        let _ = writeln!(page, "<p>{}</p>", escaped(message));
    }
    facts(view, &mut page);
    for warning in &status.warnings {
        let _ = writeln!(page, "<p class=\"warn\">⚠ {}</p>", escaped(warning));
    }
    page.push_str("<h2>Probes</h2>\n");
    for probe in &status.probes {
        let (class, said) = match &probe.deviation {
            None => ("good", "held".to_owned()),
            Some(why) => ("bad", escaped(why)),
        };
        let _ = writeln!(
            page,
            "<h3>{} <span class=\"badge {class}\">{said}</span></h3><p class=\"faint\">{} – {}</p>",
            escaped(&probe.name),
            escaped(&probe.probe),
            escaped(&probe.expect.join(", "))
        );
        if let Some(svg) = plot(view, probe) {
            page.push_str(&svg);
        }
        page.push_str(
            "<table><tr><th></th><th class=\"n\">samples</th><th class=\"n\">well</th><th class=\"n\">p50</th>\
             <th class=\"n\">p95</th><th class=\"n\">p99</th><th class=\"n\">max</th></tr>",
        );
        for (phase, seen) in [
            ("before", &probe.baseline),
            ("during", &probe.during),
            ("after", &probe.after),
        ] {
            let _ = write!(
                page,
                "<tr><td>{phase}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
                 <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                seen.samples,
                share(seen),
                ms(seen.p50_ms),
                ms(seen.p95_ms),
                ms(seen.p99_ms),
                ms(seen.max_ms)
            );
        }
        page.push_str("</table>\n");
        let failures: Vec<String> = probe
            .during
            .failures
            .iter()
            .map(|(why, count)| format!("{count} × {}", escaped(why)))
            .collect();
        if !failures.is_empty() {
            let _ = writeln!(page, "<p class=\"faint\">{}</p>", failures.join("<br>"));
        }
    }
    what_was_done(view, &mut page);
    let _ = writeln!(
        page,
        "<footer>run {} by {}, seed {}, started {}</footer></body></html>",
        escaped(&view.id),
        escaped(&status.by),
        status.seed,
        status
            .started_at
            .map_or_else(|| "–".to_owned(), |at| at.to_string())
    );
    page
}

fn facts(view: &ExperimentView, page: &mut String) {
    let status = &view.status;
    let mut rest = Vec::new();
    rest.push((lasted(status.started_at, status.ended_at), "from start to end"));
    if let Some(score) = score(view) {
        rest.push((format!("{:.0}", score.total), "resilience score of 100"));
    }
    if let Some(abort) = &status.abort {
        rest.push((ms(abort.restored_ms), "from the deciding sample to no fault"));
    }
    if let Some(recovery) = &status.recovery {
        rest.push((
            recovery
                .took_ms
                .map_or_else(|| "not in time".to_owned(), |took| ms(Some(took))),
            "until all was well again",
        ));
    }
    let matched: u64 = acted_on(view).map(|(_, matched, _)| matched).sum();
    rest.push((matched.to_string(), "packets matched"));
    page.push_str("<div class=\"facts\">");
    for (value, what) in rest {
        let _ = write!(page, "<div><b>{}</b><span>{what}</span></div>", escaped(&value));
    }
    page.push_str("</div>\n");
}

fn what_was_done(view: &ExperimentView, page: &mut String) {
    let status = &view.status;
    let Some(start) = status.started_at else { return };
    page.push_str("<h2>What was done</h2><table><tr><th class=\"n\">at</th><th>step</th><th></th><th class=\"n\">for</th></tr>");
    for step in &status.steps {
        let _ = write!(
            page,
            "<tr><td class=\"n\">{:.1} s</td><td>{}</td><td>{}</td><td class=\"n\">{}</td></tr>",
            step.started_at.duration_since(start).as_secs_f64(),
            escaped(&step.name),
            escaped(&step.settings),
            lasted(Some(step.started_at), step.ended_at)
        );
    }
    page.push_str("</table>\n<h2>Faults</h2><table><tr><th>fault</th><th>what it does</th><th class=\"n\">matched</th><th class=\"n\">acted on</th><th>gone</th></tr>");
    for (fault, (_, matched, acted)) in status.faults.iter().zip(acted_on(view)) {
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{matched}</td><td class=\"n\">{acted}</td><td>{}</td></tr>",
            escaped(&fault.name),
            escaped(&fault.what),
            if fault.gone {
                "yes"
            } else {
                "<b class=\"warn\">no</b>"
            }
        );
    }
    page.push_str("</table>\n");
}
