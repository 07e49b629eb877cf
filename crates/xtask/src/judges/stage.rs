//! What is judged: the fixture, and Marque in front of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::process::{Running, pause};
use super::report;
use crate::workspace;

/// How long a program may take until it names its endpoint.
const NAMED_WITHIN: Duration = Duration::from_secs(10);
/// How long an endpoint may take until its servers answer.
const READY_WITHIN: Duration = Duration::from_secs(30);
const READY_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Who stands before the judges.
pub(super) enum Subject {
    /// Marque in front of the fixture.
    Marque {
        /// Built with optimization.
        release: bool,
    },
    /// The fixture alone.
    Fixture,
    /// Somebody at this URL.
    Given(String),
}

/// Everything that runs, and where its files are.
pub(super) struct Stage {
    pub(super) folder: PathBuf,
    subject: Subject,
    programs: Programs,
    /// Ended in this order: Marque before the fixture.
    marque: Option<Running>,
    fixture: Option<(Running, String)>,
    /// Whether the endpoint of the client sessions has its third server.
    reloaded: bool,
}

struct Programs {
    marque: PathBuf,
    fixture: PathBuf,
    client: PathBuf,
}

impl Stage {
    /// Builds what is needed and starts the fixture.
    pub(super) fn set(subject: Subject) -> anyhow::Result<Self> {
        let release = matches!(subject, Subject::Marque { release: true });
        build(&["-p", "testkit", "--bins"])?;
        match subject {
            Subject::Marque { release: true } => build(&["-p", "cli", "--release"])?,
            Subject::Marque { release: false } => build(&["-p", "cli"])?,
            Subject::Fixture | Subject::Given(_) => {}
        }
        let folder = workspace::root().join(format!(".judges/run-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let built = workspace::root().join("target");
        let marque = built
            .join(if release { "release" } else { "debug" })
            .join("marque");
        let programs = Programs {
            marque,
            fixture: built.join("debug/fixture-server"),
            client: built.join("debug/rmcp-client"),
        };
        let mut stage = Self {
            folder,
            subject,
            programs,
            marque: None,
            fixture: None,
            reloaded: false,
        };
        if !matches!(stage.subject, Subject::Given(_)) {
            stage.fixture = Some(stage.start_fixture()?);
        }
        Ok(stage)
    }

    /// An endpoint that shows one fixture under its own names.
    pub(super) fn conformance_url(&mut self) -> anyhow::Result<String> {
        let toolset = passthrough(self.fixture_url());
        self.url("conformance", &toolset)
    }

    /// An endpoint over two servers, one of them started by Marque.
    pub(super) fn clients_url(&mut self) -> anyhow::Result<String> {
        let toolset = two_servers(self.fixture_url(), self.reloaded);
        self.url("clients", &toolset)
    }

    /// A call that the second server of the clients' endpoint answers, if there is one.
    pub(super) fn second_call(&self) -> Option<&'static str> {
        match self.subject {
            Subject::Marque { .. } => {
                Some(r#"{"tool":"time_now","arguments":{"zone":"Europe/Berlin"}}"#)
            }
            Subject::Fixture | Subject::Given(_) => None,
        }
    }

    /// Where the clients' endpoint speaks the transport of 2024-11-05.
    pub(super) fn sse_url(&self, url: &str) -> Option<String> {
        matches!(self.subject, Subject::Marque { .. }).then(|| format!("{url}/sse"))
    }

    /// The program that serves the clients' toolset on standard input and output.
    pub(super) fn stdio_command(&self) -> Option<Vec<String>> {
        let words = |path: &Path| path.display().to_string();
        matches!(self.subject, Subject::Marque { .. }).then(|| {
            let mut command = vec![words(&self.programs.marque), "up".to_owned()];
            command.push(words(&self.folder.join("clients")));
            command.extend(["--stdio", "--toolset", "matrix", "--admin", "off"].map(str::to_owned));
            command
        })
    }

    /// Changes what the clients' endpoint serves while a client looks.
    pub(super) fn reload(&mut self, url: &str) -> anyhow::Result<()> {
        match self.subject {
            Subject::Marque { .. } => {
                self.reloaded = !self.reloaded;
                let toolset = two_servers(self.fixture_url(), self.reloaded);
                write_whole(&self.folder.join("clients/toolset.yaml"), &toolset)
            }
            Subject::Fixture | Subject::Given(_) => {
                self.call(url, "test_trigger_tool_change").map(drop)
            }
        }
    }

    /// The Rust SDK's client.
    pub(super) fn rmcp_client(&self) -> &Path {
        &self.programs.client
    }

    /// Puts a section into `docs/conformance.md`, unless a stranger was judged.
    pub(super) fn write(&self, section: report::Section, text: &str) -> anyhow::Result<()> {
        match self.subject {
            Subject::Marque { .. } => report::write(section, false, text),
            Subject::Fixture => report::write(section, true, text),
            Subject::Given(_) => Ok(()),
        }
    }

    /// Ends every program, and removes the files unless they are to be kept.
    pub(super) fn end(mut self, keep: bool) -> anyhow::Result<()> {
        self.marque = None;
        self.fixture = None;
        if keep {
            println!("kept: {}", self.folder.display());
            return Ok(());
        }
        Ok(std::fs::remove_dir_all(&self.folder)?)
    }

    fn fixture_url(&self) -> &str {
        self.fixture.as_ref().map_or("", |(_, url)| url)
    }

    fn start_fixture(&self) -> anyhow::Result<(Running, String)> {
        let mut command = workspace::program(&self.programs.fixture);
        let mut running = Running::start("fixture", &mut command, &self.folder)?;
        let url = running
            .next_line(Instant::now() + NAMED_WITHIN)?
            .context("the fixture ended")?;
        running.ignore_output();
        Ok((running, url))
    }

    fn url(&mut self, name: &str, toolset: &str) -> anyhow::Result<String> {
        let url = match &self.subject {
            Subject::Given(url) => url.clone(),
            Subject::Fixture => self.fixture_url().to_owned(),
            Subject::Marque { .. } => self.start_marque(name, toolset)?,
        };
        self.wait_until_ready(&url)?;
        Ok(url)
    }

    fn start_marque(&mut self, name: &str, toolset: &str) -> anyhow::Result<String> {
        self.marque = None;
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        write_whole(&folder.join("toolset.yaml"), toolset)?;
        let mut command = workspace::program(&self.programs.marque);
        command.arg("up").arg(&folder).args([
            "--listen",
            &format!("127.0.0.1:{}", free_port()?),
            "--admin",
            "off",
        ]);
        let mut running = Running::start(&format!("marque-{name}"), &mut command, &self.folder)?;
        let until = Instant::now() + NAMED_WITHIN;
        let url = loop {
            let Some(line) = running.next_line(until)? else {
                bail!(
                    "marque ended before it named its endpoint: {}",
                    said_last(&self.folder.join(format!("marque-{name}.log")))
                );
            };
            if let Some(url) = endpoint_in(&line) {
                break url.to_owned();
            }
        };
        running.ignore_output();
        self.marque = Some(running);
        Ok(url)
    }

    fn wait_until_ready(&self, url: &str) -> anyhow::Result<()> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            let tried = self.call(url, "test_simple_text");
            match tried {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= until => {
                    return Err(error.context("not ready in time"));
                }
                Err(_) => pause(READY_AGAIN_AFTER),
            }
        }
    }

