//! A rule in plain words, for `plan`.

use chaos_spec::{Direction, FaultSpec};

/// One sentence: what happens to which packets, seen from the target.
pub fn rule_text(spec: &FaultSpec, hook: chaos_ebpf_common::abi::Hook) -> String {
    use chaos_ebpf_common::abi::Hook;
    let mut spec = spec.clone();
    let place = match hook {
        Hook::Egress => {
            spec.traffic.direction = Direction::Egress;
            "as they leave"
        }
        Hook::Ingress => {
            spec.traffic.direction = Direction::Ingress;
            "as they arrive"
        }
        Hook::Xdp => {
            spec.traffic.direction = Direction::Ingress;
            "as they arrive, before the stack"
        }
    };
    format!("{}, {place}", chaos_spec::explain::summary(&spec))
}
