//! A server that knows the time zones of the world, and nothing of the machine that it runs on but
//! its clock.

use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    call::Call,
    conversation,
    era::{About, Freshness},
    outcome::Stop,
    server::Server,
};

mod tools;

mod convert;
mod meeting;

mod prompts;

mod zones;

/// Tells the time in seconds since 1970-01-01T00:00:00Z.
pub type Clock = fn() -> i64;

/// Serves on stdin and stdout until the client closes its end.
///
/// # Errors
/// When the client went away without closing.
pub async fn run() -> io::Result<()> {
    let clock = || Timestamp::now().as_second();
    serve(tokio::io::stdin(), tokio::io::stdout(), clock).await
}

/// Serves on any two byte streams, by any clock.
///
/// # Errors
/// When a stream fails.
pub async fn serve(
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
    clock: Clock,
) -> io::Result<()> {
    conversation::converse(Time { clock }, input, output).await
}

#[derive(Debug)]
struct Time {
    clock: Clock,
}

impl Server for Time {
    fn about(&self) -> About {
        About {
            name: "marque-sample-time",
            title: "Time zones",
            instructions: "Tells and converts times. Zones are IANA names such as Europe/Berlin; \
                           use zones to find one.",
            capabilities: json!({
                "completions": {},
                "logging": {},
                "prompts": {},
                "resources": {},
                "tools": {},
            }),
        }
    }

    async fn answer(&self, call: &Call) -> Result<Value, Stop> {
        let now = Timestamp::from_second((self.clock)()).unwrap_or_default();
        match call.method.as_str() {
            "tools/list" => Ok(json!({"tools": tools::all()})),
            "tools/call" => tools::call(call, now).await,
            "resources/list" => Ok(json!({"resources": zones::resources()})),
            "resources/templates/list" => Ok(json!({"resourceTemplates": []})),
            "resources/read" => zones::read(call),
            "prompts/list" => Ok(json!({"prompts": prompts::all()})),
            "prompts/get" => prompts::fill(call),
            "completion/complete" => prompts::complete(call),
            _ => Err(call.unknown_method()),
        }
    }

    fn freshness(&self, method: &str) -> Option<Freshness> {
        match method {
            // Zones change with a release of the program; everything here is the same for all.
            "server/discover"
            | "tools/list"
            | "prompts/list"
            | "resources/list"
            | "resources/templates/list"
            | "resources/read" => Some(Freshness {
                ttl_ms: 3_600_000,
                scope: "public",
            }),
            _ => None,
        }
    }
}
