//! BPF objects: whose are there, are they gone, and programs of somebody else.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::time::Duration;

use aya::Ebpf;
use aya::programs::tc::{SchedClassifierLinkId, TcAttachOptions};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType, loaded_links, loaded_programs};
use chaos_daemon::sys::bpf::map_ids;

use crate::{Device, Pair, Since, Skip, eventually, require_feature};

/// Ids of programs, maps and links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BpfObjects {
    pub programs: BTreeSet<u32>,
    pub maps: BTreeSet<u32>,
    pub links: BTreeSet<u32>,
}

impl BpfObjects {
    /// What a process holds open.
    pub(crate) fn of(pid: u32) -> Self {
        let mut objects = Self::default();
        let entries = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("the daemon runs");
        for entry in entries.flatten() {
            let Ok(text) = fs::read_to_string(entry.path()) else {
                continue;
            };
            let field = |name: &str| {
                text.lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
            };
            if let Some(id) = field("link_id") {
                // A link names its program, too, which then has no descriptor of its own.
                objects.links.insert(id);
                objects.programs.extend(field("prog_id"));
            } else if let Some(id) = field("prog_id") {
                objects.programs.insert(id);
            } else if let Some(id) = field("map_id") {
                objects.maps.insert(id);
            }
        }
        objects
    }

    /// Those of them that the kernel still has.
    pub fn left(&self) -> Self {
        let programs: BTreeSet<u32> = loaded_programs().filter_map(|p| Some(p.ok()?.id())).collect();
        let maps: BTreeSet<u32> = map_ids().into_iter().collect();
        let links: BTreeSet<u32> = loaded_links().filter_map(|l| Some(l.ok()?.id())).collect();
        Self {
            programs: &self.programs & &programs,
            maps: &self.maps & &maps,
            links: &self.links & &links,
        }
    }

    /// # Panics
    /// When one of them still exists after a second; the kernel frees them a grace period after their last use.
    #[track_caller]
    pub fn assert_gone(&self) {
        assert!(
            !self.programs.is_empty() && !self.maps.is_empty(),
            "the daemon held nothing: {self:?}"
        );
        let before = self.left();
        eventually(
            Duration::from_secs(1),
            &format!("all BPF objects are gone, of {before:?}"),
            || self.left() == Self::default(),
        );
    }
}

/// Names of the TCX programs of a device, in the order in which they run; empty on kernels without TCX.
pub(crate) fn tcx_programs(device: &Device, attach: TcAttachType) -> Vec<String> {
    let name = device.name().to_owned();
    device
        .netns()
        .enter(move || match SchedClassifier::query_tcx(&name, attach) {
            Ok((_, programs)) => programs
                .iter()
                .map(|p| format!("{} {}", p.id(), p.name_as_str().unwrap_or("?")))
                .collect(),
            Err(_) => Vec::new(),
        })
}

/// A TCX program of somebody else at the tail of a device; it lets everything pass on.
#[derive(Debug)]
pub struct ForeignTcx {
    object: Ebpf,
    link: Option<SchedClassifierLinkId>,
}

impl ForeignTcx {
    /// `None`: the kernel has no TCX.
    pub fn attach(device: &Device, attach: TcAttachType) -> Option<Self> {
        let name = device.name().to_owned();
        device.netns().enter(move || {
            let mut object = Ebpf::load(&pass_object()).expect("a program of two instructions loads");
            let program: &mut SchedClassifier = object
                .program_mut("foreign")
                .and_then(|p| p.try_into().ok())
                .expect("the object has one classifier");
            program.load().expect("a program of two instructions verifies");
            let last = TcAttachOptions::TcxOrder(LinkOrder::last());
            let link = program.attach_with_options(&name, attach, last).ok()?;
            Some(Self {
                object,
                link: Some(link),
            })
        })
    }
}

impl ForeignTcx {
    /// How often it has run since somebody began to count ([`count_runs`]).
    pub fn runs(&self) -> u64 {
        let program: Option<&SchedClassifier> =
            self.object.program("foreign").and_then(|p| p.try_into().ok());
        let info = program.and_then(|program| program.info().ok());
        info.expect("it is loaded").run_count()
    }
}

