//! How long each datagram takes from the sender's call to the other end of the cable. The kernel there notes the
//! time, so that a receiver who is slow to be woken does not count.

use std::io::IoSliceMut;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use chaos_ebpf_common::rng::mix;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::Pair;

const PORT: u16 = 7000;
/// Longer than anything is on its way.
const SILENCE: Duration = Duration::from_secs(2);

/// What became of the datagrams.
#[derive(Clone, Debug)]
pub struct Run {
    /// Milliseconds each was on its way, in the order of sending; none for those lost.
    pub took: Vec<Option<f64>>,
    /// Numbers in the order of their coming.
    pub came: Vec<usize>,
}

impl Run {
    /// Of those that came, less what a healthy cable takes.
    pub fn delays(&self, healthy: f64) -> Vec<f64> {
        self.took.iter().flatten().map(|took| took - healthy).collect()
    }

    /// Share of those that came after a later one.
    pub fn reordered(&self) -> f64 {
        let mut last = 0;
        let late = self.came.iter().filter(|number| {
            let late = **number < last;
            last = last.max(**number);
            late
        });
        late.count() as f64 / self.came.len() as f64
    }

    pub fn lost(&self) -> f64 {
        1.0 - self.came.len() as f64 / self.took.len() as f64
    }
}

/// Sends `count` datagrams, one each `pace`.
pub fn run(net: &Pair, count: usize, pace: Duration) -> Run {
    run_doing(net, count, pace, |_| {})
}

/// The same, and does something before each, of which there is the number.
pub fn run_doing(net: &Pair, count: usize, pace: Duration, before: impl Fn(usize)) -> Run {
    let steps = (0..).map(|number| pace * number);
    send(net, &steps.take(count).collect::<Vec<_>>(), before)
}

/// The same as [`run`], each from another processor than the one before it, of two.
///
/// # Panics
/// When this process may not run on the first two.
pub fn run_moving(net: &Pair, count: usize, pace: Duration) -> Run {
    from_processors(net, count, pace, |number| number % 2)
}

/// The same as [`run`], all from one processor, between which and another the scheduler would choose.
///
/// # Panics
/// When this process may not run on the first one.
pub fn run_staying(net: &Pair, count: usize, pace: Duration) -> Run {
    from_processors(net, count, pace, |_| 0)
}

fn from_processors(net: &Pair, count: usize, pace: Duration, processor: impl Fn(usize) -> usize) -> Run {
    let me = Pid::from_raw(0);
    let before = sched_getaffinity(me).expect("a thread may know where it runs");
    let sent = run_doing(net, count, pace, |number| {
        let mut there = CpuSet::new();
        there.set(processor(number)).expect("one of the first");
        sched_setaffinity(me, &there).expect("it may run there");
    });
    sched_setaffinity(me, &before).expect("it ran there before");
    sent
}

/// Sends `count` datagrams at the moments of a Poisson process, `pace` apart on average. At a regular pace what a delay lets
/// go may meet the next datagram's sending each time, or never (RFC 2330, section 11.1).
pub fn run_at_random(net: &Pair, count: usize, pace: Duration) -> Run {
    let mut at = Duration::ZERO;
    let steps = (1..).map(|number: u64| {
        let share = (mix(number) >> 11) as f64 / (1_u64 << 53) as f64;
        at += pace.mul_f64(-(1.0 - share).ln());
        at
    });
    send(net, &steps.take(count).collect::<Vec<_>>(), |_| {})
}

/// Sends a datagram at each of these moments after the start, and does something before each.
fn send(net: &Pair, moments: &[Duration], before: impl Fn(usize)) -> Run {
    let count = moments.len();
    let to = net.server.at(PORT);
    let receiver = net.server.netns.enter(|| {
        let socket = UdpSocket::bind(to).expect("a free port");
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).expect("Linux has it");
        setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).expect("root may");
        socket.set_read_timeout(Some(SILENCE)).expect("not zero");
        socket
    });
    let sender = net.client.netns.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a free port");
        socket.connect(to).expect("the way is known");
        socket
    });
    std::thread::scope(|scope| {
        let received = scope.spawn(|| receive(&receiver, count));
        let mut sent = Vec::with_capacity(count);
        let start = Instant::now();
        for (number, moment) in moments.iter().enumerate() {
            before(number);
            let due = start + *moment;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            sent.push(nanos(
                clock_gettime(ClockId::CLOCK_REALTIME).expect("there is a clock"),
            ));
            sender
                .send(&(number as u64).to_le_bytes())
                .expect("the sender notices nothing");
        }
        let received = received.join().expect("the receiver does not panic");
        let mut took = vec![None; count];
        let mut came = Vec::with_capacity(count);
        for (number, at) in received {
            took[number] = Some((at - sent[number]) as f64 / 1e6);
            came.push(number);
        }
        Run { took, came }
    })
}

fn receive(socket: &UdpSocket, count: usize) -> Vec<(usize, i64)> {
    let mut received = Vec::with_capacity(count);
    let mut seen = vec![false; count];
    while received.len() < count {
        let mut bytes = [0; 8];
        let mut space = nix::cmsg_space!(TimeSpec);
        let mut into = [IoSliceMut::new(&mut bytes)];
        let Ok(message) = recvmsg::<()>(socket.as_raw_fd(), &mut into, Some(&mut space), MsgFlags::empty())
        else {
            break;
        };
        let at = message
            .cmsgs()
            .expect("the space is large enough")
            .find_map(|note| match note {
                ControlMessageOwned::ScmTimestampns(at) => Some(nanos(at)),
                _ => None,
            });
        let number = usize::try_from(u64::from_le_bytes(bytes)).expect("a small number");
        if let (Some(at), false) = (at, seen[number]) {
            seen[number] = true;
            received.push((number, at));
        }
    }
    received
}

fn nanos(time: TimeSpec) -> i64 {
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}
