//! Finds out which eras a server speaks, and opens the keeper's own conversation in one.

use bytes::Bytes;
use protocol::json_rpc::{Message, code};
use protocol::mcp::{Era, Version};
use tokio::sync::mpsc;

use super::Server;
use crate::conversation::{Conversation, Hello, Way, own_info};
use crate::failure::{UpstreamFailure, shown};
use crate::upstream::Audience;

/// Whether a server refuses the version and offers it all the same.
fn offers_our_version(failure: &UpstreamFailure) -> bool {
    let UpstreamFailure::Refused {
        code,
        data: Some(data),
        ..
    } = failure
    else {
        return false;
    };
    let data: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
    let supported = data["supported"].as_array();
    *code == i64::from(code::UNSUPPORTED_VERSION)
        && supported.is_some_and(|all| all.iter().any(|one| one == Version::NEWEST.as_str()))
}

impl Server {
    pub(super) async fn open_modern(
        &self,
        sender: mpsc::Sender<Bytes>,
    ) -> Result<(Conversation, Message), UpstreamFailure> {
        let conversation =
            Conversation::modern(self.name.clone(), &self.way, self.ids.clone(), sender).await?;
        let silent_means_legacy = matches!(self.way, Way::Program(_));
        let mut asked = conversation.ask("server/discover", "{}").await;
        // A server that names the very version it was asked in means: once more ("Protocol Version Negotiation").
        if asked.as_ref().is_err_and(offers_our_version) {
            asked = conversation.ask("server/discover", "{}").await;
        }
        match asked {
            Ok(opening) => Ok((conversation, opening)),
            Err(failure) => Err(self.modern_verdict(failure, silent_means_legacy)),
        }
    }

    /// What counts as evidence (MCP 2026-07-28, streamable-http "Backward Compatibility", stdio "Backward Compatibility").
    fn modern_verdict(
        &self,
        failure: UpstreamFailure,
        silent_means_legacy: bool,
    ) -> UpstreamFailure {
        let other = |reason: String| UpstreamFailure::OtherEra {
            server: self.name.clone(),
            era: Era::Modern.as_str(),
            reason,
        };
        match &failure {
            // These are the words of a server that knows the question and fails at it.
            UpstreamFailure::Refused { code, .. }
                if [code::HEADER_MISMATCH, code::INTERNAL_ERROR]
                    .map(i64::from)
                    .contains(code) =>
            {
                failure
            }
            UpstreamFailure::Refused { message, code, .. } => {
                other(format!("it answered `{}` ({code})", shown(message)))
            }
            // Authentication, outages and limits say nothing about the era.
            UpstreamFailure::Status {
                status: 401 | 403 | 407 | 408 | 429 | 500..,
                ..
            } => failure,
            UpstreamFailure::Status { status, .. } => other(format!("it answered HTTP {status}")),
            UpstreamFailure::Garbage { reason, .. } => other(reason.clone()),
            UpstreamFailure::NoAnswer { reason, .. } if silent_means_legacy => {
                other(reason.clone())
            }
            UpstreamFailure::NoAnswer { .. }
            | UpstreamFailure::Busy { .. }
            | UpstreamFailure::Unreachable { .. }
            | UpstreamFailure::Resting { .. }
            | UpstreamFailure::SessionLost { .. }
            | UpstreamFailure::OtherEra { .. } => failure,
        }
    }

    pub(super) async fn open_legacy(
        &self,
        version: Version,
        sender: mpsc::Sender<Bytes>,
    ) -> Result<(Conversation, Message), UpstreamFailure> {
        let hello = Hello {
            version,
            capabilities: "{}".to_owned(),
            client_info: own_info(),
        };
        let way = self.legacy_way();
        let opened = Conversation::legacy(
            self.name.clone(),
            &way,
            self.ids.clone(),
            &hello,
            Audience::Many,
            sender.clone(),
        )
        .await;
        let failure = match (opened, &way) {
            (Ok(opened), _) => return Ok(opened),
            // 400, 404 and 405 to `initialize` may mean the transport of 2024-11-05.
            (
                Err(UpstreamFailure::Status {
                    status: status @ (400 | 404 | 405),
                    ..
                }),
                Way::Http(link, url),
            ) => {
                let older = Way::LegacySse(link.clone(), url.clone());
                match Conversation::legacy(
                    self.name.clone(),
                    &older,
                    self.ids.clone(),
                    &hello,
                    Audience::Many,
                    sender,
                )
                .await
                {
                    Ok(opened) => {
                        *self
                            .legacy_way
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(older);
                        return Ok(opened);
                    }
                    Err(UpstreamFailure::Unreachable { server, reason }) => {
                        UpstreamFailure::Unreachable { server, reason }
                    }
                    Err(_) => self.not_legacy(format!("it answered HTTP {status} to `initialize`")),
                }
            }
            (Err(UpstreamFailure::Refused { message, code, .. }), _)
                if code != i64::from(code::INTERNAL_ERROR) =>
            {
                let message = shown(&message);
                self.not_legacy(format!("it answered `{message}` ({code}) to `initialize`"))
            }
            (Err(failure), _) => failure,
        };
        Err(failure)
    }

    fn not_legacy(&self, reason: String) -> UpstreamFailure {
        UpstreamFailure::OtherEra {
            server: self.name.clone(),
            era: Era::Legacy.as_str(),
            reason,
        }
    }
}