/// The kernel counts runs of programs, until this is closed.
pub fn count_runs() -> OwnedFd {
    aya::sys::enable_stats(aya::sys::Stats::RunTime).expect("root may count")
}

/// TCX: links that end with their process. Tried on a device of its own.
///
/// # Errors
/// This kernel has none.
pub fn require_tcx() -> Result<(), Skip> {
    static WORKS: OnceLock<bool> = OnceLock::new();
    let works =
        WORKS.get_or_init(|| ForeignTcx::attach(&Pair::new().client.device, TcAttachType::Egress).is_some());
    require_feature("TCX", Since::Kernel(6, 6), *works)
}

/// Where there is no TCX, gives a device a clsact qdisc: the kernel stops a device for the moment in which it gets or
/// loses one (`qdisc_graft` calls `dev_deactivate`), and loses what it would send meanwhile. With one that is there
/// before, no packet may be lost when a fault begins or ends.
pub fn keep_running_without_tcx(device: &Device) {
    if require_tcx().is_err() {
        device
            .netns()
            .tc(&format!("qdisc add dev {} clsact", device.name()));
    }
}

impl Drop for ForeignTcx {
    fn drop(&mut self) {
        let program: Option<&mut SchedClassifier> =
            self.object.program_mut("foreign").and_then(|p| p.try_into().ok());
        if let (Some(program), Some(link)) = (program, self.link.take()) {
            // The device may be gone by now, and the link with it.
            let _ = program.detach(link);
        }
    }
}

/// An ELF object with `foreign: r0 = TCX_NEXT; exit`, so that no compiler is needed for somebody else's program.
fn pass_object() -> Vec<u8> {
    const CODE: [u8; 16] = [0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x95, 0, 0, 0, 0, 0, 0, 0];
    const LICENSE: &[u8] = b"GPL\0";
    const NAMES: &[u8] = b"\0classifier\0license\0.symtab\0.strtab\0foreign\0";
    let mut symbols = vec![0_u8; 24];
    // st_name, st_info (global function), st_other, st_shndx = 1, st_value = 0, st_size.
    symbols.extend(36_u32.to_le_bytes());
    symbols.extend([0x12, 0, 1, 0]);
    symbols.extend(0_u64.to_le_bytes());
    symbols.extend((CODE.len() as u64).to_le_bytes());

    let mut image = vec![0_u8; 64];
    let mut place = |bytes: &[u8]| {
        image.resize(image.len().next_multiple_of(8), 0);
        let at = image.len() as u64;
        image.extend(bytes);
        (at, bytes.len() as u64)
    };
    let (code, license, symtab, strtab) = (place(&CODE), place(LICENSE), place(&symbols), place(NAMES));
    image.resize(image.len().next_multiple_of(8), 0);
    let table = image.len() as u64;
    // Name, type, flags, place, link, info, entry size.
    let mut section = |name: u32, kind: u32, flags: u64, at: (u64, u64), link: u32, info: u32, entry: u64| {
        image.extend(name.to_le_bytes());
        image.extend(kind.to_le_bytes());
        image.extend(flags.to_le_bytes());
        image.extend(0_u64.to_le_bytes());
        image.extend(at.0.to_le_bytes());
        image.extend(at.1.to_le_bytes());
        image.extend(link.to_le_bytes());
        image.extend(info.to_le_bytes());
        image.extend(8_u64.to_le_bytes());
        image.extend(entry.to_le_bytes());
    };
    section(0, 0, 0, (0, 0), 0, 0, 0);
    section(1, 1, 6, code, 0, 0, 0);
    section(12, 1, 3, license, 0, 0, 0);
    section(20, 2, 0, symtab, 4, 1, 24);
    section(28, 3, 0, strtab, 0, 0, 0);

    let mut header = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header.extend(1_u16.to_le_bytes()); // relocatable
    header.extend(247_u16.to_le_bytes()); // BPF
    header.extend(1_u32.to_le_bytes());
    header.extend([0; 16]);
    header.extend(table.to_le_bytes());
    header.extend(0_u32.to_le_bytes());
    for half in [64_u16, 0, 0, 64, 5, 4] {
        header.extend(half.to_le_bytes());
    }
    image[..64].copy_from_slice(&header);
    image
}
