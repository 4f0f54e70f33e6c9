//! What a look-up asks for: a name and a type.

use std::fmt;
use std::str::FromStr;

use super::text_form;

/// A name as DNS knows it, in lower case: `api.example.com`; `*.example.com` for every name below, with any number of
/// labels in front; `*` for every name; `.` for the root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(String);

/// What kind of record is asked for: `A`, `AAAA`, `TXT`, or `TYPE123` by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsType(u16);

/// Why a text is no name, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsNameError {
    #[error("the name is empty – write for example `api.example.com`, or `.` for the root")]
    Empty,
    #[error("`{0}` has letters outside of ASCII – write it as it is asked for, in punycode: `xn--…`")]
    NotAscii(String),
    #[error(
        "`{0}` has a `*` that is no whole label on the left – write `*.example.com`, or `*` for every name"
    )]
    Star(String),
    #[error("`{0}` is no name: {1} – write a name such as `api.example.com`")]
    NotAName(String, &'static str),
}

/// Why a text is no type of record, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsTypeError {
    #[error(
        "`{0}` is no type of record – write one such as `A`, `AAAA` or `TXT`, or its number as `TYPE{1}`"
    )]
    NotAType(String, u16),
}

/// The most that a name may have on the wire, its last byte for the root included.
const MOST_WIRE: usize = 255;
const MOST_LABEL: usize = 63;

impl DnsName {
    /// Whether names below are meant, and not the name itself.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with('*')
    }

    /// Whether it is `*`, which stands for the root, too.
    pub fn is_every(&self) -> bool {
        self.0 == "*"
    }

    /// In wire format: each label behind its length, and the root's zero; without the wildcard. Of `*` the root alone.
    pub fn wire(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(self.0.len() + 2);
        for label in self.labels() {
            // At most 63: `from_str` has seen to it.
            wire.push(u8::try_from(label.len()).unwrap_or(0));
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        wire
    }

    /// Whether a name is meant, given in wire format without compression and in any case.
    pub fn matches(&self, wire: &[u8]) -> bool {
        if self.is_every() {
            return true;
        }
        let ours = self.wire();
        if !self.is_wildcard() {
            // Lengths are below any letter, so that the case of all bytes may be ignored.
            return wire.eq_ignore_ascii_case(&ours);
        }
        let mut rest = wire;
        while let Some((length, behind)) = rest.split_first()
            && *length > 0
        {
            let Some(behind) = behind.get(usize::from(*length)..) else {
                return false;
            };
            if behind.eq_ignore_ascii_case(&ours) {
                return true;
            }
            rest = behind;
        }
        false
    }

    fn labels(&self) -> impl Iterator<Item = &str> {
        let name = self.0.strip_prefix('*').unwrap_or(&self.0);
        name.split('.').filter(|label| !label.is_empty())
    }
}

impl FromStr for DnsName {
    type Err = DnsNameError;

    fn from_str(text: &str) -> Result<Self, DnsNameError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(DnsNameError::Empty);
        }
        if matches!(text, "." | "*") {
            return Ok(Self(text.to_owned()));
        }
        if !text.is_ascii() {
            return Err(DnsNameError::NotAscii(text.to_owned()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let below = name.strip_prefix("*.");
        let refuse = |why| Err(DnsNameError::NotAName(text.to_owned(), why));
        let mut wire = 1;
        for label in below.unwrap_or(name).split('.') {
            if label.is_empty() {
                return refuse("it has a label without letters");
            }
            if label.len() > MOST_LABEL {
                return refuse("a part between dots has more than 63 characters");
            }
            if label.contains('*') {
                return Err(DnsNameError::Star(text.to_owned()));
            }
            // Underscores are in names of services, slashes in those of reverse zones.
            if !label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'/'))
            {
                return refuse("only letters, digits, hyphens, underscores, slashes and dots are allowed");
            }
            wire += 1 + label.len();
        }
        if wire > MOST_WIRE {
            return refuse("it has more than 255 bytes on the wire");
        }
        Ok(Self(name.to_ascii_lowercase()))
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// In the order in which people ask for them.
const TYPES: [(&str, u16); 13] = [
    ("A", 1),
    ("AAAA", 28),
    ("CNAME", 5),
    ("MX", 15),
    ("TXT", 16),
    ("SRV", 33),
    ("PTR", 12),
    ("NS", 2),
    ("SOA", 6),
    ("HTTPS", 65),
    ("SVCB", 64),
    ("CAA", 257),
    ("ANY", 255),
];

impl DnsType {
    pub const A: Self = Self(1);
    pub const AAAA: Self = Self(28);

    /// As on the wire.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl FromStr for DnsType {
    type Err = DnsTypeError;

    fn from_str(text: &str) -> Result<Self, DnsTypeError> {
        let text = text.trim();
        let word = text.to_ascii_uppercase();
        if let Some((_, number)) = TYPES.iter().find(|(known, _)| *known == word) {
            return Ok(Self(*number));
        }
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse::<u16>().ok().filter(|number| plain && *number > 0)
        };
        match word.strip_prefix("TYPE").and_then(number) {
            Some(number) => Ok(Self(number)),
            None => Err(DnsTypeError::NotAType(
                text.to_owned(),
                number(&word).unwrap_or(65),
            )),
        }
    }
}

