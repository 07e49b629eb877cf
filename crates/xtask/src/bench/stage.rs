//! The programs under test and their backends: configured, started, pinned, ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::load::{self, Sample};
use super::plan::{Backend, Era, Hop, Target};
use super::tools::Tools;
use crate::workspace;

/// The CPU of the hop under test.
const HOP_CPU: &str = "0";
/// The CPU of the backend and the load.
pub(crate) const LOAD_CPU: &str = "1";
const BACKENDS: usize = 10;
const READY_WITHIN: Duration = Duration::from_secs(30);
const READY_AGAIN_AFTER: Duration = Duration::from_millis(50);
const END_WITHIN: Duration = Duration::from_secs(10);

/// Where a hop can be loaded and watched.
pub(crate) struct Place {
    /// The endpoint.
    pub(crate) url: String,
    /// The process whose CPU and memory count.
    pub(crate) pid: u32,
}

/// Everything that runs.
pub(crate) struct Stage {
    folder: PathBuf,
    backends: BTreeMap<Backend, Backends>,
    hops: BTreeMap<(Hop, Backend), Running>,
    /// Hops that did not answer; they are not waited for again.
    given_up: BTreeSet<(Hop, Backend)>,
}

/// One stub process that is ten backends.
struct Backends {
    ports: Vec<u16>,
    running: Running,
}

