//! What a request is chosen by: its method, its path, its host.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use super::{Hostname, text_form};

/// The method of a request: `GET`, `POST`, `M-SEARCH`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Method(String);

/// Paths with `*` for any bytes, `/` included: `/pay/*`, `*.json`, `/a/*/b`; without a `*`, exactly that path. The
/// query is no part of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPattern(String);

/// The name or address in a `Host` header, without its port: `payments.example.com`, `[2001:db8::1]`; or with a `*.`
/// on the left for all names below one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPattern(String);

/// Why a text is no method, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    #[error("`{0}` is not a method: they are in capitals – write `{meant}`", meant = .0.to_ascii_uppercase())]
    LowerCase(String),
    #[error(
        "`{0}` is not a method – write 1 to {most} capital letters or hyphens, such as `GET`",
        most = Method::MOST
    )]
    NotAMethod(String),
}

/// Why a text is no pattern of a path, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path is empty – write for example `/pay/*`, or leave it out")]
    Empty,
    #[error("`{0}` begins with neither `/` nor `*` – write `/{0}`")]
    Start(String),
    #[error("`{0}` has a query, which is never looked at – write the path alone, without `?` and `#`")]
    Query(String),
    #[error("`{0}` has characters that no path has on the wire – percent-encode them, such as `%20`")]
    NotOnTheWire(String),
    #[error("two `*` follow one another in `{0}` – write one: it stands for any bytes, `/` included")]
    TwoStars(String),
    #[error("`{text}` has {stars} `*` – write at most {most}", most = PathPattern::MOST_STARS)]
    TooManyStars { text: String, stars: usize },
    #[error("a path of {0} bytes is too long – write at most {most}, and `*` for the rest", most = PathPattern::MOST)]
    TooLong(usize),
}

/// Why a text is no pattern of a host, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error("`*` is every host – leave `host` out")]
    Every,
    #[error("`{0}` has a port – write the host alone; ports go under `traffic.remote.ports`")]
    Port(String),
    #[error("`{0}` has a `*` that is no whole label on the left – write `*.example.com`")]
    Star(String),
    #[error("`{0}` is no host name or address – write for example `payments.example.com`")]
    NotAHost(String),
    #[error("a host of {0} bytes is too long – write at most {most}", most = HostPattern::MOST)]
    TooLong(usize),
}

impl Method {
    /// The longest, in bytes.
    pub const MOST: usize = 8;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl FromStr for Method {
    type Err = MethodError;

    fn from_str(text: &str) -> Result<Self, MethodError> {
        let text = text.trim();
        let fits = |text: &str| {
            (1..=Self::MOST).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
        };
        if fits(text) {
            Ok(Self(text.to_owned()))
        } else if fits(&text.to_ascii_uppercase()) {
            Err(MethodError::LowerCase(text.to_owned()))
        } else {
            Err(MethodError::NotAMethod(text.to_owned()))
        }
    }
}

impl PathPattern {
    /// The longest, in bytes.
    pub const MOST: usize = 128;
    /// The most `*` in one.
    pub const MOST_STARS: usize = 8;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this path is meant, written without its query.
    pub fn matches(&self, path: &str) -> bool {
        let (pattern, path) = (self.0.as_bytes(), path.as_bytes());
        let (mut at, mut read) = (0, 0);
        // The last `*`, and where what follows it was last looked for: the one place to come back to, because a `*`
        // further left could take no more than this one can.
        let mut star: Option<(usize, usize)> = None;
        while read < path.len() {
            match (pattern.get(at), star) {
                (Some(b'*'), _) => {
                    star = Some((at, read));
                    at += 1;
                }
                (Some(byte), _) if *byte == path[read] => {
                    at += 1;
                    read += 1;
                }
                (_, Some((behind, from))) => {
                    star = Some((behind, from + 1));
                    (at, read) = (behind + 1, from + 1);
                }
                (_, None) => return false,
            }
        }
        pattern[at..].iter().all(|byte| *byte == b'*')
    }
}

impl FromStr for PathPattern {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.contains(['?', '#']) {
            return Err(PathError::Query(text.to_owned()));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(PathError::NotOnTheWire(text.to_owned()));
        }
        if text.len() > Self::MOST {
            return Err(PathError::TooLong(text.len()));
        }
        if !text.starts_with(['/', '*']) {
            return Err(PathError::Start(text.to_owned()));
        }
        if text.contains("**") {
            return Err(PathError::TwoStars(text.to_owned()));
        }
        let stars = text.bytes().filter(|b| *b == b'*').count();
        if stars > Self::MOST_STARS {
            let text = text.to_owned();
            return Err(PathError::TooManyStars { text, stars });
        }
        Ok(Self(text.to_owned()))
    }
}

