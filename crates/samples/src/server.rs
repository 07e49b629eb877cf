//! What a server is to the conversation: who it is, what it answers, what it watches.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    call::Call,
    era::{About, Freshness},
    outcome::Stop,
    subscriptions::{Filter, Subscriptions},
    wire::Fault,
};

/// A sample server. The conversation asks it for results and knows nothing of its subject.
pub(crate) trait Server: Send + Sync + 'static {
    /// Says who the server is and what it can do.
    fn about(&self) -> About;

    /// Answers one request. The future is dropped when the request is canceled.
    fn answer(&self, call: &Call) -> impl Future<Output = Result<Value, Stop>> + Send;

    /// Says for how long a result of this method may be kept; only for those that modern revisions
    /// let a client keep.
    fn freshness(&self, method: &str) -> Option<Freshness>;

    /// Cuts a subscription down to what this server will really tell, and gets ready to.
    fn honor(&self, _asked: Filter) -> impl Future<Output = Filter> + Send {
        std::future::ready(Filter::default())
    }

    /// Watches its subject for as long as the conversation lasts, and tells who listens.
    fn watch(&self, _subscriptions: &Subscriptions) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// Says what a tool found: text for the model, and the same as data.
pub(crate) fn tool_result(text: impl Into<String>, structured: Value) -> Value {
    let mut result = json!({"content": [{"type": "text", "text": text.into()}]});
    result["structuredContent"] = structured;
    result
}

/// Says why a tool failed. The model sees it, unlike a [`Fault`].
pub(crate) fn tool_error(text: impl Into<String>) -> Value {
    json!({"content": [{"type": "text", "text": text.into()}], "isError": true})
}

/// Reads the arguments of a tool, for the model to correct where they do not fit.
///
/// # Errors
/// [`Stop::Tool`] naming the argument: since 2025-11-25 wrong arguments are the tool's error, not the
/// protocol's, because only then does the model learn of them.
pub(crate) fn tool_arguments<T: DeserializeOwned>(call: &Call) -> Result<T, Stop> {
    read_arguments(call).map_err(|error| Stop::Tool(format!("{}: {error}", call.name())))
}

/// Reads the arguments of a prompt.
///
/// # Errors
/// A [`Fault`] naming the argument.
pub(crate) fn prompt_arguments<T: DeserializeOwned>(call: &Call) -> Result<T, Stop> {
    read_arguments(call).map_err(|error| {
        let message = format!("prompt {}: {error}", call.name());
        Stop::Fault(Fault::invalid_params(message))
    })
}

fn read_arguments<T: DeserializeOwned>(call: &Call) -> serde_json::Result<T> {
    let arguments = call.params.get("arguments").cloned();
    serde_json::from_value(arguments.unwrap_or_else(|| json!({})))
}

/// The most values that `completion/complete` may answer with.
const COMPLETIONS_MAX: usize = 100;

/// Answers `completion/complete` with the candidates that contain what was typed: first those that
/// start with it, then those of which a part does.
pub(crate) fn completion(typed: &str, candidates: impl Iterator<Item = String>) -> Value {
    let typed = typed.to_lowercase();
    let mut ranked: Vec<(u8, String)> = candidates
        .filter_map(|candidate| rank(&candidate, &typed).map(|rank| (rank, candidate)))
        .collect();
    ranked.sort();
    let total = ranked.len();
    let values = ranked.into_iter().map(|(_, candidate)| candidate);
    let values: Vec<String> = values.take(COMPLETIONS_MAX).collect();
    json!({"completion": {"values": values, "total": total, "hasMore": total > COMPLETIONS_MAX}})
}

fn rank(candidate: &str, typed: &str) -> Option<u8> {
    let candidate = candidate.to_lowercase();
    if candidate.starts_with(typed) {
        Some(0)
    } else if candidate.split('/').any(|part| part.starts_with(typed)) {
        Some(1)
    } else {
        candidate.contains(typed).then_some(2)
    }
}
