//! Looks at the folder while somebody subscribes, and tells what changed.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    sync::Mutex,
    time::{MissedTickBehavior, interval},
};

use super::{
    folder::{Entry, Folder},
    uri,
};
use crate::subscriptions::{Change, Subscriptions};

type Snapshot = BTreeMap<String, Entry>;

/// What was last seen of the folder.
#[derive(Debug, Default)]
pub(super) struct Watch {
    seen: Mutex<Option<Snapshot>>,
}

impl Watch {
    /// Notes how the folder is before a subscription is acknowledged, so that not even the change
    /// right after it is missed.
    pub(super) async fn begin(&self, folder: &Folder) {
        let mut seen = self.seen.lock().await;
        if seen.is_none() {
            *seen = Some(look(folder).await);
        }
    }

    /// Watches until dropped. A folder that nobody asked about is not looked at.
    pub(super) async fn run(
        &self,
        folder: &Folder,
        subscriptions: &Subscriptions,
        period: Duration,
    ) {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut idle = false;
        #[expect(clippy::infinite_loop, reason = "ends by being dropped")]
        loop {
            ticks.tick().await;
            let mut seen = self.seen.lock().await;
            if subscriptions.any() {
                let now = look(folder).await;
                let before = seen.replace(now.clone());
                let changes = before.map_or_else(Vec::new, |before| changes(&before, &now));
                drop(seen);
                for change in changes {
                    subscriptions.tell(&change).await;
                }
                idle = false;
            } else if idle {
                // Only after a whole period: before, a subscription may be about to begin.
                *seen = None;
            } else {
                idle = true;
            }
        }
    }
}

async fn look(folder: &Folder) -> Snapshot {
    by_path(folder.entries().await)
}

fn by_path(entries: Vec<Entry>) -> Snapshot {
    let by_path = |entry: Entry| (entry.path.clone(), entry);
    entries.into_iter().map(by_path).collect()
}

/// A file that came or went changes the list, and for whoever subscribed to it, its contents.
fn changes(before: &Snapshot, now: &Snapshot) -> Vec<Change> {
    let mut changes = Vec::new();
    if !before.keys().eq(now.keys()) {
        changes.push(Change::ResourcesList);
    }
    let gone = before.keys().filter(|path| !now.contains_key(*path));
    let new_or_changed = now
        .iter()
        .filter(|(path, entry)| before.get(*path) != Some(entry))
        .map(|(path, _)| path);
    changes.extend(
        new_or_changed
            .chain(gone)
            .map(|path| Change::Resource(uri::from_path(path))),
    );
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(files: &[(&str, u64)]) -> Snapshot {
        by_path(
            files
                .iter()
                .map(|(path, bytes)| Entry {
                    path: (*path).to_owned(),
                    bytes: *bytes,
                    modified: None,
                })
                .collect(),
        )
    }

    #[test]
    fn the_list_changes_only_when_files_come_or_go() {
        let resource = |path: &str| Change::Resource(format!("docs:///{path}"));
        let before = snapshot(&[("a", 1), ("b", 1)]);
        assert_eq!(changes(&before, &before), []);
        assert_eq!(
            changes(&before, &snapshot(&[("a", 2), ("b", 1)])),
            [resource("a")]
        );
        assert_eq!(
            changes(&before, &snapshot(&[("b", 1), ("c", 1)])),
            [Change::ResourcesList, resource("c"), resource("a")]
        );
    }
}
