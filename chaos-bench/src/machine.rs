//! What the numbers were measured on.

use std::fmt;
use std::fs;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    pub processor: String,
    pub cpus: usize,
    pub memory_gib: u64,
    pub kernel: String,
    pub virtualised: bool,
}

impl Machine {
    /// This one, as far as the kernel tells.
    pub fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self::from(
            &read("/proc/cpuinfo"),
            &read("/proc/meminfo"),
            read("/proc/sys/kernel/osrelease").trim(),
        )
    }

    fn from(cpuinfo: &str, meminfo: &str, kernel: &str) -> Self {
        let value = |text: &str, key: &str| {
            text.lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.trim() == key)
                .map(|(_, value)| value.trim().to_owned())
        };
        let kib: u64 = value(meminfo, "MemTotal")
            .and_then(|text| text.split_whitespace().next()?.parse().ok())
            .unwrap_or(0);
        Self {
            processor: value(cpuinfo, "model name").unwrap_or_else(|| "unknown processor".to_owned()),
            cpus: cpuinfo
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
            memory_gib: kib.div_ceil(1 << 20),
            kernel: kernel.to_owned(),
            virtualised: value(cpuinfo, "flags")
                .is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor")),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            processor,
            cpus,
            memory_gib,
            kernel,
            virtualised,
        } = self;
        let kind = if *virtualised { ", virtual machine" } else { "" };
        write!(
            f,
            "{processor}, {cpus} CPUs, {memory_gib} GiB, Linux {kernel}{kind}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_what_the_kernel_says() {
        let cpuinfo =
            "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\nflags\t\t: fpu hypervisor\n\nprocessor\t: 1\n";
        let machine = Machine::from(cpuinfo, "MemTotal:       24576000 kB\n", "6.12.1");
        assert_eq!(
            machine.to_string(),
            "Some CPU @ 2.0GHz, 2 CPUs, 24 GiB, Linux 6.12.1, virtual machine"
        );
        assert!(!Machine::from("processor : 0\n", "", "6.1").virtualised);
    }
}
