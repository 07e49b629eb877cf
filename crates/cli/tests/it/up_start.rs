//! What `marque up` says and refuses at its start.

use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::raw::{RawServer, Script};

use crate::program::{Ran, finish, start};
use crate::up::{Folder, Up, toolset};

/// The time within which URLs are printed, whatever servers do.
const URLS_WITHIN: Duration = Duration::from_secs(5);

/// The time within which it must have ended when it cannot serve.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// Runs it to its end, which it must reach by itself, having served nothing.
fn refused(folder: &Folder, more: &[&str]) -> Ran {
    let path = std::env::var("PATH").unwrap_or_default();
    let fixed = ["up", folder.path().to_str().unwrap(), "--admin", "off"];
    let mut child = start(&[&fixed, more].concat(), &[("PATH", &path)]);
    let end = Instant::now() + ENDS_WITHIN;
    while child.try_wait().unwrap().is_none() && Instant::now() < end {
        std::thread::yield_now();
    }
    drop(child.kill());
    let ran = finish(child);
    assert_eq!(ran.stdout, "", "{more:?}: {}", ran.stderr);
    ran
}

#[tokio::test]
async fn urls_come_at_once_even_when_a_server_never_answers() {
    let silent = RawServer::start(|_| Script::never()).await.unwrap();
    let folder = Folder::new();
    folder.toolset(&[
        "name: time, command: [marque, sample, time]",
        &format!("name: silent, url: \"{}\"", silent.url()),
    ]);
    let began = Instant::now();
    let mut up = Up::start(&folder, &[]);
    up.says(|line| line.starts_with("http://127.0.0.1:") && line.ends_with("/mcp/main"))
        .await;
    assert!(began.elapsed() < URLS_WITHIN, "{:?}", began.elapsed());
    up.says(|line| line.contains("silent") && line.contains("starting"))
        .await;
    assert!(
        up.said
            .iter()
            .any(|line| line.contains("time") && line.contains("ready") && line.contains("tools")),
        "{:#?}",
        up.said
    );
    assert!(
        up.said.iter().all(|line| !line.contains('\u{1b}')),
        "plain where no terminal is: {:#?}",
        up.said
    );
    assert!(up.tools().await.contains(&"now".to_owned()));
}

#[tokio::test]
async fn log_lines_are_json_when_asked() {
    let folder = Folder::new();
    folder.toolset(&[
        "name: gone, command: [no-such-program-anywhere]",
        "name: time, command: [marque, sample, time]",
    ]);
    let up = Up::ready(&folder, &[]).await;
    let lines = up.log();
    assert!(!lines.is_empty());
    for line in &lines {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(
            line["level"].is_string() && line["timestamp"].is_string(),
            "{line}"
        );
    }
    assert!(
        lines
            .iter()
            .any(|line| line.contains("no-such-program-anywhere")),
        "{lines:#?}"
    );
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_nothing_is_served() {
    let folder = Folder::new();
    folder.write(
        "main.yaml",
        &toolset("", &["name: a, urll: \"http://127.0.0.1:1/\""]),
    );
    let ran = refused(&folder, &["--listen", "127.0.0.1:0"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("main.yaml:6:") && ran.stderr.contains("url"),
        "{}",
        ran.stderr
    );
}

#[test]
fn exit_codes_tell_wrong_arguments_from_wrong_configurations() {
    let folder = Folder::new();
    folder.toolset(&["name: time, command: [marque, sample, time]"]);
    for wrong in [
        &["--listen", "nowhere"][..],
        &["--log-format", "xml"],
        &["--no-such-flag"],
        &["--toolset", "main"],
        &["--stdio", "--listen", "127.0.0.1:0"],
    ] {
        assert_eq!(refused(&folder, wrong).code, 2, "{wrong:?}");
    }
    assert_eq!(refused(&folder, &["/no/such/folder"]).code, 2);
    assert_eq!(refused(&folder, &["--log", "loud=loud=loud"]).code, 2);
    let ran = refused(&folder, &["--stdio", "--toolset", "other"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("other") && ran.stderr.contains("main"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn a_taken_port_is_named_with_a_way_out() {
    let holder = RawServer::start(|_| Script::never()).await.unwrap();
    let folder = Folder::new();
    folder.toolset(&["name: time, command: [marque, sample, time]"]);
    let address = holder.address().to_string();
    let ran =
        tokio::task::spawn_blocking(move || (refused(&folder, &["--listen", &address]), address))
            .await
            .unwrap();
    let (ran, address) = ran;
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains(&address)
            && ran.stderr.contains("in use")
            && ran.stderr.contains("choose another port"),
        "{}",
        ran.stderr
    );
}

#[test]
fn nobody_gets_in_from_outside_unless_both_said_so() {
    let folder = Folder::new();
    let server = "name: time, command: [marque, sample, time]";
    let outside: [&[&str]; 3] = [
        &["--listen", "0.0.0.0:0"],
        &["--listen", "[::]:0"],
        &[
            "--listen",
            "127.0.0.1:0",
            "--public-url",
            "https://tools.example.org",
        ],
    ];
    for (more, flag) in [
        ("", None),
        ("", Some("--allow-anonymous")),
        ("  access: Anonymous\n", None),
    ] {
        folder.write("main.yaml", &toolset(more, &[server]));
        for listen in outside {
            let ran = refused(&folder, &[listen, flag.as_slice()].concat());
            assert_eq!(ran.code, 1, "{more} {flag:?} {listen:?}");
            assert!(
                ran.stderr.contains("anonymous-exposed")
                    || ran.stderr.contains("--allow-anonymous"),
                "{}",
                ran.stderr
            );
        }
    }
    for access in ["Authenticated", "Policy"] {
        folder.write(
            "main.yaml",
            &toolset(&format!("  access: {access}\n"), &[server]),
        );
        let ran = refused(&folder, &["--listen", "127.0.0.1:0", "--allow-anonymous"]);
        assert_eq!(ran.code, 1, "{access}: nothing fails open");
    }
    let gateway = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: edge}\nspec:\n  gatewayClassName: marque\n  addresses: [{value: 0.0.0.0}]\n  listeners:\n  - {name: http, port: 8080, protocol: HTTP}\n";
    folder.write("main.yaml", &format!("{}{gateway}", toolset("", &[server])));
    let ran = refused(&folder, &[]);
    assert_eq!(
        ran.code, 1,
        "a declared listener is outside as well: {}",
        ran.stderr
    );
}

#[tokio::test]
async fn with_the_toolsets_word_and_the_operators_it_is_served_outside() {
    let folder = Folder::new();
    folder.write(
        "main.yaml",
        &toolset(
            "  access: Anonymous\n",
            &["name: time, command: [marque, sample, time]"],
        ),
    );
    let mut up = Up::start(&folder, &["--listen", "0.0.0.0:0", "--allow-anonymous"]);
    let url = up.says(|line| line.starts_with("http://")).await;
    assert!(url.starts_with("http://localhost:"), "{url}");
    drop(up);
    let mut up = Up::start(
        &folder,
        &[
            "--public-url",
            "https://tools.example.org/x",
            "--allow-anonymous",
        ],
    );
    let url = up.says(|line| line.starts_with("http")).await;
    assert_eq!(url, "https://tools.example.org/x/mcp/main");
}
