//! Questions of the server to a legacy client, until they are answered.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::wire;

/// How long a user may think.
const ANSWER_WAIT_MAX: Duration = Duration::from_mins(10);

/// The questions that wait for an answer. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Questions {
    open: Arc<Mutex<Open>>,
    outbox: mpsc::Sender<String>,
}

#[derive(Debug, Default)]
struct Open {
    asked: u64,
    waiting: HashMap<String, oneshot::Sender<Option<Value>>>,
}

impl Questions {
    pub(crate) fn new(outbox: mpsc::Sender<String>) -> Self {
        Self {
            open: Arc::default(),
            outbox,
        }
    }

    /// Asks and waits; nothing comes back when the client answers with an error, or not in time.
    ///
    /// # Cancellation
    /// Dropping the future tells the client that the question is void.
    pub(crate) async fn ask(&self, params: &Value) -> Option<Value> {
        let (asked, answer) = self.open_question();
        let request = json!({
            "jsonrpc": "2.0", "id": asked.id, "method": "elicitation/create", "params": params,
        });
        self.outbox.send(request.to_string()).await.ok()?;
        timeout(ANSWER_WAIT_MAX, answer).await.ok()?.ok()?
    }

    /// Hands the client's answer to whoever asked; answers to nothing are ignored.
    pub(crate) fn settle(&self, id: &Value, result: Option<Value>) {
        let Some(id) = id.as_str() else { return };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = open.waiting.remove(id) {
            // Whoever asked may have given up in the meantime.
            drop(waiting.send(result));
        }
    }

    fn open_question(&self) -> (Asked<'_>, oneshot::Receiver<Option<Value>>) {
        let (sender, answer) = oneshot::channel();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.asked += 1;
        let id = format!("question-{}", open.asked);
        open.waiting.insert(id.clone(), sender);
        let questions = self;
        (Asked { id, questions }, answer)
    }
}

/// A question on its way; dropped unanswered, it takes itself back.
#[derive(Debug)]
struct Asked<'questions> {
    id: String,
    questions: &'questions Questions,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let open = self.questions.open.lock();
        let mut open = open.unwrap_or_else(PoisonError::into_inner);
        if open.waiting.remove(&self.id).is_some() {
            let params = json!({"requestId": self.id});
            let message = wire::notification("notifications/cancelled", &params);
            // With a full queue the client is not listening anyway.
            drop(self.questions.outbox.try_send(message.to_string()));
        }
    }
}
