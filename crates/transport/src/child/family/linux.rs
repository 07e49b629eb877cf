//! With pidfds, subreapers and `/proc`.

use std::fs;
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, getpgrp, getpid, getppid, kill_process, pidfd_open,
    set_child_subreaper,
};
use tokio::net::unix::pipe::Receiver;

/// How often to look where the kernel cannot tell us (before 5.3, or in a sandbox).
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Our parent, while it lives. The kernel's parent-death signal is no help: it follows the thread that forked.
pub(in crate::child) struct Parent {
    id: Pid,
    /// Readable when the process has ended.
    handle: Option<Receiver>,
}

impl Parent {
    pub(in crate::child) fn watch(id: Pid) -> Self {
        // Unchecked, because it is no pipe: nothing is read from it, only its readiness is looked at.
        let handle = pidfd_open(id, PidfdFlags::NONBLOCK)
            .ok()
            .and_then(|handle| Receiver::from_owned_fd_unchecked(handle).ok());
        Self { id, handle }
    }

    /// Returns when the parent has ended.
    pub(in crate::child) async fn gone(&mut self) {
        // It may have ended before the handle was made, and the handle be another's.
        while getppid() == Some(self.id) {
            match &self.handle {
                Some(handle) => {
                    if handle.readable().await.is_ok() {
                        return;
                    }
                    self.handle = None;
                }
                None => tokio::time::sleep(LOOK_INTERVAL).await,
            }
        }
    }
}

/// Names this process as lists of processes show it.
pub(in crate::child) fn be_named(name: &str) {
    // Without it, only the list is less clear.
    drop(fs::write("/proc/self/comm", name));
}

/// From now on, orphans below us become our children.
pub(in crate::child) fn adopt_orphans() {
    // Cannot be refused since Linux 3.4.
    let _ = set_child_subreaper(Some(getpid()));
}

/// Asks children to end that have left our group.
pub(in crate::child) fn ask_strays() {
    let group = getpgrp();
    for child in children() {
        if group_of(child) != Some(group) {
            let _ = kill_process(child, Signal::TERM);
        }
    }
}

/// Kills our children; theirs are ours then.
pub(in crate::child) fn kill_children() {
    for child in children() {
        let _ = kill_process(child, Signal::KILL);
    }
}

/// Our children. We alone reap them, so no id here can be another process's.
fn children() -> Vec<Pid> {
    let own = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let listed: Option<Vec<String>> = own
        .map(|task| fs::read_to_string(task.path().join("children")).ok())
        .collect();
    match listed {
        Some(listed) => listed
            .iter()
            .flat_map(|list| list.split_ascii_whitespace())
            .filter_map(parse)
            .collect(),
        // A kernel without CONFIG_PROC_CHILDREN.
        None => processes_below(getpid()),
    }
}

fn processes_below(parent: Pid) -> Vec<Pid> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|process| parse(process.file_name().to_str()?))
        .filter(|id| stat(*id).is_some_and(|stat| stat.parent == Some(parent)))
        .collect()
}

fn group_of(id: Pid) -> Option<Pid> {
    stat(id)?.group
}

struct Stat {
    parent: Option<Pid>,
    group: Option<Pid>,
}

fn stat(id: Pid) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero())).ok()?;
    // The second field is the name in brackets, and may hold brackets and blanks itself.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(1);
    Some(Stat {
        parent: parse(fields.next()?),
        group: parse(fields.next()?),
    })
}

fn parse(id: &str) -> Option<Pid> {
    Pid::from_raw(id.parse().ok()?)
}
