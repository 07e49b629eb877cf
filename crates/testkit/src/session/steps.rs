//! The steps. Each says in a few words what it saw, or why it failed.

use std::pin::Pin;

use anyhow::{Context, anyhow, bail, ensure};
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, ClientRequest, GetPromptRequestParams,
    JsonObject, LoggingLevel, ReadResourceRequestParams, RequestMetaObject, ResourceContents,
    ServerNotification, SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter,
    UnsubscribeRequestParams,
};
use rmcp::service::PeerRequestOptions;
use serde_json::{Value, json};

use super::judge::Heard;
use super::{Session, ask_for_reload, show};
use crate::within;

type Outcome = anyhow::Result<String>;

pub(super) async fn all(session: &mut Session) {
    let mut wanted: Vec<&str> = STEPS.to_vec();
    if let Some(only) = &session.plan.steps {
        wanted.retain(|step| only.iter().any(|name| name == step));
    }
    for step in wanted {
        // The SDK's futures are large: they live on the heap.
        let done = play(session, step);
        show(step, within(step, done).await.and_then(|done| done));
    }
}

/// All steps after the handshake, in their order.
const STEPS: [&str; 13] = [
    "list",
    "call",
    "stream",
    "progress",
    "cancel",
    "subscribe",
    "prompts",
    "resources",
    "completion",
    "elicitation",
    "sampling",
    "roots",
    "reload",
];

fn play<'a>(
    session: &'a mut Session,
    step: &str,
) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
    match step {
        "list" => Box::pin(list(session)),
        "call" => Box::pin(call(session)),
        "stream" => Box::pin(stream(session)),
        "progress" => Box::pin(progress(session)),
        "cancel" => Box::pin(cancel(session)),
        "subscribe" => Box::pin(subscribe(session)),
        "prompts" => Box::pin(prompts(session)),
        "resources" => Box::pin(resources(session)),
        "completion" => Box::pin(completion(session)),
        "reload" => Box::pin(reload(session)),
        asking => match asked().into_iter().find(|(name, ..)| *name == asking) {
            Some((_, tool, given, wanted)) => Box::pin(asks(session, tool, given, wanted)),
            None => Box::pin(std::future::ready(Err(anyhow!("there is no such step")))),
        },
    }
}