impl fmt::Display for DnsType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TYPES.iter().find(|(_, number)| *number == self.0) {
            Some((word, _)) => f.write_str(word),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

text_form!(DnsName, "a name such as `api.example.com`", {
    "type": "string",
    "description": "A name in DNS; `*.` on the left stands for all names below one, `*` for every name.",
    "maxLength": 256,
    "examples": ["api.example.com", "*.example.com", "*"]
});

text_form!(DnsType, "a type of record such as `AAAA`", {
    "type": "string",
    "description": "A type of record, or its number as `TYPE123`.",
    "pattern": "^\\s*[A-Za-z]+[0-9]{0,5}\\s*$",
    "examples": ["A", "AAAA", "TXT", "TYPE65"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_have_their_wire_format() {
        for (text, shown, wire, wildcard) in [
            (
                "API.Example.com.",
                "api.example.com",
                &b"\x03api\x07example\x03com\0"[..],
                false,
            ),
            ("*.Example.com", "*.example.com", b"\x07example\x03com\0", true),
            ("_http._tcp.a", "_http._tcp.a", b"\x05_http\x04_tcp\x01a\0", false),
            (
                "0/25.2.0.192.in-addr.arpa",
                "0/25.2.0.192.in-addr.arpa",
                b"\x040/25\x012\x010\x03192\x07in-addr\x04arpa\0",
                false,
            ),
            ("localhost", "localhost", b"\x09localhost\0", false),
            ("*", "*", b"\0", true),
            (".", ".", b"\0", false),
        ] {
            let name: DnsName = text.parse().unwrap();
            assert_eq!(name.to_string(), shown);
            assert_eq!(shown.parse::<DnsName>().unwrap(), name);
            assert_eq!(name.wire(), wire, "{text}");
            assert_eq!(name.is_wildcard(), wildcard, "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(62)].join(".");
        let fits = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        assert_eq!(fits.parse::<DnsName>().unwrap().wire().len(), 255);
        for (text, part) in [
            ("", "the name is empty"),
            ("münchen.example", "in punycode: `xn--…`"),
            ("a.*.example.com", "write `*.example.com`, or `*` for every name"),
            ("a*.example.com", "has a `*` that is no whole label on the left"),
            ("*.*.com", "has a `*` that is no whole label on the left"),
            ("**", "has a `*` that is no whole label on the left"),
            ("*.", "has a `*` that is no whole label on the left"),
            ("a..b", "it has a label without letters"),
            (".a", "it has a label without letters"),
            ("..", "it has a label without letters"),
            ("a b", "only letters, digits"),
            ("a\\.b", "only letters, digits"),
            (&"a".repeat(64), "more than 63 characters"),
            (&long, "more than 255 bytes"),
        ] {
            let said = text.parse::<DnsName>().expect_err(text).to_string();
            assert!(said.contains(part), "{text}: {said}");
        }
    }

    #[test]
    fn names_match_in_wire_format() {
        let name = |text: &str| text.parse::<DnsName>().unwrap();
        let asked = |text: &str| name(text).wire();
        assert!(name("a.example").matches(b"\x01A\x07eXample\0"));
        assert!(!name("a.example").matches(&asked("b.a.example")));
        let below = name("*.example.com");
        assert!(below.matches(&asked("a.example.com")) && below.matches(&asked("a.b.example.com")));
        assert!(!below.matches(&asked("example.com")) && !below.matches(&asked("anexample.com")));
        assert!(!below.matches(&asked("example.com.evil")) && !below.matches(b"\x3fexample"));
        // A label that holds what looks like the end of the name.
        assert!(!below.matches(b"\x0ca\x07example\x03com\0"));
        assert!(name("*").matches(&asked("a.b")) && name("*").matches(&asked(".")));
        assert!(name(".").matches(&asked(".")) && !name(".").matches(&asked("a")));
    }

    #[test]
    fn types_have_numbers() {
        for (text, shown, number) in [
            ("A", "A", 1),
            ("aaaa", "AAAA", 28),
            ("HTTPS", "HTTPS", 65),
            ("TYPE65", "HTTPS", 65),
            ("CAA", "CAA", 257),
            ("type123", "TYPE123", 123),
        ] {
            let kind: DnsType = text.parse().unwrap();
            assert_eq!((kind.to_string().as_str(), kind.number()), (shown, number));
        }
        assert_eq!(
            "28".parse::<DnsType>().unwrap_err().to_string(),
            "`28` is no type of record – write one such as `A`, `AAAA` or `TXT`, or its number as `TYPE28`"
        );
        for text in ["", "AAA", "TYPE", "TYPE0", "TYPE65536", "TYPE+1", "ÄÄ"] {
            assert!(
                text.parse::<DnsType>()
                    .unwrap_err()
                    .to_string()
                    .contains("write one"),
                "{text}"
            );
        }
    }
}
