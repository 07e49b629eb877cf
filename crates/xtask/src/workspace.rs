//! Where the checkout is, what belongs to it, and the one door through which xtask starts programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, bail};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("xtask lies two folders below the root")
        .to_path_buf()
}

/// A program to be started, in the root of the checkout unless the caller says otherwise.
#[expect(
    clippy::disallowed_methods,
    reason = "the one door of xtask to other programs"
)]
pub(crate) fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root());
    command
}

/// Runs a program to its end and yields its standard output.
pub(crate) fn output_of(command: &mut Command) -> anyhow::Result<String> {
    let shown = format!("{command:?}");
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}\n{}", String::from_utf8_lossy(&stderr));
    }
    String::from_utf8(stdout).with_context(|| format!("{shown} did not answer in UTF-8"))
}

/// Runs a program to its end with its output shown as it comes.
pub(crate) fn watch(command: &mut Command) -> anyhow::Result<()> {
    let shown = format!("{command:?}");
    let status = command
        .status()
        .with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// Files of the checkout, those not yet added included and ignored ones left out, relative to the root.
pub(crate) fn files() -> anyhow::Result<Vec<String>> {
    let listed = output_of(program("git").args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "--deduplicate",
    ]))?;
    Ok(listed
        .lines()
        .filter(|path| root().join(path).is_file())
        .map(str::to_owned)
        .collect())
}

/// The manifests of the workspace, as `cargo metadata` tells them.
pub(crate) fn manifests() -> anyhow::Result<Vec<Manifest>> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        packages: Vec<Manifest>,
    }
    let told =
        output_of(program(env!("CARGO")).args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Metadata = serde_json::from_str(&told).context("cargo metadata")?;
    Ok(metadata.packages)
}

/// One crate of ours, as far as the rules look at it.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Manifest {
    /// The package's name, which is its folder's name.
    pub(crate) name: String,
    /// Everything it depends on, of all sorts.
    pub(crate) dependencies: Vec<Dependency>,
    /// Its library and programs.
    pub(crate) targets: Vec<Target>,
}

/// A line under `[dependencies]` or its siblings.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Dependency {
    /// The package depended on.
    pub(crate) name: String,
    /// Absent for an ordinary one, else `dev` or `build`.
    pub(crate) kind: Option<String>,
    /// The folder, for crates of ours.
    pub(crate) path: Option<PathBuf>,
}

/// A library or program.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Target {
    /// `lib`, `bin`, `test`, …
    pub(crate) kind: Vec<String>,
    /// The file of its root module.
    pub(crate) src_path: PathBuf,
}
