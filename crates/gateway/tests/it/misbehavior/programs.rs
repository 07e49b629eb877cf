//! Servers over standard input and output: small shell programs, each with its own bad habit.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use gateway::EraReport;
use serde_json::Value;
use tempfile::TempDir;

use crate::rig::Rig;

/// Stands in for the supervisor: starts what it is asked to, and becomes it.
const SUPERVISOR: &str = "#!/bin/sh\nshift 3\nexec \"$@\"\n";

/// What every program here can say: `answer RESULT`, `fail CODE`, for the request in `$line`.
const WORDS: &str = r#"#!/bin/sh
answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
fail() { printf '{"jsonrpc":"2.0","id":%s,"error":{"code":%s,"message":"no"}}\n' "$id" "$1"; }
handshake() { answer '{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"sh","version":"1"}}'; }
tools() { answer '{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}'; }
id_of() { printf '%s' "$1" | sed -n 's/.*"id":\([0-9][0-9]*\).*/\1/p'; }
method_of() { printf '%s' "$1" | sed -n 's/.*"method":"\([^"]*\)".*/\1/p'; }
while read -r line; do
  id=$(id_of "$line"); method=$(method_of "$line")
  printf '%s\n' "$line" >> "$LOG"
"#;

pub(crate) struct Shell {
    folder: TempDir,
}

impl Shell {
    pub(crate) fn new(body: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        program(&folder.path().join("supervisor"), SUPERVISOR);
        let log = folder.path().join("log");
        std::fs::write(&log, "").unwrap();
        let text = format!("{WORDS}{body}\ndone\n").replace("$LOG", log.to_str().unwrap());
        program(&folder.path().join("server"), &text);
        Self { folder }
    }

    pub(crate) async fn rig(&self, more: &str) -> Rig {
        let server = self.folder.path().join("server");
        let yaml = format!(
            "apiVersion: marque.dev/v1alpha1\nkind: Toolset\nmetadata: {{name: main}}\nspec:\n  servers:\n  - {{name: sh, command: [\"{}\"]{more}}}\n",
            server.display()
        );
        let rig = Rig::starting(&yaml, self.folder.path().join("supervisor")).await;
        rig.until(|report| report.settled).await;
        rig
    }

    /// Every message that any run of the program has read.
    pub(crate) fn heard(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        log.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    pub(crate) async fn hears(&self, method: &str) -> Value {
        let heard = async {
            loop {
                if let Some(found) = self
                    .heard()
                    .into_iter()
                    .find(|message| message["method"] == method)
                {
                    return found;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        testkit::within(method, heard).await.unwrap()
    }
}

fn program(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_server_that_exits_on_the_probe_is_used_by_the_handshake() {
    let shell = Shell::new(
        r#"case "$method" in
           initialize) handshake;;
           tools/list) tools;;
           tools/call) answer '{"content":[]}';;
           server/discover) echo "expected initialize" >&2; exit 1;;
           esac"#,
    );
    let rig = shell.rig("").await;
    let report = rig.gateway.report();
    assert!(
        matches!(report.servers[0].modern, EraReport::NotSpoken { .. }),
        "{report:#?}"
    );
    assert!(
        matches!(report.servers[0].legacy, EraReport::Ready { tools: 1, .. }),
        "{report:#?}"
    );
    assert!(
        rig.session()
            .await
            .call("1", "echo")
            .await
            .answer()
            .await
            .unwrap()["result"]
            .is_object()
    );
}

#[tokio::test]
async fn a_server_that_exits_in_a_call_fails_that_call_and_serves_the_next() {
    let shell = Shell::new(
        r#"case "$method" in
           server/discover) fail -32601;;
           initialize) handshake;;
           tools/list) tools;;
           tools/call) case "$line" in *die*) echo "dying now" >&2; exit 3;; *) answer '{"content":[]}';; esac;;
           esac"#,
    );
    let rig = shell.rig("").await;
    let session = rig.session().await;
    let mut reply = session
        .request(
            "1",
            "tools/call",
            r#"{"name":"echo","arguments":{"die":1}}"#,
        )
        .send()
        .await
        .unwrap();
    let error = reply.answer().await.unwrap();
    let text = error["error"]["message"].as_str().unwrap();
    assert!(
        text.contains("sh`") && !text.contains("dying now"),
        "named, but its own words are for the operator: {text}"
    );
    let calls = shell
        .heard()
        .iter()
        .filter(|message| message["method"] == "tools/call")
        .count();
    assert_eq!(calls, 1, "the call is not sent again");
    assert!(
        session.call("2", "echo").await.answer().await.unwrap()["result"].is_object(),
        "the next call starts it again"
    );
}

