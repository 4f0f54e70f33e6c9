use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::text_form;

/// A network (`10.0.0.0/8`, `fd00::/8`). A bare address stands for itself alone (`/32`, `/128`).
/// Bits behind the prefix are always zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(IpNet);

/// A host name in lower case, without a trailing dot. Never an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(String);

/// Why a text is no network or no host name, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error(
        "`{0}` is not an address or a network – write `10.0.0.0/8`, `192.0.2.7` or `fd00::/8` (names go under `hosts`)"
    )]
    NotANetwork(String),
    #[error(
        "`{address}` has a prefix of {prefix}, longer than an address – write a prefix of at most {most}"
    )]
    PrefixTooLong {
        address: String,
        prefix: String,
        most: u8,
    },
    #[error(
        "`{written}` has address bits behind its prefix – write `{network}` for the network or `{host}` for the host"
    )]
    HostBits {
        written: String,
        network: IpNet,
        host: IpAddr,
    },
    #[error("`{0}` is an address, not a name – write it under `cidrs`")]
    AddressAsName(String),
    #[error("`{0}` is not a host name: {1} – write a name such as `db.example.com`")]
    NotAName(String, &'static str),
}

impl Cidr {
    /// The network that `address` and `prefix` lie in, without the bits behind the prefix.
    pub fn containing(net: IpNet) -> Self {
        Self(net.trunc())
    }

    pub const fn net(self) -> IpNet {
        self.0
    }

    /// The first address; the whole of it when the prefix is full.
    pub fn address(self) -> IpAddr {
        self.0.addr()
    }

    pub fn prefix_len(self) -> u8 {
        self.0.prefix_len()
    }

    pub const fn is_ipv4(self) -> bool {
        matches!(self.0, IpNet::V4(_))
    }

    /// Whether every address of `other` is one of ours.
    pub fn contains(self, other: Self) -> bool {
        self.0.contains(&other.0)
    }

    fn is_single(self) -> bool {
        self.0.prefix_len() == self.0.max_prefix_len()
    }
}

impl From<IpAddr> for Cidr {
    fn from(address: IpAddr) -> Self {
        Self(IpNet::from(address))
    }
}

impl FromStr for Cidr {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(address.into());
        }
        let not_a_network = || AddressError::NotANetwork(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(not_a_network)?;
        let host: IpAddr = address.parse().map_err(|_| not_a_network())?;
        let all_digits = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
        if !all_digits {
            return Err(not_a_network());
        }
        let most = if host.is_ipv4() { 32 } else { 128 };
        let too_long = || AddressError::PrefixTooLong {
            address: text.to_owned(),
            prefix: prefix.to_owned(),
            most,
        };
        let length: u8 = prefix.parse().map_err(|_| too_long())?;
        let net = IpNet::new(host, length).map_err(|_| too_long())?;
        if net.trunc() != net {
            return Err(AddressError::HostBits {
                written: text.to_owned(),
                network: net.trunc(),
                host,
            });
        }
        Ok(Self(net))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_single() {
            self.0.addr().fmt(f)
        } else {
            self.0.fmt(f)
        }
    }
}

impl Hostname {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hostname {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.parse::<IpAddr>().is_ok() || name.parse::<IpNet>().is_ok() {
            return Err(AddressError::AddressAsName(text.to_owned()));
        }
        let refuse = |why| Err(AddressError::NotAName(text.to_owned(), why));
        if name.is_empty() {
            return refuse("it is empty");
        }
        if name.len() > 253 {
            return refuse("it has more than 253 characters");
        }
        for label in name.split('.') {
            if label.is_empty() {
                return refuse("two dots follow one another");
            }
            if label.len() > 63 {
                return refuse("a part between dots has more than 63 characters");
            }
            if label.starts_with('-') || label.ends_with('-') {
                return refuse("a part begins or ends with a hyphen");
            }
            // Underscores are no part of host names proper, but resolvers answer for them and people use them.
            if !label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            {
                return refuse("only letters, digits, hyphens and dots are allowed");
            }
        }
        Ok(Self(name.to_ascii_lowercase()))
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_form!(Cidr, "a network such as `10.0.0.0/8` or an address", {
    "type": "string",
    "description": "An IPv4 or IPv6 network; a bare address stands for itself alone.",
    "pattern": r"^\s*[0-9a-fA-F.:]+(/\d{1,3})?\s*$",
    "examples": ["10.0.0.0/8", "192.0.2.7", "fd00::/8"]
});

text_form!(Hostname, "a host name such as `db.example.com`", {
    "type": "string",
    "description": "A host name; all its A and AAAA addresses are meant.",
    "maxLength": 254,
    "examples": ["db.example.com"]
});
