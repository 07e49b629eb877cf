//! The gateway behind a real listener on loopback, between scripted servers and a bare client.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use gateway::{Door, Doors, Gateway, Report, Settings};
use resources::{ResourceSet, Values, build, parse};
use serde_json::Value;
use testkit::http::{self, Reply, Request};
use testkit::raw::{Canned, RawServer, Script, Seen, canned};
use tokio::task::JoinSet;
use transport::inbound::{Limits, ListenSpec, bind, drain, serve};

/// How long a stream that should be silent is listened to.
const QUIET: Duration = Duration::from_millis(100);
/// How often a report is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A gateway that serves; it ends with the handle.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) gateway: Arc<Gateway>,
    address: SocketAddr,
    _tasks: JoinSet<()>,
    _trigger: drain::Trigger,
}

/// The set of a YAML text that is right.
pub(crate) fn set(yaml: &str) -> ResourceSet {
    let parsed = parse("test.yaml", None, yaml);
    let built = build(&parsed.documents, Values::default());
    let findings = [parsed.findings, built.findings].concat();
    built.set.unwrap_or_else(|| panic!("{findings:#?}\n{yaml}"))
}

/// A toolset `main` over servers: name, URL, and more members in YAML's short form.
pub(crate) fn toolset(servers: &[(&str, &str, &str)]) -> String {
    let lines = servers.iter().map(|(name, url, more)| {
        let comma = if more.is_empty() { "" } else { ", " };
        format!("  - {{name: {name}, url: \"{url}\"{comma}{more}}}\n")
    });
    let servers: String = lines.collect();
    format!(
        "apiVersion: marque.dev/v1alpha1\nkind: Toolset\nmetadata: {{name: main}}\nspec:\n  servers:\n{servers}"
    )
}

impl Rig {
    /// Serves what `yaml` declares; returns when every server was tried once.
    pub(crate) async fn start(yaml: &str) -> Self {
        let rig = Self::starting(yaml, "/bin/false".into()).await;
        rig.until(|report| report.settled).await;
        rig
    }

    /// The same without waiting, and with a program that supervises children.
    pub(crate) async fn starting(yaml: &str, supervisor: PathBuf) -> Self {
        let gateway = Gateway::start(&set(yaml), Settings::alone(supervisor)).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let bound = bind(&ListenSpec {
            address,
            tls: None,
            listener: 0,
        })
        .await
        .unwrap();
        let address = bound.local_address();
        let (trigger, watch) = drain::channel();
        let doors = Doors::new(gateway.clone(), vec![Door::loopback()]);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(bound, doors, Arc::new(Limits::default()), watch));
        Self {
            gateway,
            address,
            _tasks: tasks,
            _trigger: trigger,
        }
    }

    /// The gateway in front of one scripted server named `a`.
    pub(crate) async fn before(server: &RawServer) -> Self {
        Self::start(&toolset(&[("a", &server.url(), "")])).await
    }

    /// Waits until the report is as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&Report) -> bool) {
        let seen = async {
            while !wanted(&self.now()) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        if testkit::within("a report", seen).await.is_err() {
            panic!("{:#?}", self.gateway.report());
        }
    }

    /// The report with all that servers have said by now.
    pub(crate) fn now(&self) -> Report {
        self.gateway.refresh();
        self.gateway.report()
    }

    /// The URL of the toolset `main`.
    pub(crate) fn url(&self) -> String {
        self.at("/mcp/main")
    }

    /// Any URL of it.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A legacy session of a client that can do everything.
    pub(crate) async fn session(&self) -> Session {
        self.session_of(
            "2025-11-25",
            r#"{"sampling":{},"elicitation":{},"roots":{"listChanged":true}}"#,
        )
        .await
    }

    /// A legacy session.
    pub(crate) async fn session_of(&self, version: &str, capabilities: &str) -> Session {
        let url = self.url();
        let params = format!(
            r#"{{"protocolVersion":"{version}","capabilities":{capabilities},"clientInfo":{{"name":"rig","version":"1"}}}}"#
        );
        let mut reply = http::legacy(&url, "\"open\"", "initialize", &params)
            .send()
            .await
            .unwrap();
        let id = reply.header("mcp-session-id").map(str::to_owned);
        let opening = reply.json().await.unwrap();
        let id = id.unwrap_or_else(|| panic!("no session: {opening}"));
        let session = Session {
            url,
            id,
            version: version.to_owned(),
        };
        assert_eq!(session.notify("notifications/initialized", "{}").await, 202);
        session
    }

    /// A modern `tools/call` of the tool `name`.
    pub(crate) fn call(&self, id: &str, name: &str) -> Request {
        let params = format!(r#"{{"name":"{name}","arguments":{{}}}}"#);
        http::modern(&self.url(), id, "tools/call", &params).header("Mcp-Name", name)
    }

    /// A modern list request, answered.
    pub(crate) async fn list(&self, method: &str) -> Value {
        let mut reply = http::modern(&self.url(), 1, method, "{}")
            .send()
            .await
            .unwrap();
        reply.json().await.unwrap()
    }
}

