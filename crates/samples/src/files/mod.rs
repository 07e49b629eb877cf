//! A server that offers the files of one folder: to list, to read, to search.

use std::{io, path::Path, time::Duration};

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    call::Call,
    conversation,
    era::{About, Freshness},
    outcome::Stop,
    server::Server,
    subscriptions::{Filter, Subscriptions},
};

mod tools;

mod prompts;
mod resources;

mod watch;

mod search;

mod folder;
mod uri;

use folder::Folder;
use watch::Watch;

/// How often the folder is looked at while somebody subscribes to it.
const WATCH_PERIOD: Duration = Duration::from_secs(1);

/// Serves the folder on stdin and stdout until the client closes its end.
///
/// # Errors
/// When the folder cannot be read, or the client went away without closing.
pub async fn run(root: &Path) -> io::Result<()> {
    serve(root, tokio::io::stdin(), tokio::io::stdout()).await
}

/// Serves the folder on any two byte streams.
///
/// # Errors
/// When the folder cannot be read, or a stream fails.
pub async fn serve(
    root: &Path,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let files = Files {
        folder: Folder::open(root)?,
        watch: Watch::default(),
    };
    conversation::converse(files, input, output).await
}

#[derive(Debug)]
struct Files {
    folder: Folder,
    watch: Watch,
}

impl Server for Files {
    fn about(&self) -> About {
        About {
            name: "marque-sample-files",
            title: "Files",
            instructions: "Serves the text files of one folder. Use search to find where something \
                           is said, then read_file for the whole of it.",
            capabilities: json!({
                "completions": {},
                "logging": {},
                "prompts": {},
                "resources": {"subscribe": true, "listChanged": true},
                "tools": {},
            }),
        }
    }

    async fn answer(&self, call: &Call) -> Result<Value, Stop> {
        match call.method.as_str() {
            "tools/list" => Ok(json!({"tools": tools::all()})),
            "tools/call" => tools::call(&self.folder, call).await,
            "resources/list" => resources::list(&self.folder, call).await,
            "resources/templates/list" => Ok(json!({"resourceTemplates": resources::templates()})),
            "resources/read" => resources::read(&self.folder, call).await,
            "prompts/list" => Ok(json!({"prompts": prompts::all()})),
            "prompts/get" => prompts::fill(&self.folder, call).await,
            "completion/complete" => prompts::complete(&self.folder, call).await,
            _ => Err(call.unknown_method()),
        }
    }

    fn freshness(&self, method: &str) -> Option<Freshness> {
        let (ttl_ms, scope) = match method {
            // What the program offers does not change while it runs.
            "server/discover" | "tools/list" | "prompts/list" | "resources/templates/list" => {
                (3_600_000, "public")
            }
            // What is in the folder may change at any moment, and is not for everybody.
            "resources/list" | "resources/read" => (1_000, "private"),
            _ => return None,
        };
        Some(Freshness { ttl_ms, scope })
    }

    async fn honor(&self, mut asked: Filter) -> Filter {
        self.watch.begin(&self.folder).await;
        asked.uris.retain(|uri| uri::to_path(uri).is_some());
        asked
    }

    async fn watch(&self, subscriptions: &Subscriptions) {
        let watching = self.watch.run(&self.folder, subscriptions, WATCH_PERIOD);
        watching.await;
    }
}
