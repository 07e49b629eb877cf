//! Servers as child processes of `marque up`: restarted when they crash, and never left behind.

use rustix::process::{Pid, Signal, kill_process};

use crate::up::{Folder, Up, names, until};

/// A server whose tool is called after how often it was started; it crashes when told to.
const COUNTING: &str = r#"case "$method" in
  server/discover) fail -32601;;
  initialize) handshake;;
  tools/list) tools "run$run";;
  tools/call) case "$line" in *crash*) echo "crashing" >&2; exit 3;; *) answer '{"content":[]}';; esac;;
esac"#;

#[tokio::test]
async fn a_server_that_crashes_is_restarted_and_clients_hear_of_what_changed() {
    let folder = Folder::new();
    let runs = folder.path().join("runs");
    let first = format!(
        "echo $$ >> '{0}'; run=$(wc -l < '{0}' | tr -d ' ')",
        runs.display()
    );
    // Pinned: one process, not one per era.
    let server = format!(
        "{}, isolation: Shared, protocol: \"2025-11-25\"",
        folder.shell("counting", &first, COUNTING)
    );
    folder.toolset(&[&server]);
    let up = Up::ready(&folder, &[]).await;
    let session = up.session().await;
    let listed = || async {
        names(
            &up.legacy(&session, "tools/list", "{}")
                .send()
                .await
                .unwrap()
                .json()
                .await
                .unwrap(),
        )
    };
    assert_eq!(listed().await, ["run1"]);
    let mut stream = up.stream(&session).await;
    let crash = r#"{"name":"run1","arguments":{"crash":true}}"#;
    let error = up
        .legacy(&session, "tools/call", crash)
        .send()
        .await
        .unwrap()
        .answer()
        .await
        .unwrap();
    assert_eq!(error["error"]["code"], -32603, "{error}");
    // An earlier notice may tell of the server's start.
    loop {
        let event = stream.event().await.unwrap().unwrap();
        assert_eq!(event.json()["method"], "notifications/tools/list_changed");
        if listed().await == ["run2"] {
            break;
        }
    }
    let answer = up
        .legacy(&session, "tools/call", r#"{"name":"run2"}"#)
        .send()
        .await
        .unwrap()
        .answer()
        .await
        .unwrap();
    assert!(answer["result"].is_object(), "{answer}");
    assert!(
        up.log().iter().any(|line| line.contains("crashing")),
        "its last words are in the log"
    );
}

#[tokio::test]
async fn a_server_that_crashes_at_once_is_tried_again_ever_more_slowly() {
    let folder = Folder::new();
    let runs = folder.path().join("runs");
    let server = folder.shell(
        "broken",
        &format!("echo run >> '{}'; exit 1", runs.display()),
        "true",
    );
    folder.toolset(&[
        &format!("{server}, protocol: \"2025-11-25\""),
        "name: time, command: [marque, sample, time]",
    ]);
    let up = Up::ready(&folder, &[]).await;
    let count = || {
        std::fs::read_to_string(&runs)
            .unwrap_or_default()
            .lines()
            .count()
    };
    until("three attempts", || count() >= 3).await;
    assert!(count() < 8, "the waits grow: {}", count());
    assert!(
        up.tools().await.contains(&"now".to_owned()),
        "the other server is served"
    );
    let detail = up.detail().await;
    let broken = detail["servers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|server| server["id"].as_str().unwrap().contains("broken"))
        .unwrap();
    assert_eq!(broken["legacy"]["state"], "down", "{broken}");
}

#[tokio::test]
async fn nothing_outlives_a_killed_marque() {
    let folder = Folder::new();
    let lingering = folder.shell(
        "lingering",
        "sh -c 'trap \"\" TERM HUP INT; sleep 1000 & wait' & (setsid sleep 1000 &) ; trap '' TERM HUP",
        r#"case "$method" in server/discover) fail -32601;; initialize) handshake;; tools/list) tools linger;; esac"#,
    );
    let nested = folder.program("nested", r#"sh, -c, "sleep 1000 & wait""#);
    folder.toolset(&[
        &lingering,
        &nested,
        &folder.program("time", "marque, sample, time"),
    ]);
    let mut up = Up::start(&folder, &[]);
    up.says(|line| line.starts_with("http")).await;
    until("the grandchildren", || folder.processes().len() >= 8).await;
    up.signal(Signal::KILL);
    assert_eq!(up.ended().await, None);
    folder.empties().await;
}

#[tokio::test]
async fn a_killed_server_process_takes_its_family_along() {
    let folder = Folder::new();
    let own = folder.path().join("own");
    let server = folder.shell(
        "parent",
        &format!("echo $$ > '{}'; sleep 1000 &", own.display()),
        r#"case "$method" in server/discover) fail -32601;; initialize) handshake;; tools/list) tools one;; esac"#,
    );
    folder.toolset(&[&format!(
        "{server}, isolation: Shared, protocol: \"2025-11-25\""
    )]);
    let up = Up::ready(&folder, &[]).await;
    let before = folder.processes();
    let id: i32 = std::fs::read_to_string(&own)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    kill_process(Pid::from_raw(id).unwrap(), Signal::KILL).unwrap();
    until("the family to end", || {
        folder
            .processes()
            .iter()
            .all(|process| !before.contains(process))
    })
    .await;
    until("a new process", || !folder.processes().is_empty()).await;
    assert_eq!(up.detail().await["ready"], true);
}
