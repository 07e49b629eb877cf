//! The one task that writes sessions: what waits at the same time is committed together.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::StoreError;
use crate::engine::Engine;
use crate::sessions::{self, SessionRecord, UID_BYTES};
use crate::wait::bounded;

/// Calls that wait for the writer; beyond, callers wait for a place.
const QUEUE_MAX: usize = 1024;
/// Records in one transaction, beyond which the next call waits for the next one.
const BATCH_MAX: usize = 1024;

/// The handle of the task.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Message>,
    task: Mutex<JoinSet<()>>,
}

enum Message {
    Write(Work),
    Close,
}

/// Records to write, and who waits for it.
struct Work {
    records: Vec<SessionRecord>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

impl Writer {
    /// Starts the task.
    pub(crate) fn start(engine: Arc<Engine>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let mut task = JoinSet::new();
        task.spawn(write(engine, waiting));
        Self {
            queue,
            task: Mutex::new(task),
        }
    }

    /// Has records written; returns when they are.
    pub(crate) async fn write(&self, records: Vec<SessionRecord>) -> Result<(), StoreError> {
        let (done, written) = oneshot::channel();
        let work = Message::Write(Work { records, done });
        self.queue
            .send(work)
            .await
            .map_err(|_| StoreError::Closed)?;
        written.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Has everything written that was handed over, then ends the task.
    pub(crate) async fn close(&self) {
        // An error means that it was closed before.
        drop(self.queue.send(Message::Close).await);
        while self.task.lock().await.join_next().await.is_some() {}
    }
}

async fn write(engine: Arc<Engine>, mut waiting: mpsc::Receiver<Message>) {
    while let Some(first) = waiting.recv().await {
        let Message::Write(first) = first else {
            waiting.close();
            continue;
        };
        let mut together = Batch::default();
        together.add(first);
        while together.records.len() < BATCH_MAX {
            match waiting.try_recv() {
                Ok(Message::Write(work)) => together.add(work),
                Ok(Message::Close) => waiting.close(),
                Err(_) => break,
            }
        }
        together.write(&engine).await;
    }
}

/// What is committed together. In the order of the ids, as [`sessions::save`] wants it.
#[derive(Default)]
struct Batch {
    records: BTreeMap<[u8; UID_BYTES], SessionRecord>,
    done: Vec<oneshot::Sender<Result<(), StoreError>>>,
}

impl Batch {
    /// Of one session the last word counts, except that an end is final; as it would be in one transaction after the other.
    fn add(&mut self, work: Work) {
        self.done.push(work.done);
        for mut record in work.records {
            if let Some(earlier) = self.records.get(&record.uid) {
                if earlier.ended {
                    continue;
                }
                record.last_use = record.last_use.max(earlier.last_use);
                record.expires_at = record.expires_at.max(earlier.expires_at);
            }
            self.records.insert(record.uid, record);
        }
    }

    async fn write(self, engine: &Engine) {
        let records: Vec<SessionRecord> = self.records.into_values().collect();
        let outcome = bounded(sessions::save(engine, &records)).await;
        if let Err(error) = &outcome {
            tracing::warn!(%error, sessions = records.len(), "sessions were not saved");
        }
        for done in self.done {
            // Whoever no longer waits does not want to know.
            drop(done.send(outcome.clone()));
        }
    }
}
