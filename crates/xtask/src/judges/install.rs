//! Foreign programs, by name from their registries, in the versions that `judges/` pins.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::workspace;

/// Scripts of the Node sessions; they lie beside `node_modules`, where Node looks for packages.
const NODE_SCRIPTS: [&str; 8] = [
    "session.mjs",
    "sdk1.mjs",
    "sdk2.mjs",
    "inspector.mjs",
    "scenarios.mjs",
    "scenarios1.mjs",
    "scenarios2.mjs",
    "through.mjs",
];

/// Where everything is.
pub(super) struct Tools {
    /// The pinned Node.
    pub node: PathBuf,
    /// The folder with `node_modules` and the Node sessions.
    pub node_folder: PathBuf,
    /// Python with SDK 1.x, and with SDK 2.x.
    pub pythons: [PathBuf; 2],
    /// The folder with the Python sessions.
    pub python_folder: PathBuf,
    /// Home of foreign programs, so that they leave the real one alone.
    pub home: PathBuf,
    pinned: PathBuf,
}

/// Installs what is not there yet in the pinned version.
pub(super) fn all() -> anyhow::Result<Tools> {
    let pinned = workspace::root().join("judges");
    let folder = workspace::root().join(".judges");
    let node = install_node(&pinned.join("runtime"), &folder.join("runtime"))?;
    let node_folder = folder.join("node");
    install_packages(&pinned.join("node"), &node_folder, &node)?;
    for script in NODE_SCRIPTS {
        std::fs::copy(pinned.join("node").join(script), node_folder.join(script))?;
    }
    let python = |series: u32| install_python(&pinned.join("python"), &folder, series);
    let pythons = [python(1)?, python(2)?];
    let home = folder.join("home");
    std::fs::create_dir_all(&home)?;
    Ok(Tools {
        node,
        node_folder,
        pythons,
        python_folder: pinned.join("python"),
        home,
        pinned,
    })
}

impl Tools {
    /// A program of the pinned Node.
    pub(super) fn node(&self, script: &Path) -> Command {
        let mut command = workspace::program(&self.node);
        command
            .arg(script)
            .env("HOME", &self.home)
            .env("PATH", path_with(&self.node));
        command
    }

    /// The pinned version of a Node package, by the name under which it is installed.
    pub(super) fn node_version(&self, package: &str) -> anyhow::Result<String> {
        #[derive(serde::Deserialize)]
        struct Package {
            version: String,
        }
        let file = self
            .node_folder
            .join("node_modules")
            .join(package)
            .join("package.json");
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Ok(serde_json::from_str::<Package>(&text)?.version)
    }

    /// The pinned version of the Python SDK of that series.
    pub(super) fn python_version(&self, series: usize) -> anyhow::Result<String> {
        let file = self
            .pinned
            .join(format!("python/requirements-{series}.txt"));
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let version = text.lines().find_map(|line| line.strip_prefix("mcp=="));
        Ok(version.context("requirements name no mcp")?.to_owned())
    }
}

fn install_node(pinned: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let program = folder.join("node_modules/node/bin/node");
    if is_fresh(pinned, folder, &["package.json", "package-lock.json"])? && program.is_file() {
        return Ok(program);
    }
    eprintln!("installing Node");
    npm_ci(workspace::program("npm"), folder)?;
    mark_fresh(folder)?;
    Ok(program)
}

fn install_packages(pinned: &Path, folder: &Path, node: &Path) -> anyhow::Result<()> {
    if is_fresh(pinned, folder, &["package.json", "package-lock.json"])? {
        return Ok(());
    }
    eprintln!("installing the suites, the TypeScript SDKs and the Inspector");
    let mut npm = workspace::program("npm");
    // npm itself runs on the pinned Node, or it would leave out what the machine's cannot run.
    npm.env("PATH", path_with(node));
    npm_ci(npm, folder)?;
    mark_fresh(folder)
}

fn npm_ci(mut npm: Command, folder: &Path) -> anyhow::Result<()> {
    npm.current_dir(folder)
        .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
    workspace::output_of(&mut npm).map(drop)
}

fn install_python(pinned: &Path, folder: &Path, series: u32) -> anyhow::Result<PathBuf> {
    let folder = folder.join(format!("python{series}"));
    let requirements = format!("requirements-{series}.txt");
    let program = folder.join("bin/python");
    if is_fresh(pinned, &folder, &[&requirements])? && program.is_file() {
        return Ok(program);
    }
    eprintln!("installing the Python SDK {series}.x");
    let mut environment = workspace::program("python3");
    environment.args(["-m", "venv", "--clear"]).arg(&folder);
    workspace::output_of(&mut environment)
        .context("on Debian this needs the package python3-venv")?;
    let mut pip = workspace::program(&program);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
    ]);
    workspace::output_of(pip.arg(pinned.join(&requirements)))?;
    is_fresh(pinned, &folder, &[&requirements])?;
    mark_fresh(&folder)?;
    Ok(program)
}

/// Whether the folder was installed from exactly these files. Copies them there if not.
fn is_fresh(pinned: &Path, folder: &Path, files: &[&str]) -> anyhow::Result<bool> {
    std::fs::create_dir_all(folder)?;
    let done = folder.join(DONE);
    let mut fresh = done.is_file();
    for file in files {
        let wanted = std::fs::read(pinned.join(file)).with_context(|| format!("judges: {file}"))?;
        let there = folder.join(file);
        if std::fs::read(&there).ok().as_ref() != Some(&wanted) {
            fresh = false;
            std::fs::write(&there, wanted)?;
        }
    }
    if !fresh && done.is_file() {
        std::fs::remove_file(&done)?;
    }
    Ok(fresh)
}

/// File that says: the installation came to its end.
const DONE: &str = "installed";

fn mark_fresh(folder: &Path) -> anyhow::Result<()> {
    Ok(std::fs::write(folder.join(DONE), "")?)
}

/// The search path with the folder of this program first.
fn path_with(program: &Path) -> std::ffi::OsString {
    let first = program.parent().map(Path::to_path_buf);
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let all: Vec<_> = first
        .into_iter()
        .chain(std::env::split_paths(&rest))
        .collect();
    std::env::join_paths(all).unwrap_or(rest)
}
