//! How runtimes name the cgroup of a container.

/// What stands before the id, by runtime and cgroup manager.
const RUNTIMES: [&str; 9] = [
    "docker-",
    "cri-containerd-",
    "crio-",
    "libpod-",
    "crun-",
    "runc-",
    "podman-",
    "nerdctl-",
    "youki-",
];

/// The container id that a directory name carries: `docker-<id>.scope`, `libpod-<id>`, or 64 bare hex digits.
///
/// The monitors (`crio-conmon-<id>.scope`, `libpod-conmon-<id>.scope`) live beside the container, not in it.
pub(super) fn container_id(name: &str) -> Option<&str> {
    let is_long_id = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_long_id(name) {
        return Some(name);
    }
    let (bare, is_scope) = match name.strip_suffix(".scope") {
        Some(bare) => (bare, true),
        None => (name, false),
    };
    let id = RUNTIMES.iter().find_map(|runtime| bare.strip_prefix(runtime))?;
    // Without a suffix only a long id is sure to be one (`docker-storage` is a name like any other).
    (!id.is_empty() && !id.starts_with("conmon-") && (is_scope || is_long_id(id))).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::container_id;

    #[test]
    fn the_names_that_runtimes_use() {
        let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        for name in [
            id.to_owned(),
            format!("docker-{id}.scope"),
            format!("cri-containerd-{id}.scope"),
            format!("crio-{id}.scope"),
            format!("libpod-{id}.scope"),
            format!("libpod-{id}"),
        ] {
            assert_eq!(container_id(&name), Some(id), "{name}");
        }
        assert_eq!(container_id("crun-web.scope"), Some("web"));
        let others = [
            "docker.service",
            "docker-storage",
            "system.slice",
            "init.scope",
            "docker-.scope",
            "",
        ];
        for name in others {
            assert_eq!(container_id(name), None, "{name}");
        }
        assert_eq!(container_id(&format!("libpod-conmon-{id}.scope")), None);
        assert_eq!(container_id(&format!("crio-conmon-{id}.scope")), None);
    }
}
