//! Ending orderly: stop accepting, let what is running finish, then cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

/// What everybody who serves has been asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    Draining,
    Cutting,
}

/// Starts the end. There is one.
#[derive(Debug)]
pub struct Trigger {
    stage: watch::Sender<Stage>,
    draining: Arc<AtomicBool>,
    running: mpsc::Sender<()>,
    ended: mpsc::Receiver<()>,
}

/// Hears of the end. Everybody who serves or holds a long answer open has one.
#[derive(Debug, Clone)]
pub struct Watch {
    stage: watch::Receiver<Stage>,
    draining: Arc<AtomicBool>,
    running: mpsc::WeakSender<()>,
}

/// Held while connections are served; the drain waits for it.
#[derive(Debug)]
pub(super) struct Running(
    #[expect(dead_code, reason = "its drop is the message")] mpsc::Sender<()>,
);

/// The two ends of a drain that has not begun.
pub fn channel() -> (Trigger, Watch) {
    let (stage, stage_watch) = watch::channel(Stage::Serving);
    let (running, ended) = mpsc::channel(1);
    let draining = Arc::new(AtomicBool::new(false));
    let watch = Watch {
        stage: stage_watch,
        draining: Arc::clone(&draining),
        running: running.downgrade(),
    };
    let trigger = Trigger {
        stage,
        draining,
        running,
        ended,
    };
    (trigger, watch)
}

impl Trigger {
    /// Stops accepting, asks every connection to finish, and returns when all have.
    /// What still runs after `limit` is cut; true when nothing had to be.
    ///
    /// # Cancellation
    /// The drain has begun, and nothing will be cut: dropping the trigger cuts.
    pub async fn drain(self, limit: Duration) -> bool {
        let Self {
            stage,
            draining,
            running,
            mut ended,
        } = self;
        draining.store(true, Ordering::Release);
        stage.send_replace(Stage::Draining);
        drop(running);
        // Nothing is ever sent: the end of the channel is the message.
        if tokio::time::timeout(limit, ended.recv()).await.is_ok() {
            return true;
        }
        stage.send_replace(Stage::Cutting);
        ended.recv().await;
        false
    }
}

impl Watch {
    /// True from the moment the drain has begun. Costs one load.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Returns when the drain begins: long answers should now end properly.
    pub async fn draining(&self) {
        self.reached(Stage::Draining).await;
    }

    /// Returns when the limit of the drain is over.
    pub(super) async fn cutting(&self) {
        self.reached(Stage::Cutting).await;
    }

    /// `None` when the drain has begun: do not start serving.
    pub(super) fn run(&self) -> Option<Running> {
        if self.is_draining() {
            return None;
        }
        self.running.upgrade().map(Running)
    }

    async fn reached(&self, stage: Stage) {
        // A trigger that is gone can never speak again; that counts as the end.
        drop(self.stage.clone().wait_for(|at| *at >= stage).await);
    }
}
