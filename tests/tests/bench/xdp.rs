//! Drop by network and port in XDP.

use std::os::fd::AsFd as _;
use std::time::Instant;

use aya::programs::loaded_programs;
use chaos_bench::{Better, Row, Target};
use chaos_daemon::sys::bpf::{Hook, Link, TestPacket, load_bare_xdp_drop, send_by_xdp, test_run};
use chaos_tests::packet::{At, Family, Injection, Lab, Packet, Settings, Transport};
use chaos_tests::{Device, Netns, Process, Skip, require_program, veth};

use crate::cost::best_in_turns;
use crate::run::{Run, in_turns};

/// Frames of one sample.
const FRAMES: u32 = 1_000_000;
const REPEAT: u32 = 50_000;
const BARE: &str = "bare XDP_DROP";
const FILTER: &str = "xdp-filter";

pub(crate) fn measure(run: &mut Run) -> Result<(), Skip> {
    let mut lab = Lab::with(Settings {
        xdp: true,
        ..Settings::default()
    })?;
    lab.inject(&Injection::new(
        "{direction: ingress, protocol: udp, remote: {cidrs: [10.99.0.0/16], ports: [7777]}}",
        "{partition: {}}",
    ));
    let frame = Packet::arriving(Family::V4, Transport::Udp).frame();
    let packet = TestPacket {
        frame: &frame,
        ..TestPacket::default()
    };
    let ours = Cable {
        near: lab.near().clone(),
        far: lab.far().clone(),
    };

    let bare = load_bare_xdp_drop().expect("two instructions load");
    let bare_cable = Cable::new();
    let near = &bare_cable.near;
    let _link = near
        .netns()
        .enter(|| Link::device(bare.as_fd(), near.ifindex(), Hook::XdpNative))
        .expect("a veth takes XDP");
    let alone = |run: &Run, fd: std::os::fd::BorrowedFd<'_>| {
        best_in_turns(
            run,
            || f64::from(lab.nanoseconds(At::Xdp, &packet, REPEAT)),
            || f64::from(test_run(fd, &packet, false, REPEAT).expect("it runs").nanoseconds),
        )
    };
    let rate = |run: &mut Run, theirs: &Cable, against: &str, least: f64| {
        let pairs = in_turns(9, || ours.mpps(&frame), || theirs.mpps(&frame));
        run.row(
            Row::new(
                format!("dropped, beside {against}"),
                "million/s",
                Better::Higher,
                against,
                &pairs,
            )
            .target(Target::RatioAtLeast(least)),
        );
    };
    let nanoseconds = |run: &mut Run, against: &str, pairs: &[(f64, f64)]| {
        let name = format!("the program alone, beside {against}");
        run.row(Row::new(name, "ns", Better::Lower, against, pairs));
    };
    rate(run, &bare_cable, BARE, 0.9);
    let pairs = alone(run, bare.as_fd());
    nanoseconds(run, BARE, &pairs);
    match Filter::start() {
        Ok(filter) => {
            rate(run, &filter.cable, FILTER, 1.0);
            let pairs = alone(run, filter.program.as_fd());
            nanoseconds(run, FILTER, &pairs);
        }
        Err(skip) => run.absent("beside xdp-filter", &skip),
    }
    Ok(())
}

/// Two ends; XDP is at the near one.
struct Cable {
    near: Device,
    far: Device,
}

impl Cable {
    fn new() -> Self {
        let (near, far) = veth((&Netns::new(), "near0"), (&Netns::new(), "far0"));
        Self { near, far }
    }

    /// Frames that XDP drops, in millions a second, of those that one CPU sends.
    fn mpps(&self, frame: &[u8]) -> f64 {
        let (far, before, begun) = (self.far.ifindex(), self.dropped(), Instant::now());
        self.far
            .netns()
            .enter(|| send_by_xdp(far, frame, FRAMES))
            .expect("XDP sends frames");
        let took = begun.elapsed().as_secs_f64();
        let dropped = self.dropped() - before;
        assert!(
            dropped > FRAMES as u64 / 2,
            "{dropped} of {FRAMES} frames were dropped: the rate would not be that of the drop"
        );
        dropped as f64 / took / 1e6
    }

    fn dropped(&self) -> u64 {
        let text = self.near.netns().run(&["ethtool", "-S", self.near.name()]);
        text.lines()
            .filter(|line| line.contains("xdp_drops"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }
}

/// xdp-filter at the near end of a cable. It keeps its maps in a bpffs that a shell mounts for itself.
struct Filter {
    cable: Cable,
    program: aya::programs::ProgramFd,
    _shell: Process,
}

impl Filter {
    fn start() -> Result<Self, Skip> {
        require_program("xdp-filter")?;
        let cable = Cable::new();
        let netns = cable.near.netns();
        let script = "mount -t bpf bpf /sys/fs/bpf && xdp-filter load near0 -f udp && xdp-filter port 7777 -m src -p udp \
                      && exec nc.openbsd -l 127.0.0.1 9";
        netns.ip("link set lo up");
        let shell = Process::spawn(netns, None, &["unshare", "-m", "sh", "-c", script]).listens(netns, 9);
        let newest = loaded_programs()
            .filter_map(Result::ok)
            .filter(|program| {
                program
                    .name_as_str()
                    .is_some_and(|name| name.starts_with("xdpfilt"))
            })
            .max_by_key(|program| program.id())
            .expect("xdp-filter has loaded its program");
        let program = newest.fd().expect("root may open it");
        Ok(Self {
            cable,
            program,
            _shell: shell,
        })
    }
}