impl Stage {
    /// Starts the backends; hops start when they are first asked for.
    pub(crate) fn set(tools: &Tools) -> anyhow::Result<Self> {
        if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
            bail!("measuring needs two CPUs: one for the hop, one for backend and load");
        }
        let folder = workspace::root().join("target/bench-run");
        std::fs::create_dir_all(&folder)?;
        let mut backends = BTreeMap::new();
        for backend in [
            Backend::Small,
            Backend::Large,
            Backend::Legacy,
            Backend::Modern,
        ] {
            backends.insert(backend, start_backends(tools, &folder, backend)?);
        }
        Ok(Self {
            folder,
            backends,
            hops: BTreeMap::new(),
            given_up: BTreeSet::new(),
        })
    }

    /// Without its backends nothing can be measured.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        for backends in self.backends.values_mut() {
            if backends.running.has_ended() {
                bail!("a stub backend has ended; did somebody stop it?");
            }
        }
        Ok(())
    }

    /// Where this target is, started if it was not.
    pub(crate) fn place(&mut self, tools: &Tools, target: &Target) -> anyhow::Result<Place> {
        let backends = &self.backends[&target.backend];
        if target.hop == Hop::None {
            return Ok(Place {
                url: endpoint(target.hop, backends.ports[0]),
                pid: backends.running.child.id(),
            });
        }
        let key = (target.hop, target.backend);
        if let Some(running) = self.hops.get(&key) {
            return Ok(running.place(target.hop));
        }
        if self.given_up.contains(&key) {
            bail!("did not answer before");
        }
        // Taken back when it answers.
        self.given_up.insert(key);
        let port = free_port()?;
        let words = self.command_line(tools, target, port)?;
        let mut running = Running::start(&self.folder, &words, port)?;
        running.wait_until_ready(tools, target)?;
        self.given_up.remove(&key);
        let place = running.place(target.hop);
        self.hops.insert(key, running);
        Ok(place)
    }

    /// Ends this target's process, so that the next visit finds a fresh one.
    pub(crate) fn end(&mut self, target: &Target) {
        self.hops.remove(&(target.hop, target.backend));
    }

    /// Lets the load generator start the target and wait for its first answer.
    pub(crate) fn start_once(
        &self,
        tools: &Tools,
        target: &Target,
        era: Era,
    ) -> anyhow::Result<Sample> {
        let port = free_port()?;
        let words = self.command_line(tools, target, port)?;
        load::startup(tools, target, era, &endpoint(target.hop, port), &words)
    }

    /// The pinned command that starts a hop on this port; its configuration is written first.
    fn command_line(
        &self,
        tools: &Tools,
        target: &Target,
        port: u16,
    ) -> anyhow::Result<Vec<String>> {
        let ports = &self.backends[&target.backend].ports;
        let listen = format!("127.0.0.1:{port}");
        let words: Vec<String> = match target.hop {
            Hop::None => bail!("the backend is no hop"),
            Hop::Nginx => {
                let file =
                    self.write(&format!("nginx-{port}.conf"), &self.nginx(port, ports[0]))?;
                vec![tools.nginx.to_owned(), "-c".to_owned(), file]
            }
            Hop::Peek => vec![
                shown(&tools.hop),
                "--listen".to_owned(),
                listen,
                "--upstream".to_owned(),
                format!("127.0.0.1:{}", ports[0]),
                "--mode".to_owned(),
                "peek".to_owned(),
                "--prefix".to_owned(),
                "b1_".to_owned(),
                "--allow".to_owned(),
                "b1_echo".to_owned(),
            ],
            Hop::MarqueOne | Hop::MarqueTen => {
                let count = if target.hop == Hop::MarqueOne {
                    1
                } else {
                    BACKENDS
                };
                let file = self.write(&format!("bench-{port}.yaml"), &toolset(&ports[..count]))?;
                let mut words = vec![shown(&tools.marque), "up".to_owned(), file];
                words.extend(["--listen".to_owned(), listen]);
                // Kept from start to start, as where it runs for long.
                let state = format!("state-{:?}-{:?}", target.hop, target.backend);
                words.extend(["--state-dir".to_owned(), shown(&self.folder.join(state))]);
                words.extend(["--admin", "off", "--log-format", "text"].map(str::to_owned));
                words
            }
        };
        let pinned = ["taskset", "-c", HOP_CPU].map(str::to_owned);
        Ok(pinned.into_iter().chain(words).collect())
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.folder.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(shown(&path))
    }

    /// One worker, connections kept on both sides, nothing logged, answers never written to disk.
    fn nginx(&self, port: u16, backend: u16) -> String {
        let folder = self.folder.display();
        format!(
            "daemon off;\nworker_processes 1;\npid {folder}/nginx-{port}.pid;\nerror_log {folder}/nginx-{port}.log;\n\
             events {{ worker_connections 8192; }}\n\
             http {{\n  access_log off;\n  keepalive_requests 1000000000;\n  keepalive_timeout 3600s;\n\
             \x20 client_max_body_size 16m;\n\
             \x20 upstream stub {{ server 127.0.0.1:{backend}; keepalive 64; keepalive_requests 1000000000; }}\n\
             \x20 server {{\n    listen 127.0.0.1:{port} backlog=4096;\n    location / {{\n      proxy_pass http://stub;\n\
             \x20     proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n      proxy_read_timeout 3600s;\n\
             \x20     proxy_buffers 8 256k;\n      proxy_busy_buffers_size 512k;\n      proxy_max_temp_file_size 0;\n\
             \x20   }}\n  }}\n}}\n"
        )
    }
}

/// One endpoint over these backends, each with its prefix, as a user would write it.
fn toolset(ports: &[u16]) -> String {
    let mut text = String::from(
        "apiVersion: marque.dev/v1alpha1\nkind: Toolset\nmetadata: {name: bench}\nspec:\n  servers:\n",
    );
    for (number, port) in (1..).zip(ports) {
        writeln!(
            text,
            "    - {{name: b{number}, url: \"http://127.0.0.1:{port}/mcp\", prefix: b{number}_}}"
        )
        .expect("a string takes every text");
    }
    text
}

fn endpoint(hop: Hop, port: u16) -> String {
    match hop {
        Hop::MarqueOne | Hop::MarqueTen => format!("http://127.0.0.1:{port}/mcp/bench"),
        Hop::None | Hop::Nginx | Hop::Peek => format!("http://127.0.0.1:{port}/mcp"),
    }
}

