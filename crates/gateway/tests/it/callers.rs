//! Who gets in: what a toolset's access says, and what a caller presents.

use std::sync::Arc;

use auth::{ApiKey, KeyDirectory};
use gateway::{Door, Doors, Gateway, Settings};
use store::{KeyRecord, Store};
use testkit::http::{self, Request};
use testkit::raw::Script;
use tokio::task::JoinSet;
use transport::inbound::{Limits, ListenSpec, bind, drain, serve};

use crate::rig::{Rig, legacy, server};

/// A gateway without servers, which knows one key.
struct Guarded {
    url: String,
    key: ApiKey,
    _tasks: JoinSet<()>,
    _trigger: drain::Trigger,
}

impl Guarded {
    async fn start(access: &str) -> Self {
        let yaml = format!(
            "apiVersion: marque.dev/v1alpha1\nkind: Toolset\nmetadata: {{name: main}}\nspec:\n{access}  servers:\n  - {{name: a, url: \"http://127.0.0.1:1/mcp\"}}\n"
        );
        let settings = Settings::alone("/bin/false".into());
        let gateway = Gateway::start(&crate::rig::set(&yaml), settings).unwrap();
        let key = ApiKey::new([7; 32]);
        let keys = directory(&[&key]).await;
        let address = ([127, 0, 0, 1], 0).into();
        let spec = ListenSpec {
            address,
            tls: None,
            listener: 0,
        };
        let bound = bind(&spec).await.unwrap();
        let url = format!("http://{}/mcp/main", bound.local_address());
        let (trigger, watch) = drain::channel();
        let doors = Doors::with_keys(gateway, vec![Door::loopback()], keys);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(bound, doors, Arc::new(Limits::default()), watch));
        Self {
            url,
            key,
            _tasks: tasks,
            _trigger: trigger,
        }
    }

    /// The status of a request with, without and with a wrong key.
    async fn statuses(&self, request: impl Fn(&str) -> Request) -> [u16; 3] {
        let with = |key: &str| request(&self.url).header("Authorization", &format!("Bearer {key}"));
        let wrong = ApiKey::new([8; 32]);
        let requests = [
            with(self.key.expose()),
            request(&self.url),
            with(wrong.expose()),
        ];
        let mut statuses = [0; 3];
        for (status, request) in statuses.iter_mut().zip(requests) {
            *status = request.send().await.unwrap().status;
        }
        statuses
    }
}

pub(crate) async fn directory(keys: &[&ApiKey]) -> Arc<KeyDirectory> {
    let store = Store::open("sqlite::memory:").await.unwrap();
    for (number, key) in keys.iter().enumerate() {
        let record = KeyRecord {
            id: number.to_string(),
            name: format!("ada{number}"),
            hash: key.hash().0,
            created: 0,
            expires: None,
            revoked: None,
        };
        store.add_key(record, 0).await.unwrap();
    }
    KeyDirectory::open(&store).await.unwrap()
}

async fn check(access: &str, expected: [u16; 3]) {
    let guarded = Guarded::start(access).await;
    let modern = |url: &str| http::modern(url, 1, "server/discover", "{}");
    let params = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"it","version":"1"}}"#;
    let legacy = |url: &str| http::legacy(url, 1, "initialize", params);
    assert_eq!(guarded.statuses(modern).await, expected, "{access} modern");
    assert_eq!(guarded.statuses(legacy).await, expected, "{access} legacy");
}

#[tokio::test]
async fn a_wrong_key_never_becomes_anonymous() {
    check("", [200, 200, 401]).await;
    check("  access: Anonymous\n", [200, 200, 401]).await;
}

#[tokio::test]
async fn authenticated_wants_a_key() {
    check("  access: Authenticated\n", [200, 401, 401]).await;
}

#[tokio::test]
async fn what_no_rule_allows_is_denied_to_keys_as_well() {
    check("  access: Policy\n", [403, 401, 401]).await;
}

#[tokio::test]
async fn one_callers_streams_are_nothing_to_another() {
    const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"secret"}}"#;
    let server = server(legacy(), |_| Script::sse().event(NOTE).hold()).await;
    let keys = [ApiKey::new([1; 32]), ApiKey::new([2; 32])];
    let rig = Rig::guarding(&server, directory(&[&keys[0], &keys[1]]).await).await;
    let url = rig.url();
    let [ada, eve] = keys
        .each_ref()
        .map(|key| format!("Bearer {}", key.expose()));
    let open = async |caller: &str| {
        let params = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"it","version":"1"}}"#;
        let request = http::legacy(&url, 1, "initialize", params);
        let reply = request.header("Authorization", caller).send().await;
        let id = reply.unwrap().header("mcp-session-id").map(str::to_owned);
        id.unwrap()
    };
    let after = async |caller: &str, session: &str, event: &str| {
        let request = http::get(&url)
            .unwrap()
            .header("Accept", "text/event-stream")
            .header("Authorization", caller)
            .header("Mcp-Session-Id", session)
            .header("Last-Event-ID", event);
        request.send().await.unwrap().status
    };
    let (adas, eves) = (open(&ada).await, open(&eve).await);
    let request = http::legacy(&url, 2, "tools/call", r#"{"name":"echo"}"#)
        .header("Authorization", &ada)
        .header("Mcp-Session-Id", &adas);
    let mut reply = request.send().await.unwrap();
    let event = reply.event().await.unwrap().unwrap().id.unwrap();
    assert_eq!(after(&eve, &adas, &event).await, 404, "not her session");
    assert_eq!(after(&eve, &eves, &event).await, 400, "not her stream");
    assert_eq!(after(&ada, &eves, &event).await, 404);
    assert_eq!(after(&ada, &adas, &event).await, 200);
}
