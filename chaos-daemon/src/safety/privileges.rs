//! What the daemon must be allowed to do. Asked before anything is touched, so that a refusal names what is missing
//! instead of the call that failed over it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Name and number (linux/capability.h) of each capability, and what it is for.
const NEEDED: [(&str, u32, &str); 5] = [
    ("CAP_NET_ADMIN", 12, "attaching programs to devices"),
    ("CAP_SYS_PTRACE", 19, "finding the namespaces of other processes"),
    ("CAP_SYS_ADMIN", 21, "entering network namespaces"),
    ("CAP_PERFMON", 38, "loading programs that read packets"),
    ("CAP_BPF", 39, "loading programs and maps"),
];

/// Open files that faults leave free, for those who end them: 256 connections through each of three doors, and what
/// ending a fault opens for a moment.
pub const KEPT_FILES: u64 = 3 * 256 + 64;
/// Fewer than these are no basis to work on.
const LEAST_FILES: u64 = 1024;

#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    #[error(
        "the daemon lacks {} – run it as root, or grant them (systemd: CapabilityBoundingSet=, containers: --cap-add)",
        .0.join(", ")
    )]
    Capabilities(Vec<String>),
    #[error(
        "the daemon may open {0} files, and needs {LEAST_FILES} at least – raise the limit (systemd: LimitNOFILE=, shells: ulimit -n, \
         containers: --ulimit nofile=)"
    )]
    Files(u64),
}

/// Whether all needed capabilities are effective.
///
/// # Errors
/// Those that are not, with what each is for.
pub fn check() -> Result<(), PrivilegeError> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    // Without /proc nothing can be told; the calls themselves will refuse.
    let effective = effective(&status).unwrap_or(u64::MAX);
    let missing: Vec<_> = NEEDED
        .iter()
        .filter(|(_, number, _)| effective >> number & 1 == 0)
        .map(|(name, _, use_)| format!("{name} ({use_})"))
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(PrivilegeError::Capabilities(missing))
    }
}

fn effective(status: &str) -> Option<u64> {
    let text = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(text.trim(), 16).ok()
}

/// Takes as many open files as the host allows: every attachment is one.
///
/// # Errors
/// They are too few.
pub fn raise_open_files() -> Result<(), PrivilegeError> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        )
    {
        tracing::debug!(%error, "the limit of open files stays");
    }
    match open_files() {
        few if few < LEAST_FILES => Err(PrivilegeError::Files(few)),
        _ => Ok(()),
    }
}

/// How many files this process may have open.
pub fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_set_is_read() {
        assert_eq!(
            effective("CapPrm:\t00\nCapEff:\t000001ffffffffff\n"),
            Some(0x1ff_ffff_ffff)
        );
        assert_eq!(effective("nothing"), None);
    }
}
