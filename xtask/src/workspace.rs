//! Where things lie in the checkout.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Paths of the repository. All outputs go below `target/`, whatever the caller's cargo settings say,
/// because the READMEs, the tests and the daemon's build script name them.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    pub(crate) fn discover() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask has no parent folder")?
            .canonicalize()
            .context("the checkout that xtask was built from is gone; run `cargo xtask` from a checkout")?;
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// Folder of the release binaries that tests, benches and the demo start.
    pub(crate) fn release_bins(&self) -> PathBuf {
        self.target().join("release")
    }

    pub(crate) fn daemon(&self) -> PathBuf {
        self.release_bins().join("chaos-daemon")
    }

    pub(crate) fn ctl(&self) -> PathBuf {
        self.release_bins().join("chaosctl")
    }

    /// The crate with the kernel programs; outside the workspace because another compiler builds it.
    pub(crate) fn bpf_crate(&self) -> PathBuf {
        self.root.join("chaos-ebpf")
    }

    /// The object that the daemon's build script embeds.
    pub(crate) fn bpf_object(&self) -> PathBuf {
        self.target().join("bpf").join("chaos-ebpf.o")
    }
}
