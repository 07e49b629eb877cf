//! What is judged: servers of every kind, and Marque in front of them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::front::Front;
use super::kind::Kind;
use super::process::{Running, pause};
use super::report;
use crate::workspace;

/// How long a program may take until it names its endpoint.
pub(super) const NAMED_WITHIN: Duration = Duration::from_secs(15);
/// How long an endpoint may take until its servers answer.
const READY_WITHIN: Duration = Duration::from_secs(30);
const READY_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Who stands before the judges.
pub(super) enum Subject {
    /// Marque in front of the fixture.
    Marque {
        /// Which one.
        program: Program,
        /// Three of it behind a balancer that sends every request to the next one.
        replicas: bool,
    },
    /// The fixture alone.
    Fixture,
    /// Somebody at this URL.
    Given(String),
}

/// A Marque to be judged.
#[derive(Clone)]
pub(super) enum Program {
    /// Built with optimization.
    Release,
    /// Built without.
    Debug,
    /// Built before.
    Given(PathBuf),
}

/// The programs, and where files go. Shared by all that run beside each other.
pub(super) struct Stage {
    pub(super) folder: PathBuf,
    subject: Subject,
    programs: Programs,
}

/// What was built.
pub(super) struct Programs {
    pub(super) marque: PathBuf,
    pub(super) balancer: PathBuf,
    pub(super) client: PathBuf,
    fixture: PathBuf,
}

/// Something to judge and everything that runs for it, ended in this order.
pub(super) struct Endpoint {
    pub(super) url: String,
    front: Option<Front>,
    server: Option<Server>,
}

/// A fixture that runs.
struct Server {
    url: String,
    _running: Option<Running>,
}

impl Stage {
    /// Builds what is needed.
    pub(super) fn set(subject: Subject) -> anyhow::Result<Self> {
        build(&["-p", "testkit", "--bins"])?;
        let folder = workspace::root().join(format!(".judges/run-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let built = workspace::root().join("target");
        let programs = Programs {
            marque: marque(&subject, &built)?,
            balancer: built.join("debug/balancer"),
            client: built.join("debug/rmcp-client"),
            fixture: built.join("debug/fixture-server"),
        };
        Ok(Self {
            folder,
            subject,
            programs,
        })
    }

    /// Starts a server of this kind, and Marque over it with what `toolset` makes of its declaration.
    /// A Marque that does not stand in between is left out, and so is a server where the endpoint was given.
    pub(super) fn endpoint(
        &self,
        name: &str,
        kind: Kind,
        toolset: impl Fn(&str) -> String,
    ) -> anyhow::Result<Endpoint> {
        let mut endpoint = match &self.subject {
            Subject::Given(url) => Endpoint {
                url: url.clone(),
                front: None,
                server: None,
            },
            Subject::Fixture | Subject::Marque { .. } => {
                let server = self.server(name, kind)?;
                Endpoint {
                    url: server.url.clone(),
                    front: None,
                    server: Some(server),
                }
            }
        };
        if let Subject::Marque { replicas, .. } = self.subject {
            let declared = kind.declared(&endpoint.url, &self.programs.fixture);
            let front = Front::start(self, name, &toolset(&declared), replicas)?;
            endpoint.url.clone_from(&front.url);
            endpoint.front = Some(front);
        }
        self.wait_until_ready(&endpoint.url)?;
        Ok(endpoint)
    }

    /// What is said of a server to a toolset that names it once more.
    pub(super) fn declared(&self, kind: Kind, endpoint: &Endpoint) -> String {
        let url = endpoint.server.as_ref().map_or("", |server| &server.url);
        kind.declared(url, &self.programs.fixture)
    }

    /// The built programs.
    pub(super) fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Whether Marque stands in between.
    pub(super) fn is_marque(&self) -> bool {
        matches!(self.subject, Subject::Marque { .. })
    }

    /// Whether several of it do.
    pub(super) fn is_replicas(&self) -> bool {
        matches!(self.subject, Subject::Marque { replicas: true, .. })
    }

    /// Calls a tool once with the Rust SDK's client.
    pub(super) fn call(&self, url: &str, tool: &str) -> anyhow::Result<String> {
        let mut client = workspace::program(&self.programs.client);
        workspace::output_of(client.args([url, "--call", tool]))
    }

    /// Puts a section into `docs/conformance.md`, unless a stranger was judged.
    pub(super) fn write(&self, section: report::Section, text: &str) -> anyhow::Result<()> {
        let subject = match self.subject {
            Subject::Marque {
                replicas: false, ..
            } => "",
            Subject::Marque { replicas: true, .. } => " through three replicas",
            Subject::Fixture => " of the fixture alone",
            Subject::Given(_) => return Ok(()),
        };
        report::write(section, subject, text)
    }

    /// Removes the files unless they are to be kept.
    pub(super) fn end(self, keep: bool) -> anyhow::Result<()> {
        if keep {
            println!("kept: {}", self.folder.display());
            return Ok(());
        }
        Ok(std::fs::remove_dir_all(&self.folder)?)
    }

    fn server(&self, name: &str, kind: Kind) -> anyhow::Result<Server> {
        let Some(arguments) = kind.arguments() else {
            return Ok(Server {
                url: String::new(),
                _running: None,
            });
        };
        let mut command = workspace::program(&self.programs.fixture);
        command.args(arguments);
        let mut running = Running::start(&format!("fixture-{name}"), &mut command, &self.folder)?;
        let url = running
            .next_line(Instant::now() + NAMED_WITHIN)?
            .context("the fixture ended")?;
        running.ignore_output();
        Ok(Server {
            url,
            _running: Some(running),
        })
    }

    fn wait_until_ready(&self, url: &str) -> anyhow::Result<()> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            match self.call(url, "test_simple_text") {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= until => {
                    return Err(error.context("not ready in time"));
                }
                Err(_) => pause(READY_AGAIN_AFTER),
            }
        }
    }
}

impl Endpoint {
    /// Where Marque reads its configuration, if it stands in between.
    pub(super) fn configuration(&self) -> Option<&Path> {
        self.front.as_ref().map(|front| front.folder.as_path())
    }
}

/// Where Marque is, built if that is ours to do.
fn marque(subject: &Subject, built: &Path) -> anyhow::Result<PathBuf> {
    let Subject::Marque { program, .. } = subject else {
        return Ok(PathBuf::new());
    };
    match program {
        Program::Release => build(&["-p", "cli", "--release"])?,
        Program::Debug => build(&["-p", "cli"])?,
        Program::Given(path) => {
            return path
                .canonicalize()
                .with_context(|| path.display().to_string());
        }
    }
    let folder = match program {
        Program::Release => "release",
        Program::Debug | Program::Given(_) => "debug",
    };
    Ok(built.join(folder).join("marque"))
}

fn build(what: &[&str]) -> anyhow::Result<()> {
    workspace::watch(
        workspace::program(env!("CARGO"))
            .args(["build", "--quiet"])
            .args(what),
    )
}

/// Replaces a file in one step, so that nobody reads half of it.
pub(super) fn write_whole(file: &Path, text: &str) -> anyhow::Result<()> {
    let beside = file.with_extension("new");
    std::fs::write(&beside, text)?;
    Ok(std::fs::rename(&beside, file)?)
}