    fn call(&self, url: &str, tool: &str) -> anyhow::Result<String> {
        let mut client = workspace::program(&self.programs.client);
        workspace::output_of(client.args([url, "--call", tool]))
    }
}

fn build(what: &[&str]) -> anyhow::Result<()> {
    workspace::watch(
        workspace::program(env!("CARGO"))
            .args(["build", "--quiet"])
            .args(what),
    )
}

/// The last line of a log.
fn said_last(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("it said nothing").to_owned()
}

/// The first full URL in a line that names an endpoint.
fn endpoint_in(line: &str) -> Option<&str> {
    let start = line.find("http://")?;
    let url = line[start..].split_whitespace().next()?;
    url.contains("/mcp").then_some(url)
}

fn passthrough(fixture: &str) -> String {
    format!(
        "apiVersion: marque.dev/v1alpha1\nkind: Toolset\nmetadata: {{name: fixture}}\nspec:\n  access: Anonymous\n  \
         naming: Passthrough\n  uris: Passthrough\n  servers:\n    - {{name: fixture, url: \"{fixture}\"}}\n"
    )
}

fn two_servers(fixture: &str, third: bool) -> String {
    let third = if third {
        format!("    - {{name: more, url: \"{fixture}\", prefix: more_, include: [echo]}}\n")
    } else {
        String::new()
    };
    format!(
        "apiVersion: marque.dev/v1alpha1\nkind: Toolset\nmetadata: {{name: matrix}}\nspec:\n  access: Anonymous\n  \
         servers:\n    - {{name: fixture, url: \"{fixture}\"}}\n    \
         - {{name: time, command: [marque, sample, time], prefix: time_}}\n{third}"
    )
}

/// Replaces a file in one step, so that nobody reads half of it.
fn write_whole(file: &Path, text: &str) -> anyhow::Result<()> {
    let beside = file.with_extension("new");
    std::fs::write(&beside, text)?;
    Ok(std::fs::rename(&beside, file)?)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}

#[cfg(test)]
mod tests {
    use super::endpoint_in;

    #[test]
    fn endpoint_is_found_in_a_line_for_people() {
        let cases = [
            ("http://127.0.0.1:1/mcp/a", Some("http://127.0.0.1:1/mcp/a")),
            (
                "  matrix  http://127.0.0.1:1/mcp/matrix  2 servers",
                Some("http://127.0.0.1:1/mcp/matrix"),
            ),
            ("admin on http://127.0.0.1:2/ready", None),
            ("starting", None),
        ];
        for (line, url) in cases {
            assert_eq!(endpoint_in(line), url);
        }
    }
}
