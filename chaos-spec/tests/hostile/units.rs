//! The small values: one word each.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use chaos_fuzz::{cases, corpus, damaged, documents};
use chaos_spec::policy::{ClockTime, Days, TimeZoneName};
use chaos_spec::{
    ByteSize, Chance, Cidr, DistributionTable, DnsName, DnsType, Duration, Endpoint, HostPattern, Hostname,
    HttpUrl, LatencyBound, Method, PathPattern, PortRange, Rate, ShareBound, StatusRange, ValueBound,
};
use proptest::prelude::*;

use crate::{check_one, folder, in_a_moment};

/// What is read is shown, and what is shown is read again as the same; what is refused says what to write.
fn read_as<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) {
    match in_a_moment(|| text.parse::<T>()) {
        Ok(value) => {
            let shown = value.to_string();
            let again = shown.parse::<T>();
            assert_eq!(
                again.ok().as_ref(),
                Some(&value),
                "`{text}` is shown as `{shown}`"
            );
        }
        Err(error) => {
            let (reason, remedy) = chaos_spec::units::split_remedy(&error.to_string());
            assert!(!reason.is_empty() && !remedy.is_empty(), "`{text}`: {error}");
        }
    }
}

fn read(text: &str) {
    read_as::<ByteSize>(text);
    read_as::<Chance>(text);
    read_as::<Cidr>(text);
    read_as::<ClockTime>(text);
    read_as::<Days>(text);
    read_as::<DnsName>(text);
    read_as::<DnsType>(text);
    read_as::<Duration>(text);
    read_as::<Endpoint>(text);
    read_as::<HostPattern>(text);
    read_as::<Hostname>(text);
    read_as::<HttpUrl>(text);
    read_as::<LatencyBound>(text);
    read_as::<Method>(text);
    read_as::<PathPattern>(text);
    read_as::<PortRange>(text);
    read_as::<Rate>(text);
    read_as::<ShareBound>(text);
    read_as::<StatusRange>(text);
    read_as::<TimeZoneName>(text);
    read_as::<ValueBound>(text);
}

fn words() -> Vec<Vec<u8>> {
    let words = [
        "30%",
        "M-SEARCH",
        "/pay/*/card*.json",
        "*.payments.example.com",
        "[2001:db8::1]",
        "_http._tcp.example.com.",
        "TYPE65",
        "0.5%",
        "5m",
        "1m 30s",
        "100ms",
        "10mbit",
        "32KiB",
        "10.0.0.0/8",
        "fd00::/8",
        "db.example.com",
        "6000-6010",
        "127.0.0.1:5432",
        "[::1]:80",
        "http://127.0.0.1:8080/healthz?a=b",
        "<= 200ms",
        ">= 99%",
        "!= 0.5",
        "2xx",
        "200-399",
        "mon-fri",
        "09:30",
        "Europe/Berlin",
    ];
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

#[test]
fn odd_words_are_read_or_refused() {
    for word in chaos_fuzz::nasty() {
        read(&String::from_utf8_lossy(&word));
    }
    assert!(
        "10.10.10.10.".parse::<Hostname>().is_err(),
        "an address with a dot behind it is an address"
    );
}

fn table(name: &str, text: &str) {
    match in_a_moment(|| DistributionTable::read(name, text)) {
        Ok(table) => {
            assert!((1..=DistributionTable::MOST).contains(&table.len()));
            assert!(table.iter().all(|offset| DistributionTable::may_be(*offset)));
        }
        Err(wrong) if wrong.message == "there is no offset in it" => assert!(!wrong.remedy.is_empty()),
        Err(wrong) => check_one(name, &wrong),
    }
}

#[test]
fn tables_of_the_corpus_are_read_or_refused() {
    for (name, text) in corpus(folder("tables")) {
        table(&name, &String::from_utf8_lossy(&text));
    }
}

proptest! {
    #![proptest_config(cases(600))]
    #[test]
    fn damaged_words_are_read_or_refused(text in damaged(words())) {
        read(&String::from_utf8_lossy(&text.0));
    }

    #[test]
    fn damaged_tables_are_read_or_refused(text in damaged(documents(folder("tables"))), tc: bool) {
        table(if tc { "x.dist" } else { "x.txt" }, &String::from_utf8_lossy(&text.0));
    }
}
