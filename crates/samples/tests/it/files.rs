//! The server of files.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Client, legacy, modern, speeches};

const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("guide")).unwrap();
    fs::write(
        root.join("handbook.md"),
        "# Handbook\nThe harbor opens at six.\n",
    )
    .unwrap();
    fs::write(root.join("guide/harbor map.md"), "Piers of the Harbor.\n").unwrap();
    fs::write(root.join("logo.png"), [0x89, b'P', 0xff, 0x00]).unwrap();
    fs::write(root.join(".env"), "SECRET=harbor").unwrap();
    folder
}

#[tokio::test]
async fn files_are_listed_read_and_searched_in_every_revision() {
    let folder = folder();
    for speech in speeches() {
        let mut client = Client::of_files(folder.path(), speech.clone()).await;
        let listed = client.call("list_files", json!({})).await;
        let files = listed["structuredContent"]["files"].as_array().unwrap();
        let paths: Vec<&Value> = files.iter().map(|file| &file["path"]).collect();
        assert_eq!(paths, ["guide/harbor map.md", "handbook.md", "logo.png"]);

        let read = client
            .call("read_file", json!({"path": "handbook.md"}))
            .await;
        assert_eq!(read["structuredContent"]["lines"], 2);
        assert_eq!(
            read["structuredContent"]["text"],
            read["content"][0]["text"]
        );

        let found = client.call("search", json!({"query": "HARBOR"})).await;
        assert_eq!(
            found["structuredContent"],
            json!({
                "matches": [
                    {"path": "guide/harbor map.md", "line": 1, "snippet": "Piers of the Harbor."},
                    {"path": "handbook.md", "line": 2, "snippet": "The harbor opens at six."},
                ],
                "filesSearched": 3,
                "truncated": false,
            })
        );
        assert!(found["isError"].is_null());
    }
}

#[tokio::test]
async fn a_glob_narrows_by_name_or_by_path() {
    let folder = folder();
    let mut client = Client::of_files(folder.path(), modern()).await;
    for (glob, total) in [("*.md", 2), ("guide/*", 1), ("**/*.md", 2), ("./x", 0)] {
        let listed = client.call("list_files", json!({"glob": glob})).await;
        assert_eq!(listed["structuredContent"]["total"], total, "{glob}");
    }
    let wrong = client.call("list_files", json!({"glob": "[a"})).await;
    assert_eq!(wrong["isError"], true);
}

