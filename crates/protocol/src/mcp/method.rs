//! The methods of MCP, as far as a gateway must tell them apart.

use super::version::Era;

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $legacy:literal, $modern:literal;)*) => {
        /// A request or notification from a client that the gateway knows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Method { $($(#[$doc])* $name,)* }

        impl Method {
            /// The method with this name in this era.
            #[must_use]
            pub fn parse(text: &str, era: Era) -> Option<Self> {
                match (text, era) {
                    $(($text, Era::Legacy) if $legacy => Some(Self::$name),)*
                    $(($text, Era::Modern) if $modern => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

methods! {
    /// Opens a legacy session.
    Initialize = "initialize", true, false;
    /// Keeps a legacy connection warm.
    Ping = "ping", true, false;
    /// Sets the log level of a legacy session.
    SetLevel = "logging/setLevel", true, false;
    /// Subscribes a legacy session to one resource.
    Subscribe = "resources/subscribe", true, false;
    /// Ends such a subscription.
    Unsubscribe = "resources/unsubscribe", true, false;
    /// Tells what the server is and can (modern).
    Discover = "server/discover", false, true;
    /// Opens a stream of change notices (modern).
    Listen = "subscriptions/listen", false, true;
    /// Lists tools.
    ToolsList = "tools/list", true, true;
    /// Calls a tool.
    ToolsCall = "tools/call", true, true;
    /// Lists prompts.
    PromptsList = "prompts/list", true, true;
    /// Renders a prompt.
    PromptsGet = "prompts/get", true, true;
    /// Lists resources.
    ResourcesList = "resources/list", true, true;
    /// Lists resource templates.
    TemplatesList = "resources/templates/list", true, true;
    /// Reads a resource.
    ResourcesRead = "resources/read", true, true;
    /// Completes an argument.
    Complete = "completion/complete", true, true;
    /// Looks at a task (extension).
    TasksGet = "tasks/get", false, true;
    /// Answers a task's questions (extension).
    TasksUpdate = "tasks/update", false, true;
    /// Cancels a task (extension).
    TasksCancel = "tasks/cancel", false, true;
    /// Legacy: the client is ready.
    Initialized = "notifications/initialized", true, false;
    /// The client no longer wants an answer.
    Cancelled = "notifications/cancelled", true, true;
    /// Progress of something a server asked the client to do.
    Progress = "notifications/progress", true, true;
    /// Legacy: the client's roots changed.
    RootsChanged = "notifications/roots/list_changed", true, false;
}
