//! Packets in, verdicts and packets out: the real programs over BPF_PROG_TEST_RUN, with maps that the real plan filled.
#![forbid(unsafe_code)]

#[path = "testrun/answers.rs"]
mod answers;
#[path = "testrun/chance.rs"]
mod chance;
#[path = "testrun/change.rs"]
mod change;
#[path = "testrun/cost.rs"]
mod cost;
#[path = "testrun/endings.rs"]
mod endings;
#[path = "testrun/filters.rs"]
mod filters;
#[path = "testrun/guard.rs"]
mod guard;
#[path = "testrun/host.rs"]
mod host;
#[path = "testrun/hostile.rs"]
mod hostile;
#[path = "testrun/order.rs"]
mod order;
#[path = "testrun/parsing.rs"]
mod parsing;
#[path = "testrun/questions.rs"]
mod questions;
#[path = "testrun/requests.rs"]
mod requests;
#[path = "testrun/sockets.rs"]
mod sockets;
#[path = "testrun/support.rs"]
mod support;
#[path = "testrun/table.rs"]
mod table;
