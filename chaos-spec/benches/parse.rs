//! Reading what people write: `cargo xtask bench code`.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn fault(cidrs: &str) -> String {
    format!(
        "apiVersion: chaos-daemon.dev/v1alpha1\nkind: NetworkFault\nmetadata: {{name: slow-orders-db}}\nspec:\n  target: {{cgroup: /system.slice/orders.service}}\n  \
         traffic: {{direction: egress, protocol: tcp, remote: {{cidrs: [{cidrs}], ports: [5432]}}}}\n  fault: {{drop: {{chance: 5%}}, delay: {{latency: 100ms, jitter: 20ms}}}}\n  duration: 2m\n"
    )
}

fn parse(c: &mut Criterion) {
    let mut many = String::new();
    for n in 0..65_534_u32 {
        let _ = write!(many, "10.{}.{}.{},", 200 + (n >> 16), n >> 8 & 255, n & 255);
    }
    let mut group = c.benchmark_group("parse");
    for (name, text) in [
        ("one fault", fault("10.0.0.0/8")),
        ("65,534 addresses", fault(many.trim_end_matches(','))),
    ] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| chaos_spec::parse("fault.yaml", black_box(text.as_bytes())).expect("it is right"));
        });
    }
    group.finish();
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(20);
    targets = parse
}
criterion_main!(all);
