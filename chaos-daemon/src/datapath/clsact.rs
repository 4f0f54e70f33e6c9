//! tc by netlink, for kernels without TCX (before 6.6). Filters and qdiscs outlive the process, so each is
//! in the journal before it is made. All of it runs inside the target namespace.

use std::io;

use aya::programs::{
    SchedClassifier, TcAttachType,
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
};
use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::tc as wire;

use super::DatapathError;
use crate::{
    safety::journal::{Change, Entry, Journal, PlaceNote},
    target::{Interface, Netns, Queue},
};

/// Our place among the filters of a device: first.
const PRIORITY: u16 = 1;
/// A handle that the next start can tell from others'.
const HANDLE: TcHandle = TcHandle::new(0, 0xc4a0);

/// A filter of ours.
pub struct Filter {
    link: SchedClassifierLink,
    entry: Entry,
}

/// A clsact qdisc of ours: goes when the last of our filters on its device has gone.
pub struct Qdisc {
    interface: String,
    entry: Entry,
}

/// Attaches a filter to a device, making the clsact qdisc when it is missing; then that is ours, too.
pub fn add(
    netns: &Netns,
    interface: &Interface,
    egress: bool,
    program: &mut SchedClassifier,
    journal: &mut Journal,
) -> Result<(Filter, Option<Qdisc>), DatapathError> {
    let place = PlaceNote {
        netns_dev: netns.dev,
        netns_inode: netns.inode,
        netns: netns.entry.display().to_string(),
        interface: interface.name.clone(),
        ifindex: interface.index,
    };
    let denied = |e: crate::safety::journal::JournalError| DatapathError::Unsupported {
        what: format!("a clsact filter on {}", interface.name),
        why: e.to_string(),
    };
    let qdisc_entry = journal
        .record(Change::ClsactQdisc { place: place.clone() })
        .map_err(denied)?;
    let name = interface.name.clone();
    let made = netns.run(move || tc::qdisc_add_clsact(&name))?;
    let qdisc = match made {
        Ok(()) => Some(Qdisc {
            interface: interface.name.clone(),
            entry: qdisc_entry,
        }),
        Err(error) => {
            journal.close(qdisc_entry);
            let call = format!("add a clsact qdisc to {}", interface.name);
            match errno(&error) {
                Some(libc::EEXIST) if egress => takes_egress(netns, interface)?,
                Some(libc::EEXIST) => {}
                Some(errno) => return Err(DatapathError::system(call, io::Error::from_raw_os_error(errno))),
                None => return Err(DatapathError::system(call, io::Error::other(error.to_string()))),
            }
            None
        }
    };
    let change = Change::ClsactFilter {
        place,
        egress,
        priority: PRIORITY,
        handle: HANDLE.into(),
    };
    let attached = journal.record(change).map_err(denied).and_then(|entry| {
        let attached = netns.run(|| {
            let options = NlOptions {
                priority: PRIORITY,
                handle: HANDLE,
                classid: None,
            };
            program
                .attach_with_options(
                    &interface.name,
                    direction(egress),
                    TcAttachOptions::Netlink(options),
                )
                .and_then(|link| program.take_link(link))
        })?;
        attached.map(|link| Filter { link, entry }).map_err(|error| {
            journal.close(entry);
            DatapathError::Unsupported {
                what: format!("a clsact filter on {}", interface.name),
                why: error.to_string(),
            }
        })
    });
    match attached {
        Ok(filter) => Ok((filter, qdisc)),
        Err(error) => {
            remove(netns, Vec::new(), qdisc.into_iter().collect(), journal);
            Err(error)
        }
    }
}

/// Attaches a program to what arrives at a device of our own in the calling thread's namespace: qdisc and filter go with
/// the device, which goes with the process.
pub fn add_to_own(device: &str, program: &mut SchedClassifier) -> io::Result<()> {
    tc::qdisc_add_clsact(device).map_err(io::Error::other)?;
    let options = NlOptions {
        priority: PRIORITY,
        handle: HANDLE,
        classid: None,
    };
    let attached =
        program.attach_with_options(device, TcAttachType::Ingress, TcAttachOptions::Netlink(options));
    let link = attached
        .and_then(|link| program.take_link(link))
        .map_err(io::Error::other)?;
    // Dropped, it would look for the filter in whatever namespace the thread is in then.
    std::mem::forget(link);
    Ok(())
}

/// Takes filters away, then qdiscs, unless somebody else has put filters there meanwhile.
pub fn remove(netns: &Netns, filters: Vec<Filter>, qdiscs: Vec<Qdisc>, journal: &mut Journal) {
    let (links, entries): (Vec<_>, Vec<_>) = filters.into_iter().map(|f| (f.link, f.entry)).unzip();
    // Dropping a link deletes its filter by netlink, which works on the namespace of the calling thread. A
    // namespace that is gone has taken its filters with it.
    if let Err(error) = netns.run(move || drop(links)) {
        tracing::debug!(%error, "the namespace went before its filters");
    }
    for entry in entries {
        journal.close(entry);
    }
    for Qdisc { interface, entry } in qdiscs {
        remove_qdisc(netns, &interface);
        journal.close(entry);
    }
}

