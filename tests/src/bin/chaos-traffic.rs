//! The helper process behind `Workload`: clients and servers inside a namespace and a cgroup.
#![forbid(unsafe_code)]

fn main() -> std::io::Result<()> {
    chaos_tests::workload::serve()
}
