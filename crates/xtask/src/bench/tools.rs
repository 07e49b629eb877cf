//! The programs that take part: found or built.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::Options;
use crate::workspace;

/// Where each program is.
pub(crate) struct Tools {
    /// The stub backend.
    pub(crate) stub: PathBuf,
    /// The load generator.
    pub(crate) load: PathBuf,
    /// The minimal hop.
    pub(crate) hop: PathBuf,
    /// What is measured.
    pub(crate) marque: PathBuf,
    /// nginx, by name.
    pub(crate) nginx: &'static str,
}

impl Tools {
    /// Builds what is not given.
    pub(crate) fn find(options: &Options) -> anyhow::Result<Self> {
        let folder = match &options.tools_built {
            Some(folder) => folder.clone(),
            None => build_tools(&workspace::root().join(&options.tools))?,
        };
        let marque = match &options.marque {
            Some(path) => path
                .canonicalize()
                .with_context(|| path.display().to_string())?,
            None => build_marque()?,
        };
        let tool = |name: &str| {
            let path = folder.join(name);
            path.canonicalize()
                .with_context(|| path.display().to_string())
        };
        let nginx = ["nginx", "/usr/sbin/nginx"]
            .into_iter()
            .find(|name| workspace::program(name).arg("-v").output().is_ok())
            .context("nginx is not installed; on Debian the package is nginx-light")?;
        Ok(Self {
            stub: tool("mcp-stub")?,
            load: tool("mcp-load")?,
            hop: tool("min-hop")?,
            marque,
            nginx,
        })
    }
}

fn build_tools(sources: &Path) -> anyhow::Result<PathBuf> {
    if !sources.join("Cargo.toml").is_file() {
        bail!(
            "no measuring tools at {}: name their folder with --tools",
            sources.display()
        );
    }
    let target = workspace::root().join("target/bench-tools");
    workspace::watch(
        workspace::program(env!("CARGO"))
            .args(["build", "--release", "--locked", "--manifest-path"])
            .arg(sources.join("Cargo.toml"))
            .env("CARGO_TARGET_DIR", &target),
    )?;
    Ok(target.join("release"))
}

fn build_marque() -> anyhow::Result<PathBuf> {
    workspace::watch(workspace::program(env!("CARGO")).args([
        "build",
        "--release",
        "--package",
        "cli",
        "--bin",
        "marque",
    ]))?;
    Ok(workspace::root().join("target/release/marque"))
}
