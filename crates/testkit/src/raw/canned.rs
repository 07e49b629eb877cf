//! The boring half of a conversation, answered the same way in every test.

use super::script::Script;
use super::seen::Seen;

/// What a canned server offers.
#[derive(Clone, Copy, Debug)]
pub struct Canned<'a> {
    /// Its name in `serverInfo`.
    pub name: &'a str,
    /// Speaks the handshake eras (`initialize`).
    pub legacy: bool,
    /// Speaks the stateless era (`server/discover`).
    pub modern: bool,
    /// `Mcp-Session-Id` to hand out at `initialize`.
    pub session: Option<&'a str>,
    /// Raw JSON object of capabilities.
    pub capabilities: &'a str,
    /// Raw JSON array of tools.
    pub tools: &'a str,
}

impl Default for Canned<'_> {
    fn default() -> Self {
        Self {
            name: "canned",
            legacy: true,
            modern: true,
            session: None,
            capabilities: r#"{"tools":{"listChanged":true}}"#,
            tools: r#"[{"name":"echo","description":"Says it again.","inputSchema":{"type":"object"}}]"#,
        }
    }
}

/// A tool result that a careless hop would change: long integers, spelled numbers, key order, escapes, white space,
/// unknown members and an unknown kind of content.
pub const ODD_RESULT: &str = r#"{"zeta":1,"content":[{"type":"text","text":"\u00e9\/\ud83d\ude00","note":null},{"type":"hologram","data":[1.0,1e3,-0]}],  "structuredContent":{"b":12345678901234567890123,"a":0.10,"é":[]},"isError":false,"_meta":{"x.example/y":{"deep":[[[]]]}}}"#;

/// Answers `initialize`, `notifications/initialized`, `ping`, `server/discover`, `tools/list`, `GET` and `DELETE` as
/// an honest server of those eras would; `None` for everything else, which is the test's own business.
#[must_use]
pub fn canned(offer: &Canned<'_>, seen: &Seen) -> Option<Script> {
    if &*seen.method != "POST" {
        return Some(Script::status(405));
    }
    let method = seen.rpc_method()?;
    let modern = is_modern(seen);
    if modern && !offer.modern {
        return Some(Script::json_with(
            400,
            &[],
            seen.error(-32600, "bad request: not initialized"),
        ));
    }
    Some(match method.as_str() {
        "initialize" if offer.legacy => initialize(offer, seen),
        "initialize" => {
            Script::json_with(400, &[], seen.error(-32022, "unsupported protocol version"))
        }
        "notifications/initialized" | "notifications/cancelled" => Script::accepted(),
        "ping" if !modern => Script::json(seen.result("{}")),
        "server/discover" => Script::json(seen.result(&discover(offer))),
        "tools/list" if modern => Script::json(seen.result(&format!(
            r#"{{"resultType":"complete","ttlMs":0,"cacheScope":"public","tools":{}}}"#,
            offer.tools
        ))),
        "tools/list" => Script::json(seen.result(&format!(r#"{{"tools":{}}}"#, offer.tools))),
        _ => return None,
    })
}

/// Whether the request claims the stateless era, by header or by `_meta`.
fn is_modern(seen: &Seen) -> bool {
    let version = "io.modelcontextprotocol/protocolVersion";
    seen.header("mcp-protocol-version")
        .is_some_and(|version| version >= "2026-07-28")
        || !seen.json()["params"]["_meta"][version].is_null()
}

fn initialize(offer: &Canned<'_>, seen: &Seen) -> Script {
    let version = &seen.json()["params"]["protocolVersion"];
    let result = format!(
        r#"{{"protocolVersion":{version},"capabilities":{},"serverInfo":{{"name":"{}","version":"1"}}}}"#,
        offer.capabilities, offer.name
    );
    let session: Vec<_> = offer
        .session
        .map(|id| ("mcp-session-id", id))
        .into_iter()
        .collect();
    Script::json_with(200, &session, seen.result(&result))
}

fn discover(offer: &Canned<'_>) -> String {
    let versions = if offer.legacy {
        r#"["2025-11-25","2026-07-28"]"#
    } else {
        r#"["2026-07-28"]"#
    };
    format!(
        r#"{{"resultType":"complete","ttlMs":0,"cacheScope":"public","supportedVersions":{versions},"capabilities":{},"serverInfo":{{"name":"{}","version":"1"}},"_meta":{{"io.modelcontextprotocol/serverInfo":{{"name":"{}","version":"1"}}}}}}"#,
        offer.capabilities, offer.name, offer.name
    )
}
