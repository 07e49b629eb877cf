//! API keys from the command line to the door: made, used, expired, revoked.

use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::http::{self, Request};
use testkit::postgres::Postgres;

use crate::program::{Ran, run, run_with};
use crate::up::{Folder, Up, toolset};

/// Within this time every running program knows of a new, expired or revoked key.
const KNOWN_WAIT: Duration = Duration::from_secs(2);
/// What the machine may take beside it.
const SLACK: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A store of its own for one test.
struct Place {
    folder: tempfile::TempDir,
    url: String,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("keys.db").display());
        Self { folder, url }
    }

    fn on_postgres() -> Self {
        let url = Postgres::shared().and_then(Postgres::database);
        Self {
            folder: tempfile::tempdir().unwrap(),
            url: url.unwrap_or_else(|error| panic!("{error:#}")),
        }
    }

    fn keys(&self, arguments: &[&str]) -> Ran {
        run(&[&["keys"], arguments, &["--store", &self.url]].concat())
    }

    /// Makes a key, and gives it.
    fn add(&self, arguments: &[&str]) -> String {
        let ran = self.keys(&[&["add"], arguments].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        let key = ran.stdout.trim().to_owned();
        assert!(
            key.starts_with("mk_") && !ran.stderr.contains(&key),
            "{ran:?}"
        );
        key
    }

    async fn up(&self, access: &str) -> (Folder, Up) {
        let folder = Folder::new();
        let access = format!("  access: {access}\n");
        let server = "name: time, command: [marque, sample, time]";
        folder.write("main.yaml", &toolset(&access, &[server]));
        let up = Up::ready(&folder, &["--store", &self.url]).await;
        (folder, up)
    }
}

fn with(request: Request, key: &str) -> Request {
    request.header("Authorization", &format!("Bearer {key}"))
}