/// Undoes what a previous daemon left behind, last change first. Returns what was undone, for people.
pub fn reap(journal: &mut Journal) -> Vec<String> {
    let mut undone = Vec::new();
    for (entry, change) in journal.leftovers().into_iter().rev() {
        match change {
            Change::ClsactFilter {
                place,
                egress,
                priority,
                handle,
            } => {
                let netns = netns_of(&place);
                let name = place.interface.clone();
                let found = netns.run(move || {
                    if nix::net::if_::if_nametoindex(name.as_str()).is_ok_and(|index| index == place.ifindex)
                    {
                        // Taking the link over and dropping it deletes the filter, if it is there.
                        drop(SchedClassifierLink::attached(
                            &name,
                            direction(egress),
                            priority,
                            handle.into(),
                            None,
                        ));
                    }
                });
                undone.push(format!(
                    "clsact filter on {} in {}{}",
                    place.interface,
                    place.netns,
                    gone(&found)
                ));
            }
            Change::ClsactQdisc { place } => {
                remove_qdisc(&netns_of(&place), &place.interface);
                undone.push(format!("clsact qdisc on {} in {}", place.interface, place.netns));
            }
        }
        journal.close(entry);
    }
    undone
}

fn gone<T>(found: &Result<T, crate::target::TargetError>) -> &'static str {
    if found.is_err() {
        " (went with its namespace)"
    } else {
        ""
    }
}

fn netns_of(place: &PlaceNote) -> Netns {
    Netns {
        dev: place.netns_dev,
        inode: place.netns_inode,
        label: place.netns.clone(),
        entry: place.netns.clone().into(),
        is_own: false,
    }
}

fn direction(egress: bool) -> TcAttachType {
    if egress {
        TcAttachType::Egress
    } else {
        TcAttachType::Ingress
    }
}

fn errno(error: &TcError) -> Option<i32> {
    match error {
        TcError::NetlinkError(error) => error.raw_os_error(),
        _ => None,
    }
}

/// An `ingress` qdisc sits where clsact would, and takes a filter for what leaves as one for what arrives.
fn takes_egress(netns: &Netns, interface: &Interface) -> Result<(), DatapathError> {
    let failed = |why: String| DatapathError::Unsupported {
        what: format!("a clsact filter on {}", interface.name),
        why,
    };
    let queues = Queue::all_of(netns)?;
    let there = |queue: &Queue| {
        queue.ifindex == interface.index && wire::TcHandle::from(queue.parent) == wire::TcHandle::CLSACT
    };
    match queues.into_iter().find(there).map(|queue| queue.kind) {
        Some(kind) if kind != "clsact" => Err(failed(format!(
            "it has a qdisc `{kind}` in that place, which has no filters for what leaves; replace that one by clsact (it \
             has the same filters for what arrives), or use a kernel with TCX (Linux 6.6)"
        ))),
        _ => Ok(()),
    }
}

/// Whether what leaves by one of these devices may have to wait for the time that its socket says: then packets of
/// no socket overtake those of the same flow (net/sched/sch_fq.c, `fq_classify`).
pub fn pace(netns: &Netns, interfaces: &[Interface]) -> bool {
    let queues = Queue::all_of(netns).unwrap_or_else(|error| {
        // A kernel without queues to choose from.
        tracing::debug!(%error, "no queues are known");
        Vec::new()
    });
    let paced = |queue: &Queue| matches!(queue.kind.as_str(), "fq" | "etf");
    let ours = |queue: &Queue| {
        interfaces
            .iter()
            .any(|interface| interface.index == queue.ifindex)
    };
    queues.iter().any(|queue| paced(queue) && ours(queue))
}

/// Runs netlink requests where the calling thread is.
fn on_runtime<T>(work: impl Future<Output = Result<T, rtnetlink::Error>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    runtime.block_on(work).map_err(|e| e.to_string())
}

/// Removes a clsact qdisc, unless somebody has put filters there meanwhile.
fn remove_qdisc(netns: &Netns, interface: &str) {
    let removed = netns.run(|| -> Result<(), String> {
        let Ok(ifindex) = nix::net::if_::if_nametoindex(interface) else {
            return Ok(());
        };
        on_runtime(delete_idle_qdisc(ifindex as i32))
    });
    match removed {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(interface, error, "a clsact qdisc of ours could not be removed"),
        Err(error) => tracing::debug!(%error, "the namespace went before its qdisc"),
    }
}

async fn delete_idle_qdisc(ifindex: i32) -> Result<(), rtnetlink::Error> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|e| rtnetlink::Error::NamespaceError(e.to_string()))?;
    let connection = tokio::spawn(connection);
    let mut filters = 0;
    for request in [
        handle.traffic_filter(ifindex).get().ingress(),
        handle.traffic_filter(ifindex).get().egress(),
    ] {
        let mut found = request.execute().boxed();
        while found.try_next().await?.is_some() {
            filters += 1;
        }
    }
    if filters == 0 {
        let mut request = handle.qdisc().del(ifindex);
        request.message_mut().header.parent = wire::TcHandle::CLSACT;
        request.execute().await?;
    }
    connection.abort();
    Ok(())
}
