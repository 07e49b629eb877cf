//! Elsewhere there are no subreapers: the process group is all that can be ended.

use std::time::Duration;

use rustix::process::{Pid, Signal, getppid, kill_current_process_group};

const LOOK_INTERVAL: Duration = Duration::from_millis(500);

pub(in crate::child) struct Parent(Pid);

impl Parent {
    pub(in crate::child) const fn watch(id: Pid) -> Self {
        Self(id)
    }

    pub(in crate::child) async fn gone(&mut self) {
        while getppid() == Some(self.0) {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

pub(in crate::child) const fn be_named(_name: &str) {}

pub(in crate::child) const fn adopt_orphans() {}

pub(in crate::child) const fn ask_strays() {}

/// Kills the group, and with it ourselves.
pub(in crate::child) fn kill_children() {
    let _ = kill_current_process_group(Signal::KILL);
}
