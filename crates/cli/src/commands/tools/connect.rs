//! Finding out which era a server speaks.

use http::{HeaderMap, StatusCode};
use protocol::mcp::{Era, Version};
use serde_json::{Value, json};

use super::{
    EraChoice,
    client::Client,
    failure::Failure,
    reply::Reply,
    speech::{Speech, client_info},
};

impl Client {
    /// Opens the conversation in the wanted era.
    ///
    /// # Spec
    /// MCP 2026-07-28, basic/transports/streamable-http, "Backward Compatibility": the modern way
    /// first; an error that only modern servers know ends there, anything else means legacy.
    /// What keeps the request from the server, such as a missing credential, is evidence of nothing.
    pub(super) async fn open(&mut self, choice: EraChoice) -> Result<(), Failure> {
        if choice != EraChoice::Legacy {
            let reply = self
                .exchange("server/discover", json!({}), HeaderMap::new())
                .await?;
            if choice == EraChoice::Modern || self.is_modern(&reply)? {
                return self.discovered(reply.result(self.server())?);
            }
        }
        self.initialize(choice).await
    }

    fn is_modern(&self, reply: &Reply) -> Result<bool, Failure> {
        match reply {
            Reply::Result(result) => Ok(result["supportedVersions"].is_array()),
            Reply::Other { status, .. } if status.is_server_error() => {
                let status = *status;
                Err(self.broken(&status.to_string()))
            }
            reply => Ok(reply.is_modern_error()),
        }
    }

    fn discovered(&mut self, mut result: Value) -> Result<(), Failure> {
        let ours = Version::NEWEST.as_str();
        let versions = result["supportedVersions"].as_array();
        if !versions.is_some_and(|versions| versions.iter().any(|version| version == ours)) {
            let theirs = &result["supportedVersions"];
            return Err(self.broken(&format!("speaks {theirs}, not {ours}; try --era legacy")));
        }
        let info = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
        self.remember(
            info["name"].as_str().map(str::to_owned),
            result["capabilities"].take(),
        );
        Ok(())
    }

    /// # Spec
    /// MCP 2025-11-25, basic/lifecycle, "Initialization".
    async fn initialize(&mut self, choice: EraChoice) -> Result<(), Failure> {
        self.speech = Speech::Opening;
        let params = json!({
            "protocolVersion": Version::NEWEST_LEGACY.as_str(),
            "capabilities": self.capabilities(),
            "clientInfo": client_info(),
        });
        let (reply, session) = self.exchange_opening("initialize", params).await?;
        if choice == EraChoice::Auto
            && let Reply::Other { status, .. } = reply
            && [
                StatusCode::BAD_REQUEST,
                StatusCode::NOT_FOUND,
                StatusCode::METHOD_NOT_ALLOWED,
            ]
            .contains(&status)
        {
            let what = format!("{status}: there seems to be no MCP server at this URL");
            return Err(self.broken(&what));
        }
        let mut result = reply.result(self.server())?;
        let version = result["protocolVersion"].as_str().unwrap_or_default();
        let known = Version::parse(version).filter(|version| version.era() == Era::Legacy);
        let Some(version) = known else {
            return Err(self.broken(&format!("wants to speak the unknown revision {version:?}")));
        };
        self.speech = Speech::Legacy { version, session };
        let name = result["serverInfo"]["name"].as_str().map(str::to_owned);
        self.remember(name, result["capabilities"].take());
        self.notify("notifications/initialized", json!({})).await?;
        self.set_log_level().await
    }

    async fn set_log_level(&self) -> Result<(), Failure> {
        if self.offers("logging") {
            let params = json!({"level": self.console.log_level});
            // A server that refuses the level can be used all the same.
            drop(
                self.exchange("logging/setLevel", params, HeaderMap::new())
                    .await?,
            );
        }
        Ok(())
    }
}
