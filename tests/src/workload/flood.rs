//! Many small datagrams: a sender that keeps a pace, and a receiver that counts them and sees which were swapped.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl::set_timerslack;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg,
    sendmsg, setsockopt, sockopt,
};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::udp;

/// Bytes of a datagram that say which it is: flow, its number there, and both again at its end.
const LABEL: usize = 4 + 8 + 8;
/// Most datagrams of one call.
const BATCH: usize = 64;
/// How long the receiver lets datagrams gather.
const GATHER: Duration = Duration::from_micros(500);

/// How datagrams are handed to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handing {
    /// Each by a message of its own, so many in one call.
    Messages(usize),
    /// So many as one message, which is cut by the kernel or the device (`UDP_SEGMENT`).
    Segments(usize),
}

/// What a sender is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flood {
    pub to: SocketAddr,
    /// Payload of a datagram, 20 bytes at least; of no more, every flipped bit is seen.
    pub size: usize,
    /// Datagrams a second, together.
    pub rate: u64,
    /// Datagrams, together.
    pub count: u64,
    /// Sockets, which have turns.
    pub flows: u32,
    pub handing: Handing,
}

/// What a sender did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flooded {
    /// Datagrams that the kernel took.
    pub accepted: u64,
    /// And did not take.
    pub refused: u64,
    /// How long it took, nanoseconds.
    pub nanos: u64,
    /// Time of the sender's thread on a CPU, nanoseconds.
    pub cpu: u64,
}

/// What a receiver has counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    pub datagrams: u64,
    /// Behind one of their flow that was sent later.
    pub swapped: u64,
    /// Of another size or content than was sent.
    pub odd: u64,
    /// Calls that received something.
    pub calls: u64,
    /// Time of the receiver's thread on a CPU, nanoseconds.
    pub cpu: u64,
}

fn cpu_nanos() -> u64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(0, |time| Duration::from(time).as_nanos() as u64)
}

/// Both in one, so that a bit that was flipped in either is seen.
fn seal(flow: u32, number: u64) -> u64 {
    number ^ u64::from(flow) << 32
}

fn label(payload: &mut [u8], flow: u32, number: u64) {
    let end = payload.len() - 8;
    payload[..4].copy_from_slice(&flow.to_be_bytes());
    payload[4..12].copy_from_slice(&number.to_be_bytes());
    payload[end..].copy_from_slice(&seal(flow, number).to_be_bytes());
}

fn labelled(payload: &[u8]) -> Option<(u32, u64)> {
    let flow = u32::from_be_bytes(payload.get(..4)?.try_into().ok()?);
    let number = u64::from_be_bytes(payload.get(4..12)?.try_into().ok()?);
    let again = u64::from_be_bytes(*payload.last_chunk()?);
    (payload.len() >= LABEL && again == seal(flow, number)).then_some((flow, number))
}

/// Sends all of it, then returns.
pub(super) fn send(flood: &Flood) -> io::Result<Flooded> {
    let together = match flood.handing {
        Handing::Messages(n) | Handing::Segments(n) => n.clamp(1, BATCH),
    };
    let size = flood.size.max(LABEL);
    // Else each pause would be 50 µs longer than asked.
    set_timerslack(1)?;
    let sockets = (0..flood.flows.max(1))
        .map(|_| {
            let socket = udp::open(None, Some(flood.to))?;
            setsockopt(&socket, sockopt::SndBufForce, &(8 << 20))?;
            Ok(socket)
        })
        .collect::<io::Result<Vec<UdpSocket>>>()?;
    let mut numbers = vec![0_u64; sockets.len()];
    let mut payloads = vec![0_u8; together * size];
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(together, None);
    let mut flooded = Flooded::default();
    let (start, cpu) = (Instant::now(), cpu_nanos());
    let mut turn = 0;
    while flooded.accepted + flooded.refused < flood.count {
        let done = flooded.accepted + flooded.refused;
        let next = start + Duration::from_nanos(1_000_000_000 * done / flood.rate.max(1));
        let early = next.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            thread::sleep(early);
        }
        let place = turn % sockets.len();
        turn += 1;
        let now = (flood.count - done).min(together as u64) as usize;
        for payload in payloads.chunks_mut(size).take(now) {
            label(payload, place as u32, numbers[place]);
            numbers[place] += 1;
        }
        let fd = sockets[place].as_raw_fd();
        let taken = match flood.handing {
            Handing::Segments(_) => {
                let cut = [ControlMessage::UdpGsoSegments(&(size as u16))];
                let all = [IoSlice::new(&payloads[..now * size])];
                sendmsg::<()>(fd, &all, &cut, MsgFlags::empty(), None).map(|bytes| bytes / size)
            }
            Handing::Messages(_) => {
                let pieces: Vec<[IoSlice<'_>; 1]> = payloads
                    .chunks(size)
                    .take(now)
                    .map(|payload| [IoSlice::new(payload)])
                    .collect();
                let nobody = vec![None; now];
                sendmmsg(fd, &mut headers, &pieces, &nobody, [], MsgFlags::empty()).map(Iterator::count)
            }
        };
        match taken {
            Ok(taken) => {
                flooded.accepted += taken as u64;
                numbers[place] -= (now - taken) as u64;
            }
            // The queue of a device is full, which senders are told: those are gone.
            Err(Errno::ENOBUFS | Errno::ECONNREFUSED) => flooded.refused += now as u64,
            Err(error) => return Err(error.into()),
        }
    }
    flooded.nanos = start.elapsed().as_nanos() as u64;
    flooded.cpu = cpu_nanos() - cpu;
    Ok(flooded)
}

