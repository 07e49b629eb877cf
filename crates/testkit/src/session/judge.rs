//! The client's side of the conversation: answers questions, keeps what it hears.

use rmcp::model::{
    ClientCapabilities, ClientConfig, CreateMessageRequestParams, CreateMessageResult,
    ElicitRequestParams, ElicitResult, ElicitationAction, Implementation, ListRootsResult,
    LoggingMessageNotificationParam, ProgressNotificationParam, ProtocolVersion,
    ResourceUpdatedNotificationParam, Root, SamplingMessage,
};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{ClientHandler, ErrorData, RoleClient};
use serde_json::json;
use tokio::sync::mpsc;

/// A notification, as far as the steps look at it.
#[derive(Debug)]
pub(super) enum Heard {
    Progress(f64),
    Logged,
    ToolsChanged,
    Updated(String),
}

pub(super) struct Judge {
    pub tell: mpsc::Sender<Heard>,
    pub modern: bool,
}

impl Judge {
    async fn keep(&self, heard: Heard) {
        // The session is over when nobody listens any more.
        drop(self.tell.send(heard).await);
    }
}

impl ClientHandler for Judge {
    fn get_info(&self) -> ClientConfig {
        let capabilities = ClientCapabilities::builder()
            .enable_elicitation()
            .enable_sampling()
            .enable_roots()
            .build();
        let info = ClientConfig::new(capabilities, Implementation::new("judge", "3"));
        if self.modern {
            info
        } else {
            info.with_protocol_version(ProtocolVersion::V_2025_11_25)
        }
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Ok(ElicitResult::new(ElicitationAction::Accept)
            .with_content(json!({"response": "yes", "name": "Judge"})))
    }

    async fn create_message(
        &self,
        request: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        let asked = serde_json::to_value(&request.messages).unwrap_or_default();
        let content = &asked[0]["content"];
        let text = content["text"]
            .as_str()
            .or_else(|| content[0]["text"].as_str())
            .unwrap_or_default();
        Ok(CreateMessageResult::new(
            SamplingMessage::assistant_text(format!("sampled {text}")),
            "judge".to_owned(),
        ))
    }

    async fn list_roots(
        &self,
        _: RequestContext<RoleClient>,
    ) -> Result<ListRootsResult, ErrorData> {
        Ok(ListRootsResult::new(vec![
            Root::new("file:///judge").with_name("judge"),
        ]))
    }

    async fn on_progress(
        &self,
        step: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.keep(Heard::Progress(step.progress)).await;
    }

    async fn on_logging_message(
        &self,
        _: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.keep(Heard::Logged).await;
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.keep(Heard::ToolsChanged).await;
    }

    async fn on_resource_updated(
        &self,
        update: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.keep(Heard::Updated(update.uri)).await;
    }
}