/// Tools that ask the client: step, tool, arguments, and a word of the result that only the answer can bring in.
fn asked() -> [(&'static str, &'static str, Value, &'static str); 3] {
    [
        (
            "elicitation",
            "test_elicitation",
            json!({"message": "Go on?"}),
            "yes",
        ),
        (
            "sampling",
            "test_sampling",
            json!({"prompt": "a question"}),
            "sampled a question",
        ),
        (
            "roots",
            "test_input_required_result_list_roots",
            json!({}),
            "file:///judge",
        ),
    ]
}

/// The text of a result.
pub(super) fn text(result: &CallToolResult) -> String {
    result
        .content
        .iter()
        .filter_map(|block| block.as_text())
        .map(|block| block.text.as_str())
        .collect()
}

async fn names(session: &Session) -> anyhow::Result<Vec<String>> {
    session.sdk.clear_response_cache().await;
    Ok(session
        .sdk
        .list_all_tools()
        .await?
        .into_iter()
        .map(|tool| tool.name.into_owned())
        .collect())
}

async fn list(session: &Session) -> Outcome {
    let names = names(session).await?;
    ensure!(
        names.iter().any(|name| name == "echo"),
        "echo is not among {} tools",
        names.len()
    );
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup();
    ensure!(once.len() == names.len(), "a name comes twice");
    if let Some(second) = &session.plan.second {
        ensure!(
            names.contains(&second.tool),
            "{} of the second server is missing",
            second.tool
        );
    }
    Ok(format!("{} tools", names.len()))
}

async fn tool(session: &Session, name: &str, given: Value) -> anyhow::Result<CallToolResult> {
    Ok(session.sdk.call_tool(params(name, given)).await?)
}

fn params(name: &str, given: Value) -> CallToolRequestParams {
    let given: JsonObject = serde_json::from_value(given).unwrap_or_default();
    CallToolRequestParams::new(name.to_owned()).with_arguments(given)
}

async fn call(session: &Session) -> Outcome {
    let said = text(&tool(session, "echo", json!({"text": "héllo"})).await?);
    ensure!(said.contains("héllo"), "echo said {said}");
    let Some(second) = &session.plan.second else {
        return Ok("one server".to_owned());
    };
    let result = tool(
        session,
        &second.tool,
        Value::Object(second.arguments.clone()),
    )
    .await?;
    ensure!(
        result.is_error != Some(true),
        "{} said {}",
        second.tool,
        text(&result)
    );
    Ok("both servers".to_owned())
}

async fn stream(session: &mut Session) -> Outcome {
    drain(session);
    let mut params = params("test_tool_with_logging", json!({}));
    if session.modern {
        let mut meta = RequestMetaObject::new();
        meta.set_log_level(LoggingLevel::Info);
        params.meta = Some(meta);
    } else {
        session
            .sdk
            .set_level(SetLevelRequestParams::new(LoggingLevel::Info))
            .await?;
    }
    session.sdk.call_tool(params).await?;
    let lines = drain(session)
        .iter()
        .filter(|heard| matches!(heard, Heard::Logged))
        .count();
    ensure!(lines == 3, "{lines} of 3 lines came before the result");
    Ok("3 lines before the result".to_owned())
}

async fn progress(session: &mut Session) -> Outcome {
    drain(session);
    tool(session, "test_tool_with_progress", json!({})).await?;
    let seen: Vec<_> = drain(session).iter().filter_map(progressed).collect();
    ensure!(seen == [0.0, 50.0, 100.0], "progress was {seen:?}");
    Ok("0, 50, 100".to_owned())
}

fn progressed(heard: &Heard) -> Option<f64> {
    match heard {
        Heard::Progress(done) => Some(*done),
        Heard::Logged | Heard::ToolsChanged | Heard::Updated(_) => None,
    }
}

async fn cancel(session: &mut Session) -> Outcome {
    let before = canceled(session).await?;
    drain(session);
    let request = CallToolRequest::new(params("slow", json!({"steps": 100, "step_ms": 100})));
    let options = PeerRequestOptions::no_options();
    let running = session
        .sdk
        .send_cancellable_request(ClientRequest::CallToolRequest(request), options)
        .await?;
    for _ in 0..2 {
        next(session, |heard| progressed(&heard).map(drop)).await?;
    }
    running.cancel(Some("no longer wanted".to_owned())).await?;
    while canceled(session).await? == before {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Ok("the server noticed".to_owned())
}

async fn canceled(session: &Session) -> anyhow::Result<Value> {
    let report: Value =
        serde_json::from_str(&text(&tool(session, "slow_report", json!({})).await?))?;
    Ok(report["canceled"].clone())
}

async fn subscribe(session: &mut Session) -> Outcome {
    let listed = session.sdk.list_all_resources().await?;
    let watched = listed
        .into_iter()
        .map(|found| found.uri)
        .find(|uri| uri.ends_with("watched-resource"));
    let watched = watched.context("the watched resource is not listed")?;
    let updated = if session.modern {
        let filter = SubscriptionFilter::builder()
            .resource_subscriptions([watched.clone()])
            .build();
        let mut updates = session.sdk.listen(filter).await?;
        tool(session, "test_touch_resource", json!({})).await?;
        let updated = match updates.next().await? {
            Some(ServerNotification::ResourceUpdatedNotification(update)) => update.params.uri,
            other => bail!("instead of the update came {other:?}"),
        };
        updates.cancel().await?;
        updated
    } else {
        session
            .sdk
            .subscribe(SubscribeRequestParams::new(watched.clone()))
            .await?;
        drain(session);
        tool(session, "test_touch_resource", json!({})).await?;
        let updated = next(session, |heard| match heard {
            Heard::Updated(uri) => Some(uri),
            Heard::Progress(_) | Heard::Logged | Heard::ToolsChanged => None,
        });
        let updated = updated.await?;
        session
            .sdk
            .unsubscribe(UnsubscribeRequestParams::new(watched.clone()))
            .await?;
        updated
    };
    ensure!(updated == watched, "the update was for {updated}");
    Ok("one update".to_owned())
}

async fn prompts(session: &Session) -> Outcome {
    let listed = session.sdk.list_all_prompts().await?;
    let given: JsonObject = serde_json::from_value(json!({"arg1": "one", "arg2": "two"}))?;
    let request = GetPromptRequestParams::new("test_prompt_with_arguments").with_arguments(given);
    let got = session.sdk.get_prompt(request).await?;
    let said = got
        .messages
        .first()
        .and_then(|message| message.content.as_text())
        .context("no text")?;
    ensure!(
        said.text.contains("arg1='one'") && said.text.contains("arg2='two'"),
        "the prompt was {}",
        said.text
    );
    Ok(format!("{} prompts", listed.len()))
}

async fn resources(session: &Session) -> Outcome {
    let listed: Vec<_> = session
        .sdk
        .list_all_resources()
        .await?
        .into_iter()
        .map(|found| found.uri)
        .collect();
    let find = |rest: &str| {
        listed
            .iter()
            .find(|uri| uri.ends_with(rest))
            .cloned()
            .context("a resource is missing")
    };
    let sentence = read(session, find("static-text")?).await?;
    ensure!(
        sentence["text"] == "This is the content of the static text resource.",
        "it says {sentence}"
    );
    ensure!(
        sentence["uri"] == find("static-text")?,
        "the content calls itself {}",
        sentence["uri"]
    );
    let picture = read(session, find("static-binary")?).await?;
    ensure!(
        picture["blob"]
            .as_str()
            .is_some_and(|blob| !blob.is_empty()),
        "the picture is empty"
    );
    let templates = session.sdk.list_all_resource_templates().await?;
    let mut templates = templates.into_iter().map(|template| template.uri_template);
    let template = templates
        .find(|template| template.contains("template/{id}/data"))
        .context("no template")?;
    let data = read(session, template.replace("{id}", "42")).await?;
    let data: Value = serde_json::from_str(data["text"].as_str().unwrap_or_default())?;
    ensure!(data["id"] == "42", "the template gave {data}");
    Ok(format!("{} resources, 1 template", listed.len()))
}

async fn read(session: &Session, uri: String) -> anyhow::Result<Value> {
    let result = session
        .sdk
        .read_resource(ReadResourceRequestParams::new(uri))
        .await?;
    let first: &ResourceContents = result.contents.first().context("no contents")?;
    Ok(serde_json::to_value(first)?)
}

async fn completion(session: &Session) -> Outcome {
    let values = session
        .sdk
        .complete_prompt_simple("test_prompt_with_arguments", "arg1", "par")
        .await?;
    ensure!(
        values == ["paris", "park", "party"],
        "the values were {values:?}"
    );
    Ok(format!("{} values", values.len()))
}

async fn asks(session: &Session, name: &str, given: Value, wanted: &str) -> Outcome {
    let said = text(&tool(session, name, given).await?);
    ensure!(said.contains(wanted), "{name} said {said}");
    Ok("asked and answered".to_owned())
}

/// Has the list changed, by a tool of the server or by whoever started us.
async fn change(session: &Session) -> anyhow::Result<()> {
    match &session.plan.reload {
        Some(trigger) => tool(session, trigger, json!({})).await.map(drop),
        None => {
            ask_for_reload();
            Ok(())
        }
    }
}

async fn reload(session: &mut Session) -> Outcome {
    let before = names(session).await?;
    drain(session);
    if session.modern {
        let mut changes = session
            .sdk
            .listen(SubscriptionFilter::builder().tools_list_changed().build())
            .await?;
        change(session).await?;
        match changes.next().await? {
            Some(ServerNotification::ToolListChangedNotification(_)) => changes.cancel().await?,
            other => bail!("instead of the change came {other:?}"),
        }
    } else {
        change(session).await?;
        next(session, |heard| {
            matches!(heard, Heard::ToolsChanged).then_some(())
        })
        .await?;
    }
    let after = names(session).await?;
    ensure!(before != after, "the list is as before");
    Ok(format!("{} → {} tools", before.len(), after.len()))
}

/// What was heard so far.
fn drain(session: &mut Session) -> Vec<Heard> {
    let mut all = Vec::new();
    while let Ok(heard) = session.heard.try_recv() {
        all.push(heard);
    }
    all
}

/// The next notification of one kind.
async fn next<T>(session: &mut Session, wanted: impl Fn(Heard) -> Option<T>) -> anyhow::Result<T> {
    loop {
        let heard = session
            .heard
            .recv()
            .await
            .context("the conversation ended")?;
        if let Some(found) = wanted(heard) {
            return Ok(found);
        }
    }
}