#[tokio::test]
async fn garbage_between_messages_is_dropped() {
    let shell = Shell::new(
        r#"case "$method" in
           server/discover) fail -32601;;
           initialize) echo "Server listening on stdio"; handshake;;
           tools/list) echo; echo "{}"; echo '{"jsonrpc":"2.0","id":424242,"result":{}}'; echo '[1]'; tools;;
           tools/call) printf '\377\376garbage\n'; echo '{"jsonrpc":"2.0","id":"x","result":{}}'; answer '{"content":[]}'; answer '{"content":["twice"]}';;
           esac"#,
    );
    let rig = shell.rig("").await;
    let session = rig.session().await;
    for id in ["1", "2", "3"] {
        let answer = session.call(id, "echo").await.answer().await.unwrap();
        assert_eq!(
            (
                answer["id"].to_string().as_str(),
                &answer["result"]["content"]
            ),
            (id, &serde_json::json!([])),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn leaving_a_modern_call_sends_a_cancellation_and_leaving_a_legacy_one_does_not() {
    let shell = Shell::new(
        r#"case "$method" in
           server/discover) answer '{"resultType":"complete","ttlMs":0,"cacheScope":"public","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}';;
           initialize) handshake;;
           tools/list) answer '{"resultType":"complete","ttlMs":0,"cacheScope":"public","tools":[{"name":"echo","inputSchema":{"type":"object"}}]}';;
           esac"#,
    );
    let rig = shell.rig("").await;
    let mut client = testkit::http::socket(&rig.url()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut client, &rig.call("1", "echo").bytes())
        .await
        .unwrap();
    let call = shell.hears("tools/call").await;
    drop(client);
    let cancelled = shell.hears("notifications/cancelled").await;
    assert_eq!(cancelled["params"]["requestId"], call["id"]);

    let session = rig.session().await;
    let mut client = testkit::http::socket(&rig.url()).await.unwrap();
    let request = session.request(
        "\"legacy\"",
        "tools/call",
        r#"{"name":"echo","arguments":{"who":"legacy"}}"#,
    );
    tokio::io::AsyncWriteExt::write_all(&mut client, &request.bytes())
        .await
        .unwrap();
    let legacy_call = async {
        loop {
            let found = shell
                .heard()
                .into_iter()
                .find(|message| message["params"]["arguments"]["who"] == "legacy");
            if let Some(found) = found {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let call = testkit::within("the legacy call", legacy_call)
        .await
        .unwrap();
    drop(client);
    // A later message on the same line proves that nothing was said in between.
    session
        .notify("notifications/roots/list_changed", "{}")
        .await;
    shell.hears("notifications/roots/list_changed").await;
    let about_it = |message: &Value| {
        message["method"] == "notifications/cancelled"
            && message["params"]["requestId"] == call["id"]
    };
    assert!(!shell.heard().iter().any(about_it));
}

#[tokio::test]
async fn a_legacy_cancellation_over_a_pipe_carries_the_servers_id() {
    let shell = Shell::new(
        r#"case "$method" in
           server/discover) fail -32601;;
           initialize) handshake;;
           tools/list) tools;;
           esac"#,
    );
    let rig = shell.rig("").await;
    let session = rig.session().await;
    let cancel = async {
        let call = shell.hears("tools/call").await;
        assert_eq!(
            session
                .notify("notifications/cancelled", r#"{"requestId":"mine"}"#)
                .await,
            202
        );
        let cancelled = shell.hears("notifications/cancelled").await;
        assert_eq!(cancelled["params"]["requestId"], call["id"]);
    };
    let (mut reply, ()) = tokio::join!(session.call("\"mine\"", "echo"), cancel);
    assert_eq!(reply.text().await.unwrap(), "", "nothing more is sent");
}

#[tokio::test]
async fn every_session_has_its_own_process_unless_the_server_is_shared() {
    let body = r#"case "$method" in
           server/discover) fail -32601;;
           initialize) handshake;;
           tools/list) tools;;
           tools/call) answer "{\"content\":[],\"pid\":$$}";;
           esac"#;
    for (more, own) in [("", true), (", isolation: Shared", false)] {
        let shell = Shell::new(body);
        let rig = shell.rig(more).await;
        let (one, other) = (rig.session().await, rig.session().await);
        let pid = async |session: &crate::rig::Session| {
            session.call("1", "echo").await.answer().await.unwrap()["result"]["pid"]
                .as_u64()
                .unwrap()
        };
        let (first, second, again) = (pid(&one).await, pid(&other).await, pid(&one).await);
        assert_eq!(first, again);
        assert_eq!(first != second, own, "{more}");
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_down_with_the_reason() {
    let shell = Shell::new("exit 7");
    let yaml = "apiVersion: marque.dev/v1alpha1\nkind: Toolset\nmetadata: {name: main}\nspec:\n  servers:\n  - {name: gone, command: [no-such-program-anywhere]}\n";
    let rig = Rig::starting(yaml, shell.folder.path().join("supervisor")).await;
    rig.until(|report| report.settled).await;
    let report = rig.gateway.report();
    assert!(
        matches!(&report.servers[0].legacy, EraReport::Down { reason, .. } if reason.contains("no-such-program-anywhere")),
        "{report:#?}"
    );
    assert!(
        matches!(&report.servers[0].modern, EraReport::Down { .. }),
        "{report:#?}"
    );
}

#[tokio::test]
async fn a_program_that_never_speaks_holds_up_nothing() {
    let shell = Shell::new("true");
    let server = shell.folder.path().join("server");
    let yaml = format!(
        "apiVersion: marque.dev/v1alpha1\nkind: Toolset\nmetadata: {{name: main}}\nspec:\n  servers:\n  - {{name: sh, command: [\"{}\"]}}\n",
        server.display()
    );
    let rig = Rig::starting(&yaml, shell.folder.path().join("supervisor")).await;
    shell.hears("server/discover").await;
    shell.hears("initialize").await;
    tokio::time::pause();
    for wait_max in [10, 1] {
        let began = tokio::time::Instant::now();
        let listed = rig.list("tools/list").await;
        assert!(
            listed["result"]["_meta"].to_string().contains("sh"),
            "the list says what it lacks: {listed}"
        );
        assert!(
            began.elapsed().as_secs() < wait_max,
            "{:?}",
            began.elapsed()
        );
    }
}