#[cfg(unix)]
#[tokio::test]
async fn nothing_outside_the_folder_or_hidden_in_it_is_read() {
    use std::os::unix::fs::symlink;
    let folder = folder();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret.md"), "harbor").unwrap();
    let root = folder.path();
    symlink(outside.path().join("secret.md"), root.join("link.md")).unwrap();
    symlink(outside.path(), root.join("elsewhere")).unwrap();
    symlink(root.join(".env"), root.join("env.md")).unwrap();
    symlink(root.join("handbook.md"), root.join("inside.md")).unwrap();
    let mut client = Client::of_files(root, modern()).await;

    let secret = outside.path().join("secret.md");
    let secret = secret.to_str().unwrap();
    let paths = [
        "link.md",
        "elsewhere/secret.md",
        "env.md",
        ".env",
        "../x",
        "guide/../handbook.md",
        secret,
        "",
        "guide",
        "no\u{0}such",
    ];
    for path in paths {
        let read = client.call("read_file", json!({"path": path})).await;
        assert_eq!(read["isError"], true, "{path}: {read}");
        let uri = format!("docs:///{path}");
        let error = client.fail("resources/read", json!({"uri": uri})).await;
        assert_eq!(error["code"], -32602, "{uri}");
    }
    let error = client
        .fail("resources/read", json!({"uri": "docs:///%2e%2e/x"}))
        .await;
    assert_eq!(error["code"], -32602);
    let inside = client.call("read_file", json!({"path": "inside.md"})).await;
    assert!(inside["isError"].is_null(), "{inside}");
    let found = client.call("search", json!({"query": "harbor"})).await;
    let paths: Vec<&Value> = found["structuredContent"]["matches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| &found["path"])
        .collect();
    assert_eq!(paths, ["guide/harbor map.md", "handbook.md", "inside.md"]);
}

#[tokio::test]
async fn a_large_file_is_refused() {
    let folder = folder();
    fs::write(folder.path().join("large.txt"), vec![b'a'; 1024 * 1024 + 1]).unwrap();
    let mut client = Client::of_files(folder.path(), modern()).await;
    let read = client.call("read_file", json!({"path": "large.txt"})).await;
    assert!(
        read["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("larger than")
    );
}

#[tokio::test]
async fn wrong_arguments_are_the_tools_error_and_unknown_tools_the_protocols() {
    let folder = folder();
    let mut client = Client::of_files(folder.path(), modern()).await;
    let missing = client.call("search", json!({"glob": "*"})).await;
    assert_eq!(missing["isError"], true);
    assert!(
        missing["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("query")
    );
    let error = client.fail("tools/call", json!({"name": "serach"})).await;
    assert_eq!(error["code"], -32602);
}

#[tokio::test]
async fn resources_come_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..205 {
        fs::write(folder.path().join(format!("{number:03} page.md")), "x").unwrap();
    }
    let mut client = Client::of_files(folder.path(), modern()).await;
    let mut uris = Vec::new();
    let mut pages = 0;
    let mut params = json!({});
    loop {
        let page = client.ask("resources/list", params).await;
        assert_eq!(page["cacheScope"], "private");
        uris.extend(
            page["resources"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["uri"].clone()),
        );
        pages += 1;
        match page.get("nextCursor") {
            Some(cursor) => params = json!({"cursor": cursor}),
            None => break,
        }
    }
    assert_eq!((pages, uris.len()), (3, 205));
    assert_eq!(uris[204], "docs:///204%20page.md");
    uris.dedup();
    assert_eq!(uris.len(), 205);
    let error = client
        .fail("resources/list", json!({"cursor": "never"}))
        .await;
    assert_eq!(error["code"], -32602);
}

#[tokio::test]
async fn resources_are_text_or_base64() {
    let folder = folder();
    let mut client = Client::of_files(folder.path(), legacy()).await;
    let uri = "docs:///guide/harbor%20map.md";
    let text = client.ask("resources/read", json!({"uri": uri})).await;
    assert_eq!(
        text["contents"],
        json!([{"uri": uri, "mimeType": "text/markdown", "text": "Piers of the Harbor.\n"}])
    );
    let image = client
        .ask("resources/read", json!({"uri": "docs:///logo.png"}))
        .await;
    assert_eq!(image["contents"][0]["blob"], "iVD/AA==");
    let error = client
        .fail("resources/read", json!({"uri": "docs:///gone.md"}))
        .await;
    assert_eq!(error["code"], -32002);
    let templates = client.ask("resources/templates/list", json!({})).await;
    assert_eq!(
        templates["resourceTemplates"][0]["uriTemplate"],
        "docs:///{+path}"
    );
}

#[tokio::test]
async fn the_prompt_carries_the_file_and_completes_its_path() {
    let folder = folder();
    let mut client = Client::of_files(folder.path(), legacy()).await;
    let get = json!({"name": "summarize_file", "arguments": {"path": "handbook.md"}});
    let prompt = client.ask("prompts/get", get).await;
    assert_eq!(
        prompt["messages"][1]["content"]["resource"]["uri"],
        "docs:///handbook.md"
    );
    let error = client
        .fail("prompts/get", json!({"name": "summarize_file"}))
        .await;
    assert_eq!(error["code"], -32602);

    for reference in [
        json!({"type": "ref/prompt", "name": "summarize_file"}),
        json!({"type": "ref/resource", "uri": "docs:///{+path}"}),
    ] {
        let typed = json!({"name": "path", "value": "ha"});
        let ask = json!({"ref": reference, "argument": typed});
        let found = client.ask("completion/complete", ask).await;
        assert_eq!(
            found["completion"],
            json!({"values": ["handbook.md", "guide/harbor map.md"], "total": 2, "hasMore": false})
        );
    }
    let ask = json!({"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "path", "value": ""}});
    assert_eq!(
        client.fail("completion/complete", ask).await["code"],
        -32602
    );
}

#[tokio::test]
async fn a_search_tells_growing_progress_under_the_token_of_its_request() {
    let folder = folder();
    for speech in [legacy(), modern()] {
        let mut client = Client::of_files(folder.path(), speech).await;
        let call = json!({
            "name": "search", "arguments": {"query": "harbor"}, "_meta": {"progressToken": "t-1"},
        });
        let id = client.start("tools/call", call).await;
        let mut last = 0.0;
        loop {
            let message = client.next().await;
            if message["id"] == id {
                break;
            }
            assert_eq!(message["params"]["progressToken"], "t-1");
            let progress = message["params"]["progress"].as_f64().unwrap();
            assert!(progress > last, "{message}");
            last = progress;
        }
        assert!((last - 3.0).abs() < f64::EPSILON, "the end is always told");
    }
}

#[tokio::test]
async fn a_slow_search_holds_up_nobody_and_can_be_canceled() {
    let folder = tempfile::tempdir().unwrap();
    let text = "nothing to see here\n".repeat(20_000);
    for number in 0..200 {
        fs::write(folder.path().join(format!("{number}.txt")), &text).unwrap();
    }
    let mut client = Client::of_files(folder.path(), legacy()).await;
    let call = json!({
        "name": "search", "arguments": {"query": "needle"}, "_meta": {"progressToken": 7},
    });
    let id = client.start("tools/call", call).await;
    client.notification("notifications/progress").await;
    let ping = client.start("ping", json!({})).await;
    let first = client.wait(|message| !message["id"].is_null()).await;
    assert_eq!(first["id"], ping);
    client
        .tell("notifications/cancelled", json!({"requestId": id}))
        .await;
    let rest = client.close().await;
    assert!(rest.iter().all(|message| message["id"] != id), "{rest:?}");
}

#[tokio::test]
async fn legacy_subscribers_hear_of_changes() {
    let folder = folder();
    let mut client = Client::of_files(folder.path(), legacy()).await;
    let uri = "docs:///handbook.md";
    client.ask("resources/subscribe", json!({"uri": uri})).await;
    fs::write(folder.path().join("handbook.md"), "changed").unwrap();
    let said = client.notification("notifications/resources/updated").await;
    assert_eq!(said, json!({"uri": uri}));

    client.ask("resources/list", json!({})).await;
    client
        .ask("resources/unsubscribe", json!({"uri": uri}))
        .await;
    fs::write(folder.path().join("handbook.md"), "changed once more").unwrap();
    fs::write(folder.path().join("new.md"), "new").unwrap();
    let said = client
        .notification("notifications/resources/list_changed")
        .await;
    assert_eq!(said, json!({}));
    assert_eq!(client.close().await, Vec::<Value>::new());
    let error = Client::of_files(folder.path(), legacy())
        .await
        .fail("resources/subscribe", json!({"uri": "file:///etc/passwd"}))
        .await;
    assert_eq!(error["code"], -32002);
}

#[tokio::test]
async fn modern_listeners_hear_what_they_asked_for_under_their_own_id() {
    let folder = folder();
    let mut client = Client::of_files(folder.path(), modern()).await;
    let uri = "docs:///handbook.md";
    let asked = json!({"notifications": {
        "toolsListChanged": true, "resourceSubscriptions": [uri, "file:///etc/passwd"],
    }});
    let contents = client.start("subscriptions/listen", asked).await;
    let said = client
        .notification("notifications/subscriptions/acknowledged")
        .await;
    assert_eq!(
        said,
        json!({
            "_meta": {SUBSCRIPTION_ID: contents},
            "notifications": {"resourceSubscriptions": [uri]},
        })
    );
    let asked = json!({"notifications": {"resourcesListChanged": true}});
    let list = client.start("subscriptions/listen", asked).await;
    client
        .notification("notifications/subscriptions/acknowledged")
        .await;

    fs::remove_file(folder.path().join("handbook.md")).unwrap();
    let said = client.notification("notifications/resources/updated").await;
    assert_eq!(
        said,
        json!({"_meta": {SUBSCRIPTION_ID: contents}, "uri": uri})
    );
    let said = client
        .notification("notifications/resources/list_changed")
        .await;
    assert_eq!(said, json!({"_meta": {SUBSCRIPTION_ID: list}}));
}

#[tokio::test]
async fn a_missing_folder_is_an_error() {
    let folder = folder();
    let missing = folder.path().join("missing");
    let served = samples::files::serve(&missing, tokio::io::empty(), tokio::io::sink()).await;
    assert!(served.is_err());
}
