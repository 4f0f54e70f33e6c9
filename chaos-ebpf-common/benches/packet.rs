//! What programs in the kernel decide for each packet, on the host: `cargo xtask bench code`.
#![forbid(unsafe_code)]

use std::hint::black_box;

use chaos_ebpf_common::abi::{CellKey, Front};
use chaos_ebpf_common::address::Address;
use chaos_ebpf_common::front::{CELL_PLACES, Placed, entry, read};
use chaos_ebpf_common::{frame, index};
use criterion::{Criterion, criterion_group, criterion_main};

/// UDP from 10.0.0.1:4000 to 10.0.0.2:53, 8 bytes.
fn datagram() -> Vec<u8> {
    let mut frame = vec![0x02; 12];
    frame.extend([0x08, 0x00, 0x45, 0, 0, 36, 0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0x0f, 0xa0, 0, 53, 0, 16, 0, 0]);
    frame.extend([0; 8]);
    frame
}

fn headers(c: &mut Criterion) {
    let datagram = datagram();
    c.bench_function("headers, plain", |b| {
        b.iter(|| frame::plain(black_box(datagram.as_slice()), 0).expect("it is plain"));
    });
    c.bench_function("headers, any", |b| {
        b.iter(|| frame::parse(black_box(datagram.as_slice()), 0));
    });
}

/// A stranger beside as many addresses as there are places.
fn fronts(c: &mut Criterion) {
    let host = |n: u32| index::key(1, 4, 0, 0, &Address::v4(n.to_be()));
    let mut filed: Vec<Vec<(CellKey, Option<u64>)>> = vec![Vec::new(); CELL_PLACES as usize];
    for n in 0..CELL_PLACES {
        let key = host(0x0a00_0000 + n);
        filed[key.place() as usize].push((key, Some(7)));
    }
    let fronts: Vec<Front<CellKey>> = filed.into_iter().map(|keys| entry(keys.into_iter())).collect();
    let mut n = 0;
    c.bench_function("a stranger beside 131,072 addresses", |b| {
        b.iter(|| {
            n += 1;
            let key = host(0xc0a8_0000 + (n & 0xffff));
            let front = &fronts[key.place() as usize];
            read(front.value, &key, || front.key, || front.value)
        });
    });
}

criterion_group!(all, headers, fronts);
criterion_main!(all);