/// Counts what arrives.
pub(super) struct Counter(Mutex<Counted>);

impl Counter {
    /// `together`: takes datagrams of one flow together from the kernel when it has them so (`UDP_GRO`).
    pub(super) fn start(bind: SocketAddr, size: usize, together: bool) -> io::Result<Arc<Self>> {
        let socket = udp::open(Some(bind), None)?;
        setsockopt(&socket, sockopt::UdpGroSegment, &together)?;
        let counter = Arc::new(Self(Mutex::default()));
        let shared = Arc::clone(&counter);
        thread::spawn(move || {
            let mut count = Count {
                size: size.max(LABEL),
                last: Vec::new(),
                counted: Counted::default(),
            };
            let mut room = vec![0_u8; BATCH << 16];
            loop {
                let messages = count.receive(&socket, &mut room);
                count.counted.cpu = cpu_nanos();
                *shared.0.lock().unwrap_or_else(PoisonError::into_inner) = count.counted;
                if messages < BATCH {
                    thread::sleep(GATHER);
                }
            }
        });
        Ok(counter)
    }

    pub(super) fn counted(&self) -> Counted {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Count {
    size: usize,
    /// The number of each flow that comes next, if none is lost.
    last: Vec<u64>,
    counted: Counted,
}

impl Count {
    /// Takes what is there, and waits when nothing is: how many messages.
    fn receive(&mut self, socket: &UdpSocket, room: &mut [u8]) -> usize {
        let mut pieces: Vec<[IoSliceMut<'_>; 1]> = room
            .chunks_mut(1 << 16)
            .map(|piece| [IoSliceMut::new(piece)])
            .collect();
        // The kernel writes into each how much it has said of it, so they can be used once.
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, Some(nix::cmsg_space!(i32)));
        let got = recvmmsg(
            socket.as_raw_fd(),
            &mut headers,
            pieces.iter_mut(),
            MsgFlags::MSG_WAITFORONE,
            None,
        );
        // Errors (ICMP for an earlier answer) are no datagrams.
        let Ok(got) = got else { return 0 };
        let lengths: Vec<(usize, usize)> = got
            .map(|message| {
                let cut = message
                    .cmsgs()
                    .ok()
                    .into_iter()
                    .flatten()
                    .find_map(|said| match said {
                        ControlMessageOwned::UdpGroSegments(size) => usize::try_from(size).ok(),
                        _ => None,
                    });
                (message.bytes, cut.unwrap_or(message.bytes))
            })
            .collect();
        self.counted.calls += 1;
        for (piece, (length, cut)) in room.chunks(1 << 16).zip(&lengths) {
            for payload in piece[..*length].chunks((*cut).max(1)) {
                self.count(payload);
            }
        }
        lengths.len()
    }

    fn count(&mut self, payload: &[u8]) {
        self.counted.datagrams += 1;
        let Some((flow, number)) = labelled(payload).filter(|_| payload.len() == self.size) else {
            self.counted.odd += 1;
            return;
        };
        let flow = flow as usize;
        if self.last.len() <= flow {
            self.last.resize(flow + 1, 0);
        }
        if number < self.last[flow] {
            self.counted.swapped += 1;
        } else {
            self.last[flow] = number + 1;
        }
    }
}
