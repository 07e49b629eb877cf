//! Who wants to hear of which changes.
//!
//! Legacy clients subscribe to single resources and hear of changed lists unasked; modern clients
//! open any number of listening requests, and every notification names the one that it is for.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::wire;

/// The most resources that one subscription may name.
const URIS_MAX: usize = 1_000;
const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// What a subscription is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) resources_list: bool,
    pub(crate) uris: BTreeSet<String>,
}

impl Filter {
    /// Reads the `notifications` of a listening request; kinds that no sample has are dropped.
    pub(crate) fn read(params: &Map<String, Value>) -> Self {
        let asked = params.get("notifications").unwrap_or(&Value::Null);
        let uris = asked["resourceSubscriptions"].as_array();
        Self {
            resources_list: asked["resourcesListChanged"] == true,
            uris: uris
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .take(URIS_MAX)
                .map(str::to_owned)
                .collect(),
        }
    }

    fn say(&self) -> Value {
        let mut said = json!({});
        if self.resources_list {
            said["resourcesListChanged"] = true.into();
        }
        if !self.uris.is_empty() {
            said["resourceSubscriptions"] = json!(self.uris);
        }
        said
    }
}

/// Something that clients may want to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Resources came or went.
    ResourcesList,
    /// The resource with this URI has new contents.
    Resource(String),
}

/// All subscriptions of one conversation.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    listening: Mutex<Listening>,
    outbox: mpsc::Sender<String>,
}

#[derive(Debug, Default)]
struct Listening {
    legacy: Filter,
    /// By the id of the listening request, spelled as JSON.
    modern: HashMap<String, (Value, Filter)>,
}

impl Subscriptions {
    pub(crate) fn new(outbox: mpsc::Sender<String>) -> Self {
        Self {
            listening: Mutex::default(),
            outbox,
        }
    }

    /// Listens for as long as the future is polled.
    ///
    /// # Spec
    /// MCP 2026-07-28, basic/patterns/subscriptions, "Acknowledgment": it comes first, and says
    /// what will be told.
    ///
    /// # Cancellation
    /// Dropping the future ends the subscription.
    pub(crate) async fn listen(&self, id: &Value, filter: Filter) {
        let params = json!({"_meta": {SUBSCRIPTION_ID: id}, "notifications": filter.say()});
        self.send(&wire::notification(
            "notifications/subscriptions/acknowledged",
            &params,
        ))
        .await;
        let key = id.to_string();
        self.change(|listening| listening.modern.insert(key.clone(), (id.clone(), filter)));
        let _listener = Listener {
            key,
            subscriptions: self,
        };
        std::future::pending().await
    }

    /// The result that ends a listening request from our side.
    pub(crate) fn ended(id: &Value) -> Value {
        json!({"resultType": "complete", "_meta": {SUBSCRIPTION_ID: id}})
    }

    /// Subscribes the legacy client to a resource.
    pub(crate) fn subscribe(&self, uri: &str) {
        self.change(|listening| {
            if listening.legacy.uris.len() < URIS_MAX {
                listening.legacy.uris.insert(uri.to_owned());
            }
        });
    }

    /// Ends what [`subscribe`](Self::subscribe) began.
    pub(crate) fn unsubscribe(&self, uri: &str) {
        self.change(|listening| listening.legacy.uris.remove(uri));
    }

    /// Notes that the legacy client has seen a list, so that it hears when that is out of date.
    pub(crate) fn listed(&self) {
        self.change(|listening| listening.legacy.resources_list = true);
    }

    /// Forgets the legacy client, for a new handshake.
    pub(crate) fn forget_legacy(&self) {
        self.change(|listening| listening.legacy = Filter::default());
    }

    /// Says whether anybody listens at all.
    pub(crate) fn any(&self) -> bool {
        self.change(|listening| {
            listening.legacy != Filter::default() || !listening.modern.is_empty()
        })
    }

    /// Tells everybody who asked for this change.
    pub(crate) async fn tell(&self, change: &Change) {
        let messages = self.change(|listening| listening.messages(change));
        for message in messages {
            self.send(&message).await;
        }
    }

    async fn send(&self, message: &Value) {
        // A closed outbox means that the client is gone, and with it all subscriptions.
        drop(self.outbox.send(message.to_string()).await);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Listening) -> T) -> T {
        let listening = self.listening.lock();
        change(&mut listening.unwrap_or_else(PoisonError::into_inner))
    }
}

impl Listening {
    fn messages(&self, change: &Change) -> Vec<Value> {
        let legacy = wants(&self.legacy, change).then(|| notification(change, None));
        let modern = self
            .modern
            .values()
            .filter(|(_, filter)| wants(filter, change))
            .map(|(id, _)| notification(change, Some(id)));
        legacy.into_iter().chain(modern).collect()
    }
}

fn wants(filter: &Filter, change: &Change) -> bool {
    match change {
        Change::ResourcesList => filter.resources_list,
        Change::Resource(uri) => filter.uris.contains(uri),
    }
}

fn notification(change: &Change, subscription: Option<&Value>) -> Value {
    let (method, mut params) = match change {
        Change::ResourcesList => ("notifications/resources/list_changed", json!({})),
        Change::Resource(uri) => ("notifications/resources/updated", json!({"uri": uri})),
    };
    if let Some(id) = subscription {
        params["_meta"] = json!({SUBSCRIPTION_ID: id});
    }
    wire::notification(method, &params)
}

/// Keeps one modern subscription alive.
#[derive(Debug)]
struct Listener<'subscriptions> {
    key: String,
    subscriptions: &'subscriptions Subscriptions,
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        self.subscriptions
            .change(|listening| listening.modern.remove(&self.key));
    }
}
