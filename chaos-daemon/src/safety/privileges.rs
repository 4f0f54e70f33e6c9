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

#[derive(Debug, thiserror::Error)]
#[error("the daemon lacks {} – run it as root, or grant them (systemd: CapabilityBoundingSet=, containers: --cap-add)", missing.join(", "))]
pub struct PrivilegeError {
    missing: Vec<String>,
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
        Err(PrivilegeError { missing })
    }
}

fn effective(status: &str) -> Option<u64> {
    let text = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(text.trim(), 16).ok()
}

/// Takes as many open files as the host allows: every attachment is one.
pub fn raise_open_files() {
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
