//! One probe over time, as SVG: every sample, the times in which faults acted, and the limits.

use std::fmt::Write as _;

use chaos_spec::api::{ExperimentView, Point, ProbeRun};
use jiff::Timestamp;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 10.0;

struct Scale {
    from: f64,
    to: f64,
    most: f64,
}

impl Scale {
    fn x(&self, at: f64) -> f64 {
        LEFT + (at - self.from) / (self.to - self.from) * (WIDTH - LEFT - 8.0)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - value.clamp(0.0, self.most) / self.most * (HEIGHT - BOTTOM - TOP)
    }
}

/// The picture; none when nothing was seen.
pub(super) fn plot(view: &ExperimentView, probe: &ProbeRun) -> Option<String> {
    let first = probe.series.first()?;
    let last = probe.series.last()?;
    let is_value = probe.series.iter().any(|point| point.value.is_some());
    let of = |point: &Point| {
        if is_value {
            point.value.unwrap_or(0.0)
        } else {
            point.took_ms
        }
    };
    let limits = limits(probe, is_value);
    let highest = probe
        .series
        .iter()
        .map(of)
        .chain(limits.iter().map(|(_, limit)| *limit));
    let most = highest.fold(0.0, f64::max).max(1e-9) * 1.1;
    let scale = Scale {
        from: first.at_ms.min(0.0),
        to: last.at_ms.max(first.at_ms + 1.0),
        most,
    };
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        super::junit::escaped(&probe.name)
    );
    shade(view, &scale, &mut svg);
    let unit = if is_value { "" } else { " ms" };
    for part in [0.0, 0.5, 1.0] {
        let value = most / 1.1 * part;
        let y = scale.y(value);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}{unit}</text>",
            LEFT - 4.0,
            y + 4.0,
            rounded(value)
        );
    }
    for (name, limit) in &limits {
        let y = scale.y(*limit);
        let _ = write!(
            svg,
            "<line class=\"limit\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"limit\" x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - 4.0,
            y - 4.0,
            super::junit::escaped(name)
        );
    }
    for point in &probe.series {
        let (x, y) = (scale.x(point.at_ms), scale.y(of(point)));
        let class = if point.ok { "ok" } else { "bad" };
        let _ = write!(
            svg,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\"/>"
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{LEFT}\" y=\"{:.0}\">0 s</text><text x=\"{WIDTH}\" y=\"{:.0}\" text-anchor=\"end\">{:.1} s</text></svg>",
        HEIGHT - 6.0,
        HEIGHT - 6.0,
        scale.to / 1000.0
    );
    Some(svg)
}

/// The times in which a fault acted.
fn shade(view: &ExperimentView, scale: &Scale, svg: &mut String) {
    let Some(start) = view.status.started_at else {
        return;
    };
    let since = |at: Timestamp| at.duration_since(start).as_secs_f64() * 1000.0;
    for step in view.status.steps.iter().filter(|step| step.fault.is_some()) {
        let from = scale.x(since(step.started_at).clamp(scale.from, scale.to));
        let to = scale.x(step.ended_at.map_or(scale.to, since).clamp(scale.from, scale.to));
        let _ = write!(
            svg,
            "<rect class=\"fault\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"><title>{} {}</title></rect>",
            (to - from).max(1.0),
            HEIGHT - BOTTOM - TOP,
            super::junit::escaped(&step.name),
            super::junit::escaped(&step.settings)
        );
    }
}

/// Limits that are numbers on this axis: `p95 <= 450ms`, `value <= 0.5`.
fn limits(probe: &ProbeRun, is_value: bool) -> Vec<(String, f64)> {
    let limit = |text: &String| {
        let (_, bound) = text.split_once(['<', '>', '='])?;
        let bound = bound.trim_start_matches(['<', '>', '=']).trim();
        let number = if is_value {
            text.starts_with("value").then(|| bound.parse().ok())??
        } else {
            bound.parse::<chaos_spec::Duration>().ok()?.as_std().as_secs_f64() * 1000.0
        };
        Some((text.clone(), number))
    };
    probe.expect.iter().filter_map(limit).collect()
}

fn rounded(value: f64) -> String {
    if value <= 0.0 {
        "0".to_owned()
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}
