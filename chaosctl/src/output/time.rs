use chaos_spec::api::{Phase, Status};
use jiff::Timestamp;

/// Time left until the deadline, as `4m 12s`; `-` when it has ended or has not begun.
pub(crate) fn left(status: &Status, now: Timestamp) -> String {
    match (status.phase, status.ends_at) {
        (Phase::Active, Some(end)) => span(end.duration_since(now).as_millis()),
        _ => "-".to_owned(),
    }
}

/// How long ago, as `4m 12s`.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(then).as_millis())
}

/// At most two units; tenths below ten seconds.
pub(super) fn span(milliseconds: i128) -> String {
    let milliseconds = u64::try_from(milliseconds).unwrap_or(0);
    let seconds = milliseconds / 1000;
    match seconds {
        0..10 => format!("{}.{}s", seconds, milliseconds % 1000 / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn two_units_at_most() {
        assert_eq!(span(-5), "0.0s");
        assert_eq!(span(4_260), "4.2s");
        assert_eq!(span(59_999), "59s");
        assert_eq!(span(252_000), "4m 12s");
        assert_eq!(span(3_600_000 * 25 + 60_000), "1d 1h");
    }
}
