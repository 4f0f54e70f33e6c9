//! The small values: what they accept, how they show themselves, and what their numbers are.

use chaos_spec::{ByteSize, Chance, Cidr, Duration, Hostname, PortRange, Rate};
use proptest::prelude::*;

#[track_caller]
fn shown<T: std::str::FromStr<Err: std::fmt::Debug> + std::fmt::Display>(cases: &[(&str, &str)]) {
    for (written, canonical) in cases {
        let value: T = written
            .parse()
            .unwrap_or_else(|error| panic!("{written}: {error:?}"));
        assert_eq!(value.to_string(), *canonical, "{written}");
    }
}

#[test]
fn canonical_forms() {
    shown::<Chance>(&[
        ("30%", "30%"),
        ("0.50%", "0.5%"),
        (".5%", "0.5%"),
        ("005%", "5%"),
        ("100.000%", "100%"),
        ("+1 %", "1%"),
        ("-0%", "0%"),
        ("33.333333333%", "33.333333333%"),
        (" 5% ", "5%"),
    ]);
    shown::<Duration>(&[
        ("5m", "5m"),
        ("90s", "1m 30s"),
        ("1h 5ms", "1h 5ms"),
        ("0s", "0s"),
        ("30days", "30days"),
        ("24h", "1day"),
        ("1500us", "1ms 500us"),
        ("7ns", "7ns"),
    ]);
    shown::<PortRange>(&[
        ("8080", "8080"),
        ("6000-6010", "6000-6010"),
        (" 1 - 65535 ", "1-65535"),
        ("7-7", "7"),
    ]);
    shown::<Cidr>(&[
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7/32", "192.0.2.7"),
        ("FD00::/8", "fd00::/8"),
        ("::1", "::1"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ]);
    shown::<Hostname>(&[
        ("DB.example.com.", "db.example.com"),
        ("localhost", "localhost"),
        ("_sip._tcp.a", "_sip._tcp.a"),
    ]);
    shown::<Rate>(&[
        ("10mbit", "10mbit"),
        ("1000kbit", "1mbit"),
        ("1500 bit", "1500bit"),
        ("1GBIT", "1gbit"),
        ("0bit", "0bit"),
    ]);
    shown::<ByteSize>(&[
        ("32KiB", "32KiB"),
        ("1500B", "1500B"),
        ("1024KiB", "1MiB"),
        ("2mb", "2MB"),
        ("1000B", "1kB"),
    ]);
}

#[test]
fn refused_quantities() {
    for (written, expected) in [
        (
            "10",
            "`10` has no unit – write a unit behind it: `bit`, `kbit`, `mbit`, `gbit` or `tbit` (per second)",
        ),
        (
            "10mb",
            "`mb` in `10mb` is not a unit – write one of `bit`, `kbit`, `mbit`, `gbit` or `tbit` (per second)",
        ),
        (
            "1.5mbit",
            "`1.5mbit` does not begin with a whole number – write for example `10mbit`",
        ),
        (
            "99999999999tbit",
            "`99999999999tbit` is too large to count – write a smaller number",
        ),
    ] {
        assert_eq!(written.parse::<Rate>().expect_err(written).to_string(), expected);
    }
}

#[test]
fn thresholds_are_exact_where_it_matters() {
    let threshold = |text: &str| text.parse::<Chance>().expect(text).threshold();
    assert_eq!(threshold("0%"), 0);
    assert_eq!(threshold("100%"), 1 << 32);
    assert_eq!(threshold("50%"), 1 << 31);
    assert_eq!(threshold("25%"), 1 << 30);
    assert_eq!(threshold("30%"), 1_288_490_189);
    assert_eq!(threshold("0.000000001%"), 1, "hardly ever is not never");
    assert_eq!(
        threshold("99.999999999%"),
        (1 << 32) - 1,
        "nearly always is not always"
    );
    assert_eq!(Chance::percent(101), None);
    assert_eq!(Chance::percent(100), Some(Chance::ALWAYS));
    assert_eq!(Chance::ALWAYS.complement(), Chance::NEVER);
}

/// A chance from its billionths of a percent.
fn chance(billionths: u64) -> Chance {
    format!(
        "{}.{:09}%",
        billionths / 1_000_000_000,
        billionths % 1_000_000_000
    )
    .parse()
    .expect("within 0% and 100%")
}

proptest! {
    #[test]
    fn thresholds_rise_with_the_chance(a in 0..=100_000_000_000u64, b in 0..=100_000_000_000u64) {
        let (low, high) = (chance(a.min(b)), chance(a.max(b)));
        prop_assert!(low <= high);
        prop_assert!(low.threshold() <= high.threshold());
        let exact = a as f64 / 100_000_000_000.0 * 4_294_967_296.0;
        prop_assert!((chance(a).threshold() as f64 - exact).abs() <= 1.0);
    }

    #[test]
    fn chances_show_what_they_read(billionths in 0..=100_000_000_000u64) {
        let value = chance(billionths);
        prop_assert_eq!(value.to_string().parse::<Chance>(), Ok(value));
    }

    #[test]
    fn durations_show_what_they_read(nanos in 0..=10_000_000_000_000_000u64) {
        let value = Duration::from(std::time::Duration::from_nanos(nanos));
        prop_assert_eq!(value.to_string().parse::<Duration>(), Ok(value));
    }

    #[test]
    fn rates_show_what_they_read(bits in any::<u64>()) {
        let text = format!("{bits}bit");
        let value: Rate = text.parse().expect("a rate");
        prop_assert_eq!(value.bits_per_second(), bits);
        prop_assert_eq!(value.to_string().parse::<Rate>(), Ok(value));
    }

    #[test]
    fn nothing_makes_a_value_panic(text in "\\PC{0,24}|[-+0-9.%a-z:/ ]{0,24}") {
        let _ = text.parse::<Chance>();
        let _ = text.parse::<Duration>();
        let _ = text.parse::<PortRange>();
        let _ = text.parse::<Cidr>();
        let _ = text.parse::<Hostname>();
        let _ = text.parse::<Rate>();
        let _ = text.parse::<ByteSize>();
    }
}