impl HostPattern {
    /// The longest, in bytes.
    pub const MOST: usize = 128;

    /// Whether names below [`HostPattern::name`] are meant, and not it.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// In lower case, without the `*.`; an IPv6 address in its brackets, as in a `Host` header.
    pub fn name(&self) -> &str {
        self.0.strip_prefix("*.").unwrap_or(&self.0)
    }

    /// Whether this host is meant, written as in a `Host` header but without its port.
    pub fn matches(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        if !self.is_wildcard() {
            return host == self.name();
        }
        host.strip_suffix(self.name())
            .and_then(|below| below.strip_suffix('.'))
            .is_some_and(|below| !below.is_empty())
    }
}

impl FromStr for HostPattern {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let text = text.trim();
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse::<Ipv6Addr>() {
            return Ok(Self(format!("[{address}]")));
        }
        if text == "*" {
            return Err(HostError::Every);
        }
        if let Some((host, port)) = text.rsplit_once(':')
            && !host.is_empty()
            && port.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(HostError::Port(text.to_owned()));
        }
        if text.len() > Self::MOST {
            return Err(HostError::TooLong(text.len()));
        }
        let below = text.strip_prefix("*.");
        let name = below.unwrap_or(text);
        if name.contains('*') {
            return Err(HostError::Star(text.to_owned()));
        }
        let not_a_host = || HostError::NotAHost(text.to_owned());
        if let (Ok(address), None) = (name.parse::<IpAddr>(), below) {
            return Ok(Self(address.to_string()));
        }
        let name: Hostname = name.parse().map_err(|_| not_a_host())?;
        let star = if below.is_some() { "*." } else { "" };
        Ok(Self(format!("{star}{name}")))
    }
}

macro_rules! display_text {
    ($($type:ident),*) => {
        $(impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        })*
    };
}
display_text!(Method, PathPattern, HostPattern);

text_form!(Method, "a method such as `GET`", {
    "type": "string",
    "description": "The method of a request, in capitals.",
    "pattern": "^\\s*[A-Z-]{1,8}\\s*$",
    "examples": ["GET", "POST"]
});

text_form!(PathPattern, "a path such as `/pay/*`", {
    "type": "string",
    "description": "A path without its query; `*` stands for any bytes, `/` included.",
    "pattern": "^\\s*[/*][!-\"$->@-~]{0,127}\\s*$",
    "examples": ["/pay/*", "*.json", "/healthz"]
});