fn shown(path: &std::path::Path) -> String {
    path.display().to_string()
}

fn start_backends(
    tools: &Tools,
    folder: &std::path::Path,
    backend: Backend,
) -> anyhow::Result<Backends> {
    let ports: Vec<u16> = (0..BACKENDS)
        .map(|_| free_port())
        .collect::<Result<_, _>>()?;
    let mut words = ["taskset", "-c", LOAD_CPU].map(str::to_owned).to_vec();
    words.extend([
        shown(&tools.stub),
        "--tools".to_owned(),
        backend.tools().to_owned(),
    ]);
    if let [only] = backend.eras() {
        words.extend(["--only".to_owned(), only.word().to_owned()]);
    }
    for port in &ports {
        words.extend(["--listen".to_owned(), format!("127.0.0.1:{port}")]);
    }
    let mut running = Running::start(folder, &words, ports[0])?;
    let target = Target {
        name: "direct",
        hop: Hop::None,
        backend,
        tools: "echo",
    };
    running.wait_until_ready(tools, &target)?;
    Ok(Backends { ports, running })
}

/// A port that was free a moment ago; nobody else on the machine is in a hurry for it.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A started program, ended when dropped.
struct Running {
    child: Child,
    port: u16,
    said: PathBuf,
}

impl Running {
    fn start(folder: &std::path::Path, words: &[String], port: u16) -> anyhow::Result<Self> {
        let said = folder.join(format!("said-{port}.txt"));
        let output = std::fs::File::create(&said)?;
        let child = workspace::program(&words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", words.join(" ")))?;
        Ok(Self { child, port, said })
    }

    fn place(&self, hop: Hop) -> Place {
        Place {
            url: endpoint(hop, self.port),
            pid: self.child.id(),
        }
    }

    /// Waits until a call is answered in all eras, which for a gateway is later than its port being open.
    fn wait_until_ready(&mut self, tools: &Tools, target: &Target) -> anyhow::Result<()> {
        let url = endpoint(target.hop, self.port);
        let eras = match target.hop {
            Hop::MarqueOne | Hop::MarqueTen => &[Era::Legacy, Era::Modern],
            // What only passes on can say no more than the backend.
            Hop::None | Hop::Nginx | Hop::Peek => target.backend.eras(),
        };
        let began = Instant::now();
        loop {
            let answered = eras
                .iter()
                .try_for_each(|era| load::answers(tools, target, *era, &url));
            match answered {
                Ok(()) => return Ok(()),
                Err(trouble) if began.elapsed() > READY_WITHIN || self.has_ended() => {
                    let said = std::fs::read_to_string(&self.said).unwrap_or_default();
                    bail!(
                        "{} does not answer: {trouble}\nit said:\n{said}",
                        target.name
                    );
                }
                Err(_) => pause(READY_AGAIN_AFTER),
            }
        }
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Running {
    /// Asks to end, so that nginx takes its worker along, and insists after a while.
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let asked = workspace::program("kill").args(["-TERM", &pid]).status();
        let began = Instant::now();
        while asked.is_ok() && began.elapsed() < END_WITHIN {
            if self.has_ended() {
                return;
            }
            pause(READY_AGAIN_AFTER);
        }
        // It may have ended in between; then there is nothing left to do.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a program without a runtime waits for another program"
)]
fn pause(span: Duration) {
    std::thread::sleep(span);
}

#[cfg(test)]
mod tests {
    use super::toolset;

    #[test]
    fn every_backend_gets_its_prefix() {
        assert!(toolset(&[1, 2]).ends_with(
            "    - {name: b1, url: \"http://127.0.0.1:1/mcp\", prefix: b1_}\n    \
             - {name: b2, url: \"http://127.0.0.1:2/mcp\", prefix: b2_}\n"
        ));
    }
}
