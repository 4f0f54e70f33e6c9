//! Embeds the kernel programs, which another compiler has built: see `cargo xtask build`.

use std::{env, path::PathBuf, process::exit};

fn main() {
    println!("cargo:rerun-if-env-changed=CHAOS_BPF_OBJECT");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("..");
    let object =
        env::var_os("CHAOS_BPF_OBJECT").map_or_else(|| root.join("target/bpf/chaos-ebpf.o"), PathBuf::from);
    println!("cargo:rerun-if-changed={}", object.display());
    let Ok(object) = object.canonicalize() else {
        eprintln!(
            "the kernel programs are not built: {} is missing",
            object.display()
        );
        eprintln!(
            "run `cargo xtask build` once (it sets up the BPF compiler, too), or name an object in CHAOS_BPF_OBJECT"
        );
        exit(1);
    };
    println!("cargo:rustc-env=CHAOS_BPF_OBJECT={}", object.display());
}
