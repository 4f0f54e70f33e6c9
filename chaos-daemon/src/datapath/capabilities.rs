//! What this host can do, asked once, by doing it.

use chaos_spec::api::Capability;

use super::LineUse;
use super::cable::Far;
use super::space::TcMode;
use crate::sys::tap::Tap;
use crate::{sys::bpf, target::Interface};

/// How programs are to be attached to tc.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attach {
    /// TCX where the kernel has it, else clsact.
    #[default]
    Auto,
    /// TCX or an error.
    Tcx,
    /// clsact.
    Clsact,
}

/// Whether XDP may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XdpUse {
    /// Where the fault and the device allow it and nobody else pays. A veth takes native XDP, but its peer
    /// loses segmentation offload while the program is attached: 22 Gbit/s become 2 for everybody
    /// (docs/limitations.md).
    #[default]
    Auto,
    /// Where the fault and the device allow it, veth included.
    Always,
    /// Never.
    Never,
}

/// The findings.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    /// TCX (Linux 6.6).
    pub tcx: bool,
    /// Whether XDP may be used.
    pub xdp: XdpUse,
    /// The way to tc that was chosen.
    pub tc: TcMode,
    /// Why there is no user line, if there is none.
    pub no_line: Option<&'static str>,
    /// Why packets do not wait in the kernel, if they do not.
    pub no_waits: Option<&'static str>,
    /// The user line was ruled out.
    pub kernel_only: bool,
    /// Why the hook does not cut super-packets, if it does not.
    pub no_cuts: Option<&'static str>,
}

impl Capabilities {
    /// Whether XDP may be tried on all of these devices.
    pub fn xdp_on(&self, interfaces: &[Interface]) -> bool {
        match self.xdp {
            XdpUse::Never => false,
            XdpUse::Always => true,
            XdpUse::Auto => interfaces
                .iter()
                .all(|interface| interface.kind.as_deref() != Some("veth")),
        }
    }

    /// Asks the kernel.
    pub fn probe(
        attach: Attach,
        xdp: XdpUse,
        line: LineUse,
    ) -> Result<(Self, Option<Far>), super::DatapathError> {
        let tcx = bpf::has_tcx();
        let tc = match attach {
            Attach::Tcx if !tcx => {
                return Err(super::DatapathError::Unsupported {
                    what: "--attach tcx".to_owned(),
                    why: "this kernel has no TCX (it came with Linux 6.6); use --attach auto".to_owned(),
                });
            }
            Attach::Clsact => TcMode::Clsact,
            Attach::Auto if !tcx => TcMode::Clsact,
            _ => TcMode::Tcx,
        };
        let no_line = match line {
            LineUse::Never => Some("the daemon was started with --line never"),
            LineUse::Kernel => Some("the daemon was started with --line kernel (--line auto has more)"),
            _ if !Tap::available() => Some(
                "this kernel has no TUN/TAP, or /dev/net/tun is missing or closed to the daemon (modprobe tun; in a container, pass the device)",
            ),
            _ => None,
        };
        if line == LineUse::User
            && let Some(why) = no_line
        {
            return Err(super::DatapathError::Unsupported {
                what: "--line user".to_owned(),
                why: why.to_owned(),
            });
        }
        let no_cuts = match line {
            LineUse::Auto | LineUse::Kernel => None,
            LineUse::User => Some("the daemon was started with --line user"),
            LineUse::Never => Some("the daemon was started with --line never"),
        };
        let (far, no_waits) = match no_cuts.map_or_else(|| Far::open(tc == TcMode::Tcx), Err) {
            Ok(far) => (Some(far), None),
            Err(why) => (None, Some(why)),
        };
        let found = Self {
            tcx,
            xdp,
            tc,
            no_line,
            no_waits,
            kernel_only: line == LineUse::Kernel,
            no_cuts,
        };
        Ok((found, far))
    }

    /// For `doctor` and `/v1/node`.
    pub fn list(&self) -> Vec<Capability> {
        let entry = |name: &str, available: bool, why: &str| Capability {
            name: name.to_owned(),
            available,
            why: why.to_owned(),
        };
        let tcx = if self.tcx {
            "BPF links at tc, gone with the daemon's process"
        } else {
            "came with Linux 6.6; clsact takes its place, and the lease ends its faults when the daemon dies"
        };
        let xdp = match self.xdp {
            XdpUse::Auto => {
                "for partition and drop of arriving packets where the driver has it and no cgroup is named; not on veth, \
                 whose peer would lose segmentation offload (--xdp always)"
            }
            XdpUse::Always => {
                "for partition and drop of arriving packets where no cgroup is named, on veth, too"
            }
            XdpUse::Never => "switched off by --xdp never",
        };
        vec![
            entry("bpf-programs", true, "loaded and verified at start"),
            entry("tcx", self.tcx, tcx),
            entry("clsact", true, "part of every kernel this daemon runs on"),
            entry(
                "line-kernel",
                self.no_cuts.is_none(),
                self.no_cuts.unwrap_or("for drop, duplicate and corrupt of what leaves: a super-packet (GSO) of which a wire packet is hit is cut at the hook"),
            ),
            entry(
                "line-kernel-delay",
                self.no_waits.is_none(),
                self.no_waits.unwrap_or("for delay alone, up to 2 s, on Ethernet devices: a pair of devices (netkit; before Linux 6.7 veth) whose queues (fq) keep each packet until its time"),
            ),
            entry(
                "line-user",
                self.no_line.is_none(),
                self.no_line.unwrap_or("a TAP device and a timer thread, for what the kernel line cannot do: delay, reorder, bandwidth, corrupt with checksum: leave, and chances of wire packets in super-packets that arrive"),
            ),
            entry("xdp-native", self.xdp != XdpUse::Never, xdp),
            entry(
                "cgroup-ingress",
                true,
                "sockets are tagged as they are opened, those open already by pidfd_getfd",
            ),
        ]
    }
}
