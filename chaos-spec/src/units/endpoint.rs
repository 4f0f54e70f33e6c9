use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use super::text_form;

/// A host and a port: `127.0.0.1:5432`, `db.example.com:5432`, `[::1]:5432`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// An address of a web server: `http://` or `https://`, a host, and perhaps a port, a path and a query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpUrl(String);

/// Why a text is no endpoint or URL, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("`{0}` has no port – write `{0}:PORT`, such as `127.0.0.1:5432`")]
    NoPort(String),
    #[error("`{0}` is not a port – write a number between 1 and 65535")]
    NotAPort(String),
    #[error("`{0}` is no host – write an address or a name, such as `127.0.0.1` or `db.example.com`")]
    NotAHost(String),
    #[error("`{0}` is an IPv6 address without brackets – write `[{0}]:PORT`")]
    NoBrackets(String),
    #[error("`{0}` is not a URL – write for example `http://127.0.0.1:8080/healthz`")]
    NotAUrl(String),
    #[error("`{0}` is neither http nor https – write for example `http://127.0.0.1:8080/healthz`")]
    NotHttp(String),
    #[error("a URL with a user in it ends up in logs – write an `Authorization` header instead")]
    User,
}

impl Endpoint {
    /// Name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub const fn port(&self) -> u16 {
        self.port
    }
}

fn is_host(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !text.is_empty() && text.len() <= 253 && text.chars().all(allowed)
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let text = text.trim();
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(EndpointError::NoBrackets(text.to_owned()));
        }
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| EndpointError::NoPort(text.to_owned()))?;
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        let port = match port.parse::<u16>() {
            Ok(port) if port > 0 && digits => port,
            _ => return Err(EndpointError::NotAPort(port.to_owned())),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(bare) if bare.parse::<Ipv6Addr>().is_ok() => bare,
            None if host.parse::<Ipv6Addr>().is_ok() => {
                return Err(EndpointError::NoBrackets(host.to_owned()));
            }
            None if is_host(host) => host,
            _ => return Err(EndpointError::NotAHost(host.to_owned())),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl HttpUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HttpUrl {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let text = text.trim();
        let not_a_url = || EndpointError::NotAUrl(text.to_owned());
        let uri: http::Uri = text.parse().map_err(|_| not_a_url())?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            Some(_) => return Err(EndpointError::NotHttp(text.to_owned())),
            None => return Err(not_a_url()),
        }
        let authority = uri.authority().ok_or_else(not_a_url)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::User);
        }
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match bare {
            Some(bare) if bare.parse::<Ipv6Addr>().is_ok() => {}
            None if is_host(host) => {}
            _ => return Err(EndpointError::NotAHost(host.to_owned())),
        }
        let port = authority.as_str().strip_prefix(host).unwrap_or_default();
        match port.strip_prefix(':') {
            None => {}
            Some(port) if port.parse::<u16>().is_ok_and(|port| port > 0) => {}
            Some(port) => return Err(EndpointError::NotAPort(port.to_owned())),
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_form!(Endpoint, "a host and a port such as `127.0.0.1:5432`", {
    "type": "string",
    "description": "A host and a port.",
    "pattern": r"^\s*\S+:\d{1,5}\s*$",
    "examples": ["127.0.0.1:5432", "[::1]:5432"]
});

text_form!(HttpUrl, "a URL such as `http://127.0.0.1:8080/healthz`", {
    "type": "string",
    "description": "A URL of a web server.",
    "pattern": "^\\s*https?://[^@]+$",
    "examples": ["http://127.0.0.1:8080/healthz"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_shown_again() {
        for text in ["127.0.0.1:5432", "db.example.com:1", "[::1]:65535"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for text in [
            "db", "db:", "db:0", "db:65536", "db:+80", "::1:80", "[db]:80", ":80", "a b:80", "::1",
        ] {
            assert!(
                text.parse::<Endpoint>()
                    .unwrap_err()
                    .to_string()
                    .contains("write"),
                "{text}"
            );
        }
    }

    #[test]
    fn urls_are_read_and_shown_again() {
        for text in [
            "http://127.0.0.1:8080/healthz",
            "https://a.b",
            "http://[::1]:80/?a=b",
        ] {
            assert_eq!(text.parse::<HttpUrl>().unwrap().to_string(), text);
        }
        for text in [
            "127.0.0.1:80/healthz",
            "ftp://a/",
            "http://",
            "http:///x",
            "http://u:p@a/",
            "http://a:0/",
            "http://a:99999/",
            "http://[a]/",
            "a",
            "",
        ] {
            assert!(
                text.parse::<HttpUrl>().unwrap_err().to_string().contains("write"),
                "{text}"
            );
        }
    }
}
