//! The folder is watched: a change is served at once, and a mistake keeps the old state serving.

use std::path::PathBuf;
use std::sync::Arc;

use gateway::Gateway;
use resources::{Finding, ResourceSet};
use source_files::{Loaded, Watch, load};
use tokio::sync::watch;

use super::listeners::Fixed;
use super::stop::Stop;

/// What the last look at the folder found.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(super) struct State {
    /// Whether what is in the folder is what is served.
    pub(super) current: bool,
    /// What is wrong with it, or worth knowing.
    pub(super) findings: Vec<Finding>,
}

/// Follows the folder.
pub(super) struct Reloads {
    paths: Vec<PathBuf>,
    watch: Option<Watch>,
    state: watch::Sender<State>,
}

impl Reloads {
    /// Looks at the folder for the first time, and starts to watch it.
    pub(super) fn start(paths: &[PathBuf], follow: bool) -> Result<(Self, ResourceSet), Stop> {
        let mut watch = follow.then(|| Watch::start(paths));
        let loaded = look(paths);
        if let Some(watch) = &mut watch {
            watch.follow(&loaded);
        }
        let Loaded { set, findings, .. } = loaded;
        let Some(set) = set else {
            return Err(Stop::Findings(findings));
        };
        findings.iter().for_each(log);
        let state = watch::Sender::new(State {
            current: true,
            findings,
        });
        Ok((
            Self {
                paths: paths.to_vec(),
                watch,
                state,
            },
            set,
        ))
    }

    /// What the last look found, for the admin listener.
    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Follows the folder until the task is dropped.
    pub(super) async fn follow(mut self, gateway: Arc<Gateway>, fixed: Option<Fixed>) {
        while let Some(watch) = &mut self.watch {
            watch.changed().await;
            let loaded = look(&self.paths);
            watch.follow(&loaded);
            self.take(&gateway, fixed.as_ref(), loaded);
        }
    }

    fn take(&self, gateway: &Gateway, fixed: Option<&Fixed>, loaded: Loaded) {
        let Loaded {
            set, mut findings, ..
        } = loaded;
        let applied = match set {
            None => false,
            Some(set) => {
                let found = fixed.map(|fixed| fixed.check(&set)).unwrap_or_default();
                let refused = found.iter().any(Finding::is_error);
                findings.extend(found);
                !refused
                    && match gateway.apply(&set) {
                        Ok(()) => true,
                        Err(found) => {
                            findings.extend(found);
                            false
                        }
                    }
            }
        };
        findings.iter().for_each(log);
        if applied {
            tracing::info!("the new configuration is served");
        } else {
            tracing::error!("the new configuration has errors; the old one is still served");
        }
        self.state.send_replace(State {
            current: applied,
            findings,
        });
    }
}

fn look(paths: &[PathBuf]) -> Loaded {
    load(paths, &|name| std::env::var(name).ok())
}

fn log(finding: &Finding) {
    match finding.severity {
        resources::Severity::Error => tracing::error!("{finding}"),
        resources::Severity::Warning => tracing::warn!("{finding}"),
        resources::Severity::Note => tracing::info!("{finding}"),
    }
}
