//! The parsers of the kernel programs, walked here over the same bytes, with the rules that the real plan makes.

use std::cell::Cell;

use chaos_daemon::plan::{Application, Context, drafts};
use chaos_ebpf_common::abi::{HEAD, fault};
use chaos_ebpf_common::application::http::{self, Kind, Named, Request};
use chaos_ebpf_common::application::{GO, Head, Loops, PLACES, Place, dns};
use chaos_spec::FaultSpec;

/// What a rule looks for.
pub struct Rule(std::sync::Arc<Application>);

/// What it has to do with a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    Nothing,
    /// It is answered: so long is the question, or it is a `HEAD` request.
    Answer {
        question: usize,
        kind: u16,
        is_head: bool,
    },
    /// Counted as one that cannot be read.
    Unseen,
}

struct Bytes {
    room: Vec<u8>,
    kept: [Cell<u32>; PLACES],
}

#[derive(Clone, Copy)]
struct Room<'a>(&'a Bytes);

impl Head for Room<'_> {
    fn byte(self, at: u32) -> u8 {
        self.0.room[(at & (HEAD - 1)) as usize]
    }
    fn word(self, at: u32) -> u64 {
        let at = (at & (HEAD - 1)) as usize;
        u64::from_le_bytes(self.0.room[at..at + 8].try_into().expect("eight bytes"))
    }
    fn keep(self, place: Place, number: u32) {
        self.0.kept[place as usize].set(number);
    }
    fn kept(self, place: Place) -> u32 {
        self.0.kept[place as usize].get()
    }
}

struct Plain;

impl Loops for Plain {
    fn each<T>(rounds: u32, body: extern "C" fn(u32, &mut T) -> i64, state: &mut T) {
        for i in 0..rounds {
            if body(i, state) != GO {
                break;
            }
        }
    }
}

/// A payload with something else behind it than the kernel has there.
fn room(payload: &[u8]) -> Bytes {
    let mut room = payload[..payload.len().min(HEAD as usize)].to_vec();
    room.resize(2 * HEAD as usize + 64, b'\n');
    Bytes {
        room,
        kept: Default::default(),
    }
}

impl Rule {
    /// As the daemon makes it of a fault.
    ///
    /// # Panics
    /// When the parser refuses it.
    pub fn of(fault: &str) -> Self {
        let text = format!(
            "{{apiVersion: chaos-daemon.dev/v1alpha1, kind: NetworkFault, metadata: {{name: host}}, \
             spec: {{target: {{netns: /run/netns/x}}, fault: {fault}, duration: 1h}}}}"
        );
        let mut faults =
            chaos_spec::parse("host.yaml", text.as_bytes()).unwrap_or_else(|e| panic!("{fault}: {e}"));
        let spec: FaultSpec = faults.remove(0).fault.spec;
        let context = Context {
            seed: 42,
            addresses: &[],
        };
        let drafts = drafts(&spec, &context).expect("it is small");
        let draft = drafts
            .iter()
            .find(|draft| draft.rule.faults & (fault::HTTP | fault::DNS) != 0);
        Self(
            draft
                .and_then(|draft| draft.application.clone())
                .expect("it looks into payloads"),
        )
    }

    pub fn says(&self, payload: &[u8]) -> Says {
        match self.0.as_ref() {
            Application::Http(rule) => of_http(rule, payload),
            Application::Dns(rule) => of_dns(rule, payload),
        }
    }
}

fn of_http(rule: &chaos_ebpf_common::abi::Http, payload: &[u8]) -> Says {
    if payload.is_empty() {
        return Says::Nothing;
    }
    let room = room(payload);
    let mut request = Request::default();
    let length = payload.len().min(HEAD as usize) as u32;
    match http::read(Room(&room), length, &mut request) {
        Kind::Other => Says::Nothing,
        Kind::Request => match http::names::<Plain, _>(rule, Room(&room), &mut request) {
            Named::No => Says::Nothing,
            Named::Unknown => Says::Unseen,
            Named::Yes => Says::Answer {
                question: 0,
                kind: 0,
                is_head: http::is_head(&request),
            },
        },
        Kind::Split | Kind::Tls | Kind::Http2 => Says::Unseen,
    }
}

fn of_dns(rule: &chaos_ebpf_common::abi::Dns, payload: &[u8]) -> Says {
    if payload.len() > HEAD as usize {
        return Says::Nothing;
    }
    let room = room(payload);
    match dns::read::<Plain, _>(Room(&room), payload.len() as u32) {
        Some(question) if dns::names::<Plain, _>(rule, Room(&room), &question) => Says::Answer {
            question: question.end() as usize,
            kind: question.kind as u16,
            is_head: false,
        },
        _ => Says::Nothing,
    }
}
