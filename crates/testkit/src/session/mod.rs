//! The scripted session of the client matrix, as the official SDK's client plays it.
//!
//! The same steps in the same order as `judges/node/session.mjs` and `judges/python/session.py`; one JSON line per
//! step on standard output.

#![expect(
    deprecated,
    reason = "sampling, roots and logging live on in the revisions that are tried here"
)]

mod judge;
mod steps;

use rmcp::model::{CallToolRequestParams, JsonObject, ProtocolVersion};
use rmcp::service::RunningService;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientLifecycleMode, ClientServiceExt, RoleClient, ServiceExt};
use serde_json::json;
use tokio::sync::mpsc;

use crate::within;
use judge::{Heard, Judge};

/// Most notifications that wait to be looked at.
const HEARD_MAX: usize = 4096;

/// One open conversation.
struct Session {
    sdk: RunningService<RoleClient, Judge>,
    heard: mpsc::Receiver<Heard>,
    modern: bool,
    plan: Plan,
}

/// What to play.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// A call that the second server of the toolset answers, if it has one.
    pub second: Option<SecondTool>,
    /// Only these steps.
    pub steps: Option<Vec<String>>,
    /// A tool that changes the list of tools; otherwise whoever reads our lines is asked to.
    pub reload: Option<String>,
}

/// The call that proves the second server of a toolset.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct SecondTool {
    /// Its tool, as the toolset calls it.
    pub tool: String,
    /// What the tool is given.
    pub arguments: JsonObject,
}

/// Plays the session against `url` and prints its lines.
///
/// # Errors
/// When the conversation does not end well. A failed step is a line, not an error.
pub async fn play(url: &str, modern: bool, plan: Plan) -> anyhow::Result<()> {
    let mut session = match within("the handshake", connect(url, modern))
        .await
        .and_then(|connected| connected)
    {
        Ok((sdk, heard)) => Session {
            sdk,
            heard,
            modern,
            plan,
        },
        Err(error) => {
            show("connect", Err(error));
            return Ok(());
        }
    };
    let version = if modern {
        "2026-07-28".to_owned()
    } else {
        session.version()
    };
    show("connect", Ok(version));
    steps::all(&mut session).await;
    session.sdk.cancel().await?;
    Ok(())
}

/// Calls one tool and returns its text.
///
/// # Errors
/// When the server cannot be reached or answers with an error.
pub async fn call_once(url: &str, tool: &str) -> anyhow::Result<String> {
    let sdk = ().serve(StreamableHttpClientTransport::from_uri(url)).await?;
    let result = within(
        "the result",
        sdk.call_tool(CallToolRequestParams::new(tool.to_owned())),
    )
    .await??;
    sdk.cancel().await?;
    Ok(steps::text(&result))
}

async fn connect(
    url: &str,
    modern: bool,
) -> anyhow::Result<(RunningService<RoleClient, Judge>, mpsc::Receiver<Heard>)> {
    let (tell, heard) = mpsc::channel(HEARD_MAX);
    let judge = Judge { tell, modern };
    let transport = StreamableHttpClientTransport::from_uri(url);
    let sdk = if modern {
        let lifecycle = ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        };
        judge.serve_with_lifecycle(transport, lifecycle).await?
    } else {
        judge.serve(transport).await?
    };
    Ok((sdk, heard))
}

impl Session {
    fn version(&self) -> String {
        self.sdk
            .peer_info()
            .map(|server| server.protocol_version.to_string())
            .unwrap_or_default()
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the lines on stdout are what the harness reads"
)]
fn show(step: &str, outcome: anyhow::Result<String>) {
    let (ok, detail) = match outcome {
        Ok(detail) => (true, detail),
        Err(error) => (false, format!("{error:#}")),
    };
    println!("{}", json!({"step": step, "ok": ok, "detail": detail}));
}

#[expect(
    clippy::print_stdout,
    reason = "the lines on stdout are what the harness reads"
)]
fn ask_for_reload() {
    println!("{}", json!({"ask": "reload"}));
}
