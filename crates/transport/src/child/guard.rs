//! Holding a child: its end, and ending it.

use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, ChildStderr};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::stderr::{self, LastWords};
use super::supervise::{END_NOW, exit_text};
use super::writer::Stdin;

/// How long the supervisor may take to kill what is left, before it is killed itself.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// How long the last lines may take to be read after the end.
const LAST_WORDS_WAIT: Duration = Duration::from_millis(500);

/// Holds a child. Its drop ends the child: the supervisor asks everything to end, and kills what does not.
#[derive(Debug)]
pub struct ChildGuard {
    label: String,
    /// The supervisor. It is reaped through this only, so its id is never another's while this has one.
    supervisor: Child,
    stdin: Stdin,
    last_words: LastWords,
    listening: JoinSet<()>,
}

impl ChildGuard {
    pub(super) fn new(label: String, supervisor: Child, stdin: Stdin, stderr: ChildStderr) -> Self {
        let last_words = LastWords::default();
        let mut listening = JoinSet::new();
        listening.spawn(stderr::listen(label.clone(), stderr, last_words.clone()));
        Self {
            label,
            supervisor,
            stdin,
            last_words,
            listening,
        }
    }

    /// Returns when the child, and everything it started, has ended: says how, for people.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub async fn exited(&mut self) -> String {
        let group = self.supervisor_id();
        let ended = match self.supervisor.wait().await {
            Ok(status) => {
                if let (Some(group), None) = (group, status.code()) {
                    // Somebody has killed the supervisor, and nobody looks after the others of its group.
                    let _ = kill_process_group(group, Signal::KILL);
                }
                text(status)
            }
            Err(error) => format!("ended in an unknown way: {error}"),
        };
        // Nobody is left who could write more, so this is only what is still in the pipe.
        drop(timeout(LAST_WORDS_WAIT, self.listening.join_next()).await);
        ended
    }

    /// The last lines the child wrote to stderr, for error texts.
    pub fn last_words(&self) -> Vec<String> {
        self.last_words.lines()
    }

    /// Ends the child and says how it ended: closes its stdin, and when half the grace is over asks it and
    /// everything it started to end; what is left when the grace is over is killed.
    ///
    /// # Cancellation
    /// As a drop.
    pub async fn stop(mut self, grace: Duration) -> String {
        self.stdin.close();
        for ask in [Signal::TERM, END_NOW] {
            if let Ok(text) = timeout(grace / 2, self.exited()).await {
                return text;
            }
            self.signal(ask);
        }
        if let Ok(text) = timeout(KILL_WAIT, self.exited()).await {
            return text;
        }
        tracing::warn!(server = %self.label, "the supervisor does not end: its whole group is killed");
        if let Some(group) = self.supervisor_id() {
            let _ = kill_process_group(group, Signal::KILL);
        }
        timeout(KILL_WAIT, self.exited())
            .await
            .unwrap_or_else(|_| "did not end, not even when killed".to_owned())
    }

    fn signal(&self, signal: Signal) {
        if let Some(supervisor) = self.supervisor_id() {
            // It cannot be refused to the parent; if the process has ended meanwhile, all the better.
            let _ = kill_process(supervisor, signal);
        }
    }

    /// `None` once it has been reaped.
    fn supervisor_id(&self) -> Option<Pid> {
        let id = i32::try_from(self.supervisor.id()?).ok()?;
        Pid::from_raw(id)
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        // Nobody reads its last lines; detached, the reader would keep the pipe for them.
        self.listening.abort_all();
    }
}

fn text(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => exit_text(code),
        (None, Some(signal)) => format!("its supervisor was ended by signal {signal}"),
        (None, None) => format!("ended: {status}"),
    }
}
