//! Tells that something changed. What changed is found out by loading again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::{Config, Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::load::{Loaded, Stamp, stamp};
use crate::targets::Targets;
use crate::walk::files;

/// How long nothing may change before a change is told: an editor writes in several steps.
const QUIET: Duration = Duration::from_millis(200);
/// How long a change is held back at most, however busy the folder is.
const QUIET_MAX: Duration = Duration::from_secs(2);
/// How often files are looked at where the operating system does not tell.
const POLL: Duration = Duration::from_secs(2);

/// Watches folders, files, and the files that documents name.
///
/// Start it before [`crate::load`], then [`Watch::follow`] what was loaded: nothing that changes in between is missed.
pub struct Watch {
    how: How,
    /// The folders and files that are loaded.
    paths: Vec<PathBuf>,
    /// The files that documents name.
    sources: BTreeSet<PathBuf>,
    targets: Arc<Mutex<Targets>>,
    signals: mpsc::Receiver<()>,
    /// A change was noticed and not told yet.
    pending: bool,
}

/// How changes are noticed.
enum How {
    /// The operating system tells.
    Told {
        watcher: RecommendedWatcher,
        watched: BTreeMap<PathBuf, RecursiveMode>,
    },
    /// Every file is looked at again and again.
    Looking { seen: Seen },
}

/// How every file looked.
type Seen = BTreeMap<PathBuf, Stamp>;

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("paths", &self.paths)
            .field("told", &matches!(self.how, How::Told { .. }))
            .finish_non_exhaustive()
    }
}

impl Watch {
    /// Starts watching the folders and files that [`crate::load`] is given. A path that is not there yet is waited for.
    #[must_use]
    pub fn start(paths: &[PathBuf]) -> Self {
        let targets = Arc::new(Mutex::new(Targets::default()));
        // One place is enough: a signal only says "look again".
        let (signal, signals) = mpsc::channel(1);
        let how = match RecommendedWatcher::new(handler(&targets, signal), Config::default()) {
            Ok(watcher) => How::Told {
                watcher,
                watched: BTreeMap::new(),
            },
            Err(error) => looking_after(&error),
        };
        Self::with(how, paths, targets, signals)
    }

    fn with(
        how: How,
        paths: &[PathBuf],
        targets: Arc<Mutex<Targets>>,
        signals: mpsc::Receiver<()>,
    ) -> Self {
        let (paths, sources) = (paths.to_vec(), BTreeSet::new());
        let mut watch = Self {
            how,
            paths,
            sources,
            targets,
            signals,
            pending: false,
        };
        watch.renew();
        watch
    }

    /// Also watches the files that loaded documents name by `file:`, in place of those named before.
    pub fn follow(&mut self, loaded: &Loaded) {
        let sources: BTreeSet<PathBuf> = loaded.sources.keys().cloned().collect();
        if sources != self.sources {
            self.sources = sources;
            self.renew();
        }
        // A file may have changed after it was read and before it was watched.
        self.pending |= loaded
            .sources
            .iter()
            .any(|(path, before)| stamp(path) != *before);
    }

    /// Waits until something changed and then stayed quiet for a moment.
    ///
    /// # Cancellation
    /// Nothing is lost: a change that was noticed is told by the next call.
    pub async fn changed(&mut self) {
        while !self.pending {
            self.pending = self.noticed(Instant::now() + POLL).await;
        }
        let end = Instant::now() + QUIET_MAX;
        while Instant::now() < end {
            let quiet = (Instant::now() + QUIET).min(end);
            match timeout_at(quiet, self.signals.recv()).await {
                Ok(Some(())) => {}
                // Nobody signals any more: files are looked at instead.
                Ok(None) => {
                    tokio::time::sleep_until(quiet).await;
                    break;
                }
                Err(_) => break,
            }
        }
        // Before the change is told, so that what is loaded then is watched already.
        self.renew();
        self.pending = false;
    }

    /// Waits for a signal until a moment, and looks for itself if nobody else does.
    async fn noticed(&mut self, until: Instant) -> bool {
        match &self.how {
            How::Told { .. } => timeout_at(until, self.signals.recv())
                .await
                .is_ok_and(|signal| signal.is_some()),
            How::Looking { seen } => {
                tokio::time::sleep_until(until).await;
                look(&self.paths, &self.sources) != *seen
            }
        }
    }

    /// Watches what the paths mean now: folders may have been replaced, links may lead elsewhere.
    fn renew(&mut self) {
        if let Err(error) = self.renew_told() {
            self.how = looking_after(&error);
        }
        if let How::Looking { seen } = &mut self.how {
            *seen = look(&self.paths, &self.sources);
        }
    }

    fn renew_told(&mut self) -> notify::Result<()> {
        let How::Told { watcher, watched } = &mut self.how else {
            return Ok(());
        };
        let targets = Targets::of(self.paths.iter().chain(&self.sources));
        let watches = targets.watches();
        *self.targets.lock().unwrap_or_else(PoisonError::into_inner) = targets;
        let gone: Vec<PathBuf> = watched
            .keys()
            .filter(|path| !watches.contains_key(*path))
            .cloned()
            .collect();
        for path in gone {
            watched.remove(&path);
            // It fails where the folder itself is gone, which is as good.
            drop(watcher.unwatch(&path));
        }
        for (path, mode) in watches {
            // Also what is watched already: the folder may be another one of the same name.
            match watcher.watch(&path, mode) {
                Ok(()) => drop(watched.insert(path, mode)),
                // It went away this moment, which the folder above tells.
                Err(_) if !path.exists() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn looking_after(error: &notify::Error) -> How {
    warn!(%error, every_s = POLL.as_secs(), "cannot be told of changed files: looking again and again instead");
    How::Looking { seen: Seen::new() }
}

fn look(paths: &[PathBuf], sources: &BTreeSet<PathBuf>) -> Seen {
    let (files, _) = files(paths);
    files
        .into_iter()
        .chain(sources.iter().cloned())
        .map(|path| (path.clone(), stamp(&path)))
        .collect()
}

fn handler(
    targets: &Arc<Mutex<Targets>>,
    signal: mpsc::Sender<()>,
) -> impl Fn(notify::Result<Event>) + Send + 'static {
    let targets = Arc::clone(targets);
    move |event| {
        let concerns = match event {
            Ok(event) => targets
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .concern(&event),
            // Something went wrong while watching: looking again is always right.
            Err(_) => true,
        };
        if concerns {
            // A full channel already says what this signal would say.
            let _ = signal.try_send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_help_of_the_operating_system_changes_are_looked_for() {
        let folder = tempfile::TempDir::new().unwrap();
        let paths = [folder.path().to_path_buf()];
        let (_, signals) = mpsc::channel(1);
        let how = How::Looking { seen: Seen::new() };
        let mut watch = Watch::with(how, &paths, Arc::default(), signals);
        std::fs::write(folder.path().join("a.yaml"), "a").unwrap();
        tokio::time::timeout(Duration::from_secs(20), watch.changed())
            .await
            .unwrap();
        std::fs::write(folder.path().join("a.yaml"), "b").unwrap();
        tokio::time::timeout(Duration::from_secs(20), watch.changed())
            .await
            .unwrap();
    }
}
