//! Programs that run beside us: their lines, their end, never longer than allowed.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::workspace;

/// Most lines that wait to be read; a program that says more waits itself.
const LINES_MAX: usize = 4096;
/// How long a program may take to end after it was asked to.
const END_WITHIN: Duration = Duration::from_secs(10);
/// How often to look whether a program has ended.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// A started program. Ends when dropped.
pub(super) struct Running {
    name: String,
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Starts the program; what it says on standard error goes to `NAME.log` in the folder.
    pub(super) fn start(name: &str, command: &mut Command, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let log = File::create(&log).with_context(|| log.display().to_string())?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let output = child.stdout.take().expect("standard output was asked for");
        let (tell, lines) = sync_channel(LINES_MAX);
        // Reads to the end even if nobody listens any more: a closed pipe would end the program.
        std::thread::spawn(move || {
            let mut heard = true;
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                heard = heard && tell.send(line).is_ok();
            }
        });
        Ok(Self {
            name: name.to_owned(),
            child,
            lines,
        })
    }

    /// The next line, or nothing at the end of the output.
    pub(super) fn next_line(&self, until: Instant) -> anyhow::Result<Option<String>> {
        let left = until.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => bail!("{} took too long", self.name),
        }
    }

    /// Waits for the end of the program.
    pub(super) fn end(&mut self, until: Instant) -> anyhow::Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= until {
                bail!("{} did not end in time", self.name);
            }
            pause(LOOK_AGAIN_AFTER);
        }
    }

    /// Drops everything that it says from now on, so that the program never waits for us.
    pub(super) fn ignore_output(&mut self) {
        let (_, nothing) = sync_channel(0);
        drop(std::mem::replace(&mut self.lines, nothing));
    }
}

impl Drop for Running {
    /// Asks to end, so that it takes its own children along, and insists after a while.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let ask = format!("kill -TERM {}", self.child.id());
        // A shell's own `kill`: a bare machine has no other.
        let asked = workspace::program("sh").args(["-c", &ask]).status();
        if asked.is_ok() && self.end(Instant::now() + END_WITHIN).is_ok() {
            return;
        }
        // It may have ended in between; then there is nothing left to do.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Does all jobs, two beside each other, and yields what came of them in their order.
pub(super) fn two_at_a_time<J: Send, R: Send>(
    jobs: Vec<J>,
    work: impl Fn(J) -> anyhow::Result<R> + Sync,
) -> anyhow::Result<Vec<R>> {
    let waiting = Mutex::new(jobs.into_iter().enumerate());
    let next = || {
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next()
    };
    let worker = || {
        let mut done = Vec::new();
        while let Some((place, job)) = next() {
            done.push((place, work(job)?));
        }
        anyhow::Ok(done)
    };
    let mut all = std::thread::scope(|scope| {
        let beside = scope.spawn(worker);
        let mut all = worker()?;
        match beside.join() {
            Ok(done) => all.extend(done?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        anyhow::Ok(all)
    })?;
    all.sort_by_key(|(place, _)| *place);
    Ok(all.into_iter().map(|(_, done)| done).collect())
}

/// Waits a little.
#[expect(
    clippy::disallowed_methods,
    reason = "a program without a runtime waits for another program"
)]
pub(super) fn pause(span: Duration) {
    std::thread::sleep(span);
}
