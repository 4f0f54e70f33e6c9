//! End to end: a real daemon, real clients and servers, in namespaces and cgroups that the tests make.
#![forbid(unsafe_code)]

#[path = "netns/approval.rs"]
mod approval;
#[path = "netns/audit.rs"]
mod audit;
#[path = "netns/bad_input.rs"]
mod bad_input;
#[path = "netns/bandwidth.rs"]
mod bandwidth;
#[path = "netns/bed.rs"]
mod bed;
#[path = "netns/catalog.rs"]
mod catalog;
#[path = "netns/chances.rs"]
mod chances;
#[path = "netns/change.rs"]
mod change;
#[path = "netns/cli.rs"]
mod cli;
#[path = "netns/clock.rs"]
mod clock;
#[path = "netns/clsact.rs"]
mod clsact;
#[path = "netns/coexist.rs"]
mod coexist;
#[path = "netns/compose.rs"]
mod compose;
#[path = "netns/corrupt.rs"]
mod corrupt;
#[path = "netns/delay.rs"]
mod delay;
#[path = "netns/dns.rs"]
mod dns;
#[path = "netns/dns_bed.rs"]
mod dns_bed;
#[path = "netns/dns_clients.rs"]
mod dns_clients;
#[path = "netns/dns_messages.rs"]
mod dns_messages;
#[path = "netns/drop.rs"]
mod drop;
#[path = "netns/duplicate.rs"]
mod duplicate;
#[path = "netns/ending.rs"]
mod ending;
#[path = "netns/experiments.rs"]
mod experiments;
#[path = "netns/filters.rs"]
mod filters;
#[path = "netns/guard.rs"]
mod guard;
#[path = "netns/halt.rs"]
mod halt;
#[path = "netns/harness.rs"]
mod harness;
#[path = "netns/health.rs"]
mod health;
#[path = "netns/health_kinds.rs"]
mod health_kinds;
#[path = "netns/history.rs"]
mod history;
#[path = "netns/hostname.rs"]
mod hostname;
#[path = "netns/http.rs"]
mod http;
#[path = "netns/http_checkout.rs"]
mod http_checkout;
#[path = "netns/http_choice.rs"]
mod http_choice;
#[path = "netns/http_clients.rs"]
mod http_clients;
#[path = "netns/http_hyper.rs"]
mod http_hyper;
#[path = "netns/http_life.rs"]
mod http_life;
#[path = "netns/http_many.rs"]
mod http_many;
#[path = "netns/http_unseen.rs"]
mod http_unseen;
#[path = "netns/http_wire.rs"]
mod http_wire;
#[path = "netns/kernel_cables.rs"]
mod kernel_cables;
#[path = "netns/kernel_delay.rs"]
mod kernel_delay;
#[path = "netns/kernel_line.rs"]
mod kernel_line;
#[path = "netns/kernel_punctual.rs"]
mod kernel_punctual;
#[path = "netns/line.rs"]
mod line;
#[path = "netns/line_full.rs"]
mod line_full;
#[path = "netns/line_paths.rs"]
mod line_paths;
#[path = "netns/line_rate.rs"]
mod line_rate;
#[path = "netns/mtls.rs"]
mod mtls;
#[path = "netns/nat.rs"]
mod nat;
#[path = "netns/ourselves.rs"]
mod ourselves;
#[path = "netns/partition.rs"]
mod partition;
#[path = "netns/people.rs"]
mod people;
#[path = "netns/policy.rs"]
mod policy;
#[path = "netns/probes.rs"]
mod probes;
#[path = "netns/races.rs"]
mod races;
#[path = "netns/reject.rs"]
mod reject;
#[path = "netns/reorder.rs"]
mod reorder;
#[path = "netns/roles.rs"]
mod roles;
#[path = "netns/scale.rs"]
mod scale;
#[path = "netns/schedules.rs"]
mod schedules;
#[path = "netns/segmentation.rs"]
mod segmentation;
#[path = "netns/shared_device.rs"]
mod shared_device;
#[path = "netns/shop.rs"]
mod shop;
#[path = "netns/ssh.rs"]
mod ssh;
#[path = "netns/stacked.rs"]
mod stacked;
#[path = "netns/stream.rs"]
mod stream;
#[path = "netns/targets.rs"]
mod targets;
#[path = "netns/udp_gso.rs"]
mod udp_gso;
#[path = "netns/uncut.rs"]
mod uncut;
#[path = "netns/unit_file.rs"]
mod unit_file;
#[path = "netns/xdp.rs"]
mod xdp;
