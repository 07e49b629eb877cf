//! Who gets in: what a toolset's access says, and what a caller presents.

use std::sync::Arc;

use auth::{ApiKey, KeyDirectory};
use gateway::{Door, Doors, Gateway, Settings};
use store::{KeyRecord, Store};
use testkit::http::{self, Request};
use tokio::task::JoinSet;
use transport::inbound::{Limits, ListenSpec, bind, drain, serve};

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
        let keys = directory(&key).await;
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

async fn directory(key: &ApiKey) -> Arc<KeyDirectory> {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let record = KeyRecord {
        id: "1".to_owned(),
        name: "ada".to_owned(),
        hash: key.hash().0,
        created: 0,
        expires: None,
        revoked: None,
    };
    store.add_key(record, 0).await.unwrap();
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
