//! The hosts file: names that never reach a name server.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// `/etc/hosts`.
#[derive(Clone, Debug)]
pub(super) struct HostsFile(PathBuf);

impl Default for HostsFile {
    fn default() -> Self {
        Self("/etc/hosts".into())
    }
}

impl From<&Path> for HostsFile {
    fn from(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl HostsFile {
    /// The addresses it gives a name; none: ask the name servers. A file that cannot be read knows nobody.
    pub(super) fn addresses(&self, host: &str) -> BTreeSet<IpAddr> {
        addresses(&fs::read_to_string(&self.0).unwrap_or_default(), host)
    }

    /// When it was last written.
    pub(super) fn written(&self) -> Option<SystemTime> {
        fs::metadata(&self.0).and_then(|meta| meta.modified()).ok()
    }
}

fn addresses(text: &str, host: &str) -> BTreeSet<IpAddr> {
    let of_line = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        let mut fields = line.split_ascii_whitespace();
        let address: IpAddr = fields.next()?.parse().ok()?;
        fields
            .any(|name| name.trim_end_matches('.').eq_ignore_ascii_case(host))
            .then_some(address)
    };
    text.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::addresses;

    #[test]
    fn all_lines_with_the_name_count() {
        let text =
            "127.0.0.1 localhost # db\n10.0.0.1\tdb.Example.com db\n\n# 10.0.0.9 db\nfd00::1 db\nbroken db\n";
        let texts = |host| {
            addresses(text, host)
                .into_iter()
                .map(|a| a.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(texts("db"), ["10.0.0.1", "fd00::1"]);
        assert_eq!(texts("db.example.com"), ["10.0.0.1"]);
        assert!(texts("example.com").is_empty());
    }
}