/// A modern call that needs nothing but to be let in.
fn call(up: &Up) -> Request {
    up.call("now", r#"{"zone":"UTC"}"#)
}

/// The status of an answer, and its challenge.
async fn answered(request: Request) -> (u16, Option<String>) {
    let reply = request.send().await.unwrap();
    let challenge = reply.header("www-authenticate").map(str::to_owned);
    (reply.status, challenge)
}

fn challenge(text: &str) -> (u16, Option<String>) {
    (401, Some(text.to_owned()))
}

fn invalid() -> (u16, Option<String>) {
    challenge("Bearer error=\"invalid_token\"")
}

/// Waits until a request is answered with this status, as long as that may take.
async fn becomes(status: u16, request: impl Fn() -> Request) {
    let end = Instant::now() + KNOWN_WAIT + SLACK;
    loop {
        let (found, _) = answered(request()).await;
        if found == status {
            return;
        }
        assert!(Instant::now() < end, "still {found}, expected {status}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn a_key_opens_the_door_until_it_is_revoked(place: Place) {
    let early = place.add(&["early"]);
    let (_folder, up) = place.up("Authenticated").await;
    let (_other_folder, other) = place.up("Authenticated").await;
    for up in [&up, &other] {
        assert_eq!(answered(call(up)).await, challenge("Bearer"));
        assert_eq!(answered(with(call(up), &early)).await, (200, None));
        let unknown = format!("mk_{}", "A".repeat(43));
        assert_eq!(answered(with(call(up), &unknown)).await, invalid());
    }
    let late = place.add(&["late"]);
    becomes(200, || with(call(&up), &late)).await;
    let revoked = place.keys(&["revoke", "early"]);
    assert_eq!(revoked.code, 0, "{revoked:?}");
    for up in [&up, &other] {
        becomes(401, || with(call(up), &early)).await;
        becomes(200, || with(call(up), &late)).await;
    }
    let shown = [up.log(), other.log()].concat().concat();
    assert!(!shown.contains("mk_"), "no key is in a log");
}

#[tokio::test]
async fn a_key_in_sqlite_opens_the_door_until_it_is_revoked() {
    a_key_opens_the_door_until_it_is_revoked(Place::new()).await;
}

#[tokio::test]
async fn a_key_in_postgres_opens_the_door_until_it_is_revoked() {
    if Postgres::is_here() {
        a_key_opens_the_door_until_it_is_revoked(Place::on_postgres()).await;
    }
}

#[tokio::test]
async fn an_expired_key_is_refused() {
    let place = Place::new();
    let (short, long) = (
        place.add(&["short", "--expires", "3s"]),
        place.add(&["long", "--expires", "90d"]),
    );
    let (_folder, up) = place.up("Authenticated").await;
    becomes(401, || with(call(&up), &short)).await;
    assert_eq!(answered(with(call(&up), &long)).await, (200, None));
}

#[tokio::test]
async fn a_wrong_key_is_refused_even_where_nobody_needs_one() {
    let place = Place::new();
    let key = place.add(&["ada"]);
    let (_folder, up) = place.up("Anonymous").await;
    assert_eq!(answered(call(&up)).await, (200, None));
    assert_eq!(answered(with(call(&up), &key)).await, (200, None));
    for wrong in ["mk_", "nothing", &key[..key.len() - 1], &format!("{key}A")] {
        assert_eq!(answered(with(call(&up), wrong)).await, invalid(), "{wrong}");
    }
    let basic = call(&up).header("Authorization", "Basic YWRhOnNlc2FtZQ==");
    assert_eq!(answered(basic).await, invalid());
    let twice = with(with(call(&up), &key), &key);
    assert_eq!(answered(twice).await.0, 400);
}

#[tokio::test]
async fn a_key_in_the_address_is_no_key() {
    let place = Place::new();
    let key = place.add(&["ada"]);
    let (_folder, up) = place.up("Authenticated").await;
    for query in ["access_token", "key", "authorization"] {
        let url = format!("{}?{query}={key}", up.url());
        let request = http::modern(&url, 1, "tools/list", "{}");
        assert_eq!(answered(request).await, challenge("Bearer"), "{query}");
    }
}

#[tokio::test]
async fn every_way_in_asks_for_the_key() {
    let place = Place::new();
    let key = place.add(&["ada"]);
    let (_folder, up) = place.up("Authenticated").await;
    let events = |url: &str| {
        http::get(url)
            .unwrap()
            .header("Accept", "text/event-stream")
    };
    let older = format!("{}/sse", up.url());
    let posts = format!("{}/messages?session=x", up.url());
    let ways = || {
        [
            http::modern(&up.url(), 1, "tools/list", "{}"),
            http::modern(&up.url(), 1, "server/discover", "{}"),
            http::legacy(&up.url(), 1, "initialize", "{}"),
            http::legacy(&up.url(), 1, "tools/list", "{}").header("Mcp-Session-Id", "x"),
            http::notification(&up.url(), "notifications/initialized", "{}"),
            http::post(&up.url(), "[]").unwrap(),
            http::post(&up.url(), "no message").unwrap(),
            events(&up.url()),
            events(&up.url()).header("Mcp-Session-Id", "x"),
            events(&older),
            http::post(&posts, "{}").unwrap(),
            http::delete(&up.url())
                .unwrap()
                .header("Mcp-Session-Id", "x"),
        ]
    };
    for (at, way) in ways().into_iter().enumerate() {
        assert_eq!(answered(way).await, challenge("Bearer"), "way {at}");
    }
    for (at, way) in ways().into_iter().enumerate() {
        let (status, _) = answered(with(way, &key)).await;
        assert_ne!(status, 401, "way {at}");
    }
    let asked = "authorization,content-type";
    let preflight = Request::new("OPTIONS", &up.url())
        .unwrap()
        .header("Origin", "http://localhost:6274")
        .header("Access-Control-Request-Headers", asked);
    let reply = preflight.send().await.unwrap();
    assert_eq!(reply.status, 204, "browsers send no key with it");
    assert_eq!(reply.header("access-control-allow-headers"), Some(asked));
}

#[tokio::test]
async fn a_session_is_its_callers() {
    let place = Place::new();
    let (ada, grace) = (place.add(&["ada"]), place.add(&["grace"]));
    let (_folder, up) = place.up("Anonymous").await;
    let params = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"it","version":"1"}}"#;
    let opens = http::legacy(&up.url(), 0, "initialize", params);
    let reply = with(opens, &ada).send().await.unwrap();
    let session = reply.header("mcp-session-id").unwrap().to_owned();
    let list = || up.legacy(&session, "tools/list", "{}");
    let stream = || {
        http::get(&up.url())
            .unwrap()
            .header("Accept", "text/event-stream")
            .header("Mcp-Session-Id", &session)
    };
    let delete = || {
        http::delete(&up.url())
            .unwrap()
            .header("Mcp-Session-Id", &session)
    };
    for other in [list(), stream(), delete()] {
        assert_eq!(answered(other).await.0, 404, "nobody's");
    }
    for other in [list(), stream(), delete()] {
        assert_eq!(answered(with(other, &grace)).await.0, 404, "another's");
    }
    assert_eq!(answered(with(list(), &ada)).await.0, 200);
    assert_eq!(answered(with(delete(), &ada)).await.0, 200);
}

#[tokio::test]
async fn an_older_stream_is_its_callers() {
    let place = Place::new();
    let (ada, grace) = (place.add(&["ada"]), place.add(&["grace"]));
    let (_folder, up) = place.up("Anonymous").await;
    let older = format!("{}/sse", up.url());
    let opens = http::get(&older).unwrap();
    let mut stream = with(opens.header("Accept", "text/event-stream"), &ada)
        .send()
        .await
        .unwrap();
    let endpoint = stream.event().await.unwrap().unwrap().data;
    let base = up.url();
    let base = base.strip_suffix("/mcp/main").unwrap();
    let post = || {
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        http::post(&format!("{base}{endpoint}"), ping).unwrap()
    };
    assert_eq!(answered(post()).await.0, 404);
    assert_eq!(answered(with(post(), &grace)).await.0, 404);
    assert_eq!(answered(with(post(), &ada)).await.0, 202);
}

#[tokio::test]
async fn a_revoked_key_loses_its_streams() {
    let place = Place::new();
    let (ada, grace) = (place.add(&["ada"]), place.add(&["grace"]));
    let (_folder, up) = place.up("Authenticated").await;
    let older = || {
        let url = format!("{}/sse", up.url());
        let request = http::get(&url).unwrap();
        request.header("Accept", "text/event-stream")
    };
    let mut lost = with(older(), &ada).send().await.unwrap();
    let mut kept = with(older(), &grace).send().await.unwrap();
    for stream in [&mut lost, &mut kept] {
        let first = stream.event().await.unwrap().unwrap();
        assert_eq!(first.name, "endpoint");
    }
    assert_eq!(place.keys(&["revoke", "ada"]).code, 0);
    let end = tokio::time::timeout(KNOWN_WAIT + SLACK, lost.event()).await;
    assert!(end.unwrap().unwrap().is_none(), "it ends, properly");
    let next = tokio::time::timeout(Duration::from_millis(100), kept.event()).await;
    assert!(next.is_err(), "another's stays open");
}

#[test]
fn keys_are_listed_without_themselves() {
    let place = Place::new();
    let empty = place.keys(&["list"]);
    assert_eq!((empty.code, empty.stdout.as_str()), (0, ""));
    assert!(empty.stderr.contains("marque keys add NAME"), "{empty:?}");
    let key = place.add(&["ada", "--expires", "90d"]);
    place.add(&["grace"]);
    place.keys(&["revoke", "grace"]);
    let table = place.keys(&["list"]).stdout;
    assert!(table.starts_with("NAME   STATE    CREATED"), "{table}");
    let json = place.keys(&["list", "--format", "json"]).stdout;
    let all: Value = serde_json::from_str(&json).unwrap();
    let states: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|key| (&key["name"], &key["state"]))
        .collect();
    assert_eq!(
        states,
        [
            (&"ada".into(), &"active".into()),
            (&Value::from("grace"), &Value::from("revoked"))
        ]
    );
    assert!(!table.contains("mk_") && !json.contains("mk_"));
    let mut files = Vec::new();
    for file in std::fs::read_dir(place.folder.path()).unwrap() {
        files.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    let stored = files
        .windows(key.len())
        .any(|window| window == key.as_bytes());
    assert!(!stored, "the key itself is kept nowhere");
}

#[test]
fn a_key_is_printed_once_as_text_or_json() {
    let place = Place::new();
    let json = place.keys(&["add", "ada", "--format", "json", "--expires", "1h"]);
    let shown: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (&shown["name"], &shown["state"]),
        (&"ada".into(), &"active".into())
    );
    assert_eq!(shown["key"].as_str().unwrap().len(), 46);
    assert!(shown["expires"].as_str().unwrap().ends_with('Z'), "{shown}");
    let text = place.keys(&["add", "grace"]);
    assert_eq!(text.stdout.lines().count(), 1, "{text:?}");
    assert!(
        text.stderr.contains("valid until it is revoked"),
        "{text:?}"
    );
}