text_form!(HostPattern, "a host such as `payments.example.com`", {
    "type": "string",
    "description": "The name or address in a `Host` header, without its port; `*.` on the left stands for all names below one.",
    "maxLength": 128,
    "examples": ["payments.example.com", "*.example.com", "192.0.2.7"]
});

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: FromStr<Err: fmt::Display> + fmt::Debug>(text: &str) -> String {
        text.parse::<T>().expect_err(text).to_string()
    }

    #[test]
    fn methods_are_in_capitals_and_short() {
        for text in ["GET", "M-SEARCH", "PATCH"] {
            assert_eq!(text.parse::<Method>().unwrap().to_string(), text);
        }
        assert_eq!(
            refusal::<Method>("get"),
            "`get` is not a method: they are in capitals – write `GET`"
        );
        for text in ["", "PROPPATCH", "GE T", "GÉT", "G1"] {
            assert!(
                refusal::<Method>(text).contains("write 1 to 8 capital letters"),
                "{text}"
            );
        }
    }

    #[test]
    fn paths_are_read_or_refused() {
        for text in ["/", "*", "/pay/*", "*.json", "/a/*/b", "/a%20b", "/~x;y=1,z"] {
            assert_eq!(text.parse::<PathPattern>().unwrap().as_str(), text);
        }
        for (text, part) in [
            ("", "the path is empty"),
            ("pay", "write `/pay`"),
            ("/pay?x=*", "has a query, which is never looked at"),
            ("/pay#top", "has a query, which is never looked at"),
            ("/a b", "percent-encode"),
            ("/ä", "percent-encode"),
            ("/a\n", "no error"),
            ("/a\nb", "percent-encode"),
            ("/a**", "two `*` follow one another"),
            ("/*a*b*c*d*e*f*g*h*i", "has 9 `*` – write at most 8"),
        ] {
            let said = text
                .parse::<PathPattern>()
                .map_or_else(|error| error.to_string(), |_| "no error".to_owned());
            assert!(said.contains(part), "{text}: {said}");
        }
        let long = format!("/{}", "a".repeat(128));
        assert!(refusal::<PathPattern>(&long).contains("a path of 129 bytes is too long"));
        assert!(long[..128].parse::<PathPattern>().is_ok());
    }

    #[test]
    fn a_star_stands_for_any_bytes() {
        for (pattern, yes, no) in [
            ("/pay", &["/pay"][..], &["/pay/", "/Pay", "/pa", ""][..]),
            ("/pay/*", &["/pay/", "/pay/a", "/pay/a/b"], &["/pay", "/payer/a"]),
            (
                "*.json",
                &["/a.json", "/.json", "/a/b.json.json"],
                &["/a.jso", "/a.json/"],
            ),
            (
                "/a/*/b",
                &["/a//b", "/a/x/b", "/a/x/y/b", "/a/b/b"],
                &["/a/b", "/a/x/b/c"],
            ),
            ("*", &["/", "*", "/a"], &[]),
            (
                "/*a*ab",
                &["/aab", "/xaxab", "/aaab", "/ababab"],
                &["/ab", "/aba"],
            ),
            ("/a*a", &["/aa", "/aaa"], &["/a"]),
        ] {
            let pattern: PathPattern = pattern.parse().unwrap();
            for path in yes {
                assert!(pattern.matches(path), "{pattern} {path}");
            }
            for path in no {
                assert!(!pattern.matches(path), "{pattern} {path}");
            }
        }
    }

    #[test]
    fn hosts_are_names_addresses_or_all_below_a_name() {
        for (text, name, wildcard) in [
            ("Payments.Example.COM", "payments.example.com", false),
            ("payments.example.com.", "payments.example.com", false),
            ("*.Example.com", "example.com", true),
            ("192.0.2.7", "192.0.2.7", false),
            ("2001:DB8::1", "[2001:db8::1]", false),
            ("[2001:db8:0::1]", "[2001:db8::1]", false),
            ("localhost", "localhost", false),
        ] {
            let host: HostPattern = text.parse().unwrap();
            assert_eq!((host.name(), host.is_wildcard()), (name, wildcard), "{text}");
            assert_eq!(host.to_string().parse::<HostPattern>().unwrap(), host);
        }
        for (text, part) in [
            ("*", "`*` is every host – leave `host` out"),
            ("a.example:8080", "has a port – write the host alone"),
            ("[::1]:8080", "has a port"),
            ("a*.example.com", "write `*.example.com`"),
            ("*.*.com", "write `*.example.com`"),
            ("*.192.0.2.7", "is no host name or address"),
            ("http://a/", "is no host name or address"),
            ("a b", "is no host name or address"),
            ("", "is no host name or address"),
        ] {
            let said = refusal::<HostPattern>(text);
            assert!(said.contains(part), "{text}: {said}");
        }
        assert!(refusal::<HostPattern>(&"a.".repeat(65)).contains("a host of 130 bytes is too long"));
    }

    #[test]
    fn a_wildcard_stands_for_the_names_below() {
        let below: HostPattern = "*.example.com".parse().unwrap();
        assert!(below.matches("a.EXAMPLE.com") && below.matches("a.b.example.com"));
        assert!(
            !below.matches("example.com")
                && !below.matches("anexample.com")
                && !below.matches(".example.com")
        );
        let one: HostPattern = "example.com".parse().unwrap();
        assert!(one.matches("Example.com") && !one.matches("a.example.com"));
    }
}
