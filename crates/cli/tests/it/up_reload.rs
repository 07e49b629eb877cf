//! The folder changes under a running `marque up`.

use std::collections::BTreeSet;

use crate::up::{Folder, Up, names, toolset};

const TIME: &str = "name: time, command: [marque, sample, time]";

/// Waits until the admin listener says so.
async fn detailed(up: &Up, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    for _ in 0..1000 {
        let detail = up.detail().await;
        if wanted(&detail) {
            return detail;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{:#}", up.detail().await)
}

#[tokio::test]
async fn a_mistake_keeps_the_old_state_serving_and_shows_in_the_detail() {
    let folder = Folder::new();
    folder.toolset(&[TIME]);
    let up = Up::ready(&folder, &[]).await;
    let tools = up.tools().await;
    let mistakes = [
        "nonsense: [",
        &toolset("  nothing: true\n", &[TIME]),
        &toolset("", &[TIME, TIME]),
        &toolset("  access: Policy\n", &[TIME]),
        "apiVersion: marque.dev/v1alpha1\nkind: Toolset\nmetadata: {name: main}\nspec:\n  backendRefs: [{name: nowhere}]\n",
    ];
    for mistake in mistakes {
        folder.write("main.yaml", mistake);
        let detail = detailed(&up, |detail| detail["configuration"]["current"] == false).await;
        assert!(
            !detail["configuration"]["findings"]
                .as_array()
                .unwrap()
                .is_empty(),
            "{mistake}: {detail:#}"
        );
        assert_eq!(detail["ready"], true, "{mistake}");
        assert_eq!(up.tools().await, tools, "{mistake}");
        folder.toolset(&[TIME]);
        detailed(&up, |detail| detail["configuration"]["current"] == true).await;
    }
    assert!(
        up.log()
            .iter()
            .any(|line| line.contains("the old one is still served"))
    );
}

#[tokio::test]
async fn a_change_is_served_told_and_keeps_what_did_not_change() {
    let folder = Folder::new();
    let runs = folder.path().join("runs");
    let body = r#"case "$method" in server/discover) fail -32601;; initialize) handshake;; tools/list) tools kept;; tools/call) answer "{\"content\":[],\"pid\":$$}";; esac"#;
    let kept = folder.shell("kept", &format!("echo run >> '{}'", runs.display()), body);
    folder.toolset(&[&kept]);
    let up = Up::ready(&folder, &[]).await;
    let session = up.session().await;
    let pid = || async {
        up.legacy(&session, "tools/call", r#"{"name":"kept"}"#)
            .send()
            .await
            .unwrap()
            .answer()
            .await
            .unwrap()["result"]["pid"]
            .as_u64()
            .unwrap()
    };
    let before = pid().await;
    let started = std::fs::read_to_string(&runs).unwrap();
    let mut stream = up.stream(&session).await;
    folder.toolset(&[&kept, TIME]);
    // Tools, prompts and resources have come: one notice for each.
    let mut missing = BTreeSet::from(["prompts", "resources", "tools"]);
    while !missing.is_empty() {
        let message = stream.event().await.unwrap().unwrap().json();
        let method = message["method"].as_str().unwrap();
        missing.retain(|list| method != format!("notifications/{list}/list_changed"));
    }
    let listed = names(
        &up.legacy(&session, "tools/list", "{}")
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap(),
    );
    assert_eq!(listed[0], "kept");
    assert!(listed.contains(&"now".to_owned()), "{listed:?}");
    assert_eq!(pid().await, before, "the session's own process lives on");
    assert_eq!(
        std::fs::read_to_string(&runs).unwrap(),
        started,
        "nothing of it was started again"
    );
    // The same once more: nothing that clients see changed, so nothing is said.
    folder.write("comment.yaml", "# nothing\n");
    let quiet = tokio::time::timeout(std::time::Duration::from_millis(1500), stream.event()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test]
async fn with_no_watch_the_first_state_stays() {
    let folder = Folder::new();
    folder.toolset(&[TIME]);
    let up = Up::ready(&folder, &["--no-watch"]).await;
    let tools = up.tools().await;
    folder.write("main.yaml", "nonsense: [");
    tokio::time::sleep(std::time::Duration::from_millis(1000)).await;
    assert_eq!(up.detail().await["configuration"]["current"], true);
    assert_eq!(up.tools().await, tools);
}