/// One legacy session of a client.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) url: String,
    pub(crate) id: String,
    pub(crate) version: String,
}

impl Session {
    fn dressed(&self, request: Request) -> Request {
        request
            .header("Mcp-Session-Id", &self.id)
            .header("MCP-Protocol-Version", &self.version)
    }

    /// A request in it.
    pub(crate) fn request(&self, id: &str, method: &str, params: &str) -> Request {
        self.dressed(http::legacy(&self.url, id, method, params))
    }

    /// A `tools/call` of the tool `name`, sent.
    pub(crate) async fn call(&self, id: &str, name: &str) -> Reply {
        let params = format!(r#"{{"name":"{name}","arguments":{{}}}}"#);
        self.request(id, "tools/call", &params)
            .send()
            .await
            .unwrap()
    }

    /// Any body in it, sent.
    pub(crate) async fn post(&self, body: &str) -> Reply {
        self.dressed(http::post(&self.url, body.to_owned()).unwrap())
            .send()
            .await
            .unwrap()
    }

    /// A notification in it; gives the status.
    pub(crate) async fn notify(&self, method: &str, params: &str) -> u16 {
        self.dressed(http::notification(&self.url, method, params))
            .send()
            .await
            .unwrap()
            .status
    }

    /// Its own stream.
    pub(crate) async fn stream(&self) -> Reply {
        let request = http::get(&self.url)
            .unwrap()
            .header("Accept", "text/event-stream");
        let reply = self.dressed(request).send().await.unwrap();
        assert_eq!(reply.status, 200);
        reply
    }

    /// What came after an event of one of its streams.
    pub(crate) async fn after(&self, event: &str) -> Reply {
        let request = http::get(&self.url)
            .unwrap()
            .header("Accept", "text/event-stream")
            .header("Last-Event-ID", event);
        self.dressed(request).send().await.unwrap()
    }

    /// Ends it; gives the status.
    pub(crate) async fn end(&self) -> u16 {
        self.dressed(http::delete(&self.url).unwrap())
            .send()
            .await
            .unwrap()
            .status
    }
}

/// The next message of a stream, but for changes of lists: while servers start, those come when they come.
pub(crate) async fn next(stream: &mut Reply) -> Value {
    loop {
        let event = stream.event().await.unwrap().expect("one more event");
        let message = event.json();
        if !is_list_change(&message) {
            return message;
        }
    }
}

/// Sees that a stream says nothing more for a while.
pub(crate) async fn is_quiet(stream: &mut Reply) {
    let heard = tokio::time::timeout(QUIET, next(stream)).await;
    assert!(heard.is_err(), "{heard:?}");
}

fn is_list_change(message: &Value) -> bool {
    let method = message["method"].as_str();
    method.is_some_and(|method| method.ends_with("/list_changed"))
}

/// A server that answers as `canned` does, and `tools/call` as the test says.
pub(crate) async fn server(
    offer: Canned<'static>,
    call: impl Fn(&Seen) -> Script + Send + Sync + 'static,
) -> RawServer {
    let other = move |seen: &Seen| match seen.rpc_method().as_deref() {
        Some("tools/call") => call(seen),
        Some(method) if !method.starts_with("notifications/") => {
            Script::json_with(400, &[], seen.error(-32601, "no such method"))
        }
        Some(_) | None => Script::accepted(),
    };
    RawServer::start_at(address_of_its_own(), move |seen| {
        canned(&offer, seen).unwrap_or_else(|| other(seen))
    })
    .await
    .unwrap()
}

/// An address whose port nobody else in this program is given while a server is away from it.
pub(crate) fn address_of_its_own() -> SocketAddr {
    static TAKEN: AtomicU16 = AtomicU16::new(1);
    let [high, low] = TAKEN.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    // Linux answers to all of 127.0.0.0/8; elsewhere the port may be lost, rarely.
    let own = if cfg!(target_os = "linux") {
        [127, 77, high, low]
    } else {
        [127, 0, 0, 1]
    };
    SocketAddr::from((own, 0))
}

/// What a server of the handshake eras offers.
pub(crate) fn legacy() -> Canned<'static> {
    Canned {
        modern: false,
        session: Some("own-session"),
        ..Canned::default()
    }
}

/// What a server of the stateless era offers.
pub(crate) fn modern() -> Canned<'static> {
    Canned {
        legacy: false,
        ..Canned::default()
    }
}