#[test]
fn exit_codes_and_texts_say_what_to_do() {
    let place = Place::new();
    let id = |ran: &Ran| {
        let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
        shown["id"].as_str().unwrap().to_owned()
    };
    let made = id(&place.keys(&["add", "ada", "--format", "json"]));
    let check = |arguments: &[&str], code: i32, text: &str| {
        let ran = place.keys(arguments);
        assert_eq!(ran.code, code, "{arguments:?} {ran:?}");
        assert!(ran.stderr.contains(text), "{arguments:?} {ran:?}");
        assert!(!ran.stderr.contains("mk_A"), "{ran:?}");
    };
    check(&["add", "ada"], 1, "already; revoke it first");
    check(&["add", "a b"], 2, "letters, digits");
    check(&["add", "b", "--expires", "soon"], 2, "such as 90d");
    check(&["revoke", "adaa"], 2, "did you mean `ada`?");
    check(&["revoke", "mk_AAA"], 2, "this is a key");
    check(&["revoke", &made], 0, "is revoked");
    check(&["revoke", &made], 0, "revoked already");
    let run = |arguments: &[&str]| run(&[&["keys"], arguments].concat());
    let nowhere = run(&["list"]);
    assert_eq!(nowhere.code, 2, "{nowhere:?}");
    assert!(nowhere.stderr.contains("--state-dir"), "{nowhere:?}");
    let wrong = run(&["list", "--store", "mysql://db/x"]);
    assert_eq!(wrong.code, 2, "{wrong:?}");
    let missing = run(&["list", "--store", "sqlite:/nonexistent/x.db"]);
    assert_eq!(missing.code, 5, "{missing:?}");
}

#[test]
fn the_state_directory_is_its_owners_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_str().unwrap();
    let ran = run_with(&["keys", "add", "ada"], &[("HOME", home)]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let state = folder.path().join(".local/state/marque");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&state.join("store.db")), 0o600);
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).unwrap();
    let ran = run_with(&["keys", "list"], &[("HOME", home)]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("chmod go-w"), "{ran:?}");
}

#[tokio::test]
async fn a_store_that_was_named_must_open() {
    let folder = Folder::new();
    folder.toolset(&["name: time, command: [marque, sample, time]"]);
    let missing = "sqlite:/nonexistent/x.db";
    let mut up = Up::start(&folder, &["--store", missing]);
    assert_eq!(up.ended().await, Some(1));
    let log = up.log().concat();
    assert!(log.contains(missing), "{log}");
}
