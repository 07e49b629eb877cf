//! What holds for every message: bytes outside rewritten paths stay, names and cursors map one to one.

use std::sync::{Arc, Mutex};

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use testkit::http;
use testkit::raw::{Canned, RawServer, Script, canned};

use crate::rig::{Rig, toolset};

/// Cases of one property: enough to meet every kind of value, few enough to stay quick.
const CASES: usize = 60;

/// JSON as text, with the spellings a careless hop would normalize.
fn json() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        Just("1.0".to_owned()),
        Just("-0".to_owned()),
        Just("1e400".to_owned()),
        Just("0.10".to_owned()),
        Just("12345678901234567890123".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
    ];
    let text = prop_oneof![
        Just(r#""\u0061\/\ud83d\ude00""#.to_owned()),
        Just(r#""\uD800""#.to_owned().replace("\\uD800", "\\\\uD800")),
        "\\PC{0,12}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just(r#""uri""#.to_owned()),
        Just(r#""file:///x""#.to_owned()),
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        number,
        text
    ];
    let space = prop_oneof![Just(""), Just(" "), Just("\n\t"), Just("  ")];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let key = prop_oneof![
            Just("id".to_owned()),
            Just("uri".to_owned()),
            Just("result".to_owned()),
            Just("name".to_owned()),
            "[a-zé\\\\]{0,6}".prop_map(|key| key.replace('\\', "\\\\"))
        ];
        let array = (
            proptest::collection::vec(inner.clone(), 0..4),
            space.clone(),
        )
            .prop_map(|(items, space)| {
                format!("[{space}{}{space}]", items.join(&format!(",{space}")))
            });
        let object = (proptest::collection::vec((key, inner), 0..4), space.clone()).prop_map(
            |(members, space)| {
                let members: Vec<String> = members
                    .iter()
                    .map(|(key, value)| format!("\"{key}\"{space}:{space}{value}"))
                    .collect();
                format!("{{{space}{}{space}}}", members.join(","))
            },
        );
        prop_oneof![array, object]
    })
}

fn cases<T>(strategy: &impl Strategy<Value = T>) -> impl Iterator<Item = T> {
    let mut runner = TestRunner::deterministic();
    (0..CASES).map(move |_| strategy.new_tree(&mut runner).unwrap().current())
}

/// A server whose answer to a call is the text put there.
async fn answering(offer: Canned<'static>) -> (RawServer, Arc<Mutex<String>>) {
    let result = Arc::new(Mutex::new(String::new()));
    let says = result.clone();
    let server = RawServer::start(move |seen| {
        canned(&offer, seen).unwrap_or_else(|| Script::json(seen.result(&says.lock().unwrap())))
    });
    (server.await.unwrap(), result)
}

#[tokio::test]
async fn arguments_and_results_pass_byte_for_byte() {
    let (server, says) = answering(Canned::default()).await;
    let rig = Rig::before(&server).await;
    let session = rig.session().await;
    for (arguments, more, result) in cases(&(json(), json(), json())) {
        *says.lock().unwrap() = format!(
            r#"{{"more":{result},"resultType":"complete","content":[{result}],"_meta":{{"x":{result}}}}}"#
        );
        let params = format!(r#"{{"zeta":{more},  "name":"echo","arguments":{arguments}}}"#);
        let modern = http::modern(&rig.url(), 1, "tools/call", &params).header("Mcp-Name", "echo");
        for request in [session.request("1", "tools/call", &params), modern] {
            let text = request.send().await.unwrap().text().await.unwrap();
            assert_eq!(
                text,
                format!(
                    r#"{{"jsonrpc":"2.0","id":1,"result":{}}}"#,
                    says.lock().unwrap()
                ),
                "{params}"
            );
            let sent = server.requests_of("tools/call").pop().unwrap();
            let rest = params.trim_start_matches('{');
            assert!(
                sent.text().ends_with(&format!("{rest}}}")),
                "{params}\n{}",
                sent.text()
            );
        }
    }
}

/// What the eras force to change is listed here, and nothing else does: `_meta` and `resultType`.
#[tokio::test]
async fn arguments_and_results_pass_the_bridge_byte_for_byte() {
    for modern_server in [true, false] {
        let (server, says) = answering(Canned {
            legacy: !modern_server,
            modern: modern_server,
            ..Canned::default()
        })
        .await;
        let rig = Rig::before(&server).await;
        let session = rig.session().await;
        for (arguments, more, result) in cases(&(json(), json(), json())) {
            let own = format!(r#""more":{result},  "content":[{result}]"#);
            let kind = if modern_server {
                r#""resultType":"complete","#
            } else {
                ""
            };
            *says.lock().unwrap() = format!(r#"{{{kind}{own},"_meta":{{"x":{result}}}}}"#);
            let said = format!(r#""zeta":{more},  "name":"echo","arguments":{arguments}"#);
            let request = if modern_server {
                session.request("1", "tools/call", &format!("{{{said}}}"))
            } else {
                let params = format!("{{{said}}}");
                http::modern(&rig.url(), 1, "tools/call", &params).header("Mcp-Name", "echo")
            };
            let text = request.send().await.unwrap().text().await.unwrap();
            let (before, after) = if modern_server {
                (format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{{own},"#), "")
            } else {
                let head = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{{own},"#);
                (head, r#""resultType":"complete""#)
            };
            assert!(text.starts_with(&before), "{text}");
            assert!(
                text.contains(&format!(r#""_meta":{{"x":{result}}}"#)),
                "{text}"
            );
            assert!(text.contains(after), "{text}");
            assert_eq!(text.contains("resultType"), !modern_server, "{text}");
            let sent = server.requests_of("tools/call").pop().unwrap();
            assert!(sent.text().contains(&said), "{said}\n{}", sent.text());
        }
    }
}

#[tokio::test]
async fn long_results_pass_byte_for_byte_however_they_are_cut() {
    let result = Arc::new(Mutex::new((String::new(), 1)));
    let says = result.clone();
    let server = RawServer::start(move |seen| {
        canned(&Canned::default(), seen).unwrap_or_else(|| {
            let (result, piece) = &*says.lock().unwrap();
            let body = seen.result(result).into_bytes();
            let head = Script::chunked(200, &[("content-type", "application/json")]);
            body.chunks(*piece)
                .fold(head, |script, piece| script.chunk(piece.to_vec()))
                .end()
        })
    })
    .await
    .unwrap();
    let rig = Rig::start(&toolset(&[
        ("a", &server.url(), ""),
        ("b", &server.url(), "prefix: b_"),
    ]))
    .await;
    for (value, piece) in cases(&(json(), 1000_usize..200_000)).take(12) {
        let items: Vec<String> = std::iter::repeat_n(value, 100_000)
            .scan(0, |length, value| {
                *length += value.len() + 1;
                (*length < 300_000).then_some(value)
            })
            .collect();
        let filler = "x".repeat(100_000);
        *result.lock().unwrap() = (
            format!(r#"{{"other":[{}],"filler":"{filler}"}}"#, items.join(",")),
            piece,
        );
        let text = rig
            .call("\"q\"", "echo")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let expected = format!(
            r#"{{"jsonrpc":"2.0","id":"q","result":{}}}"#,
            result.lock().unwrap().0
        );
        assert!(text == expected, "pieces of {piece}");
    }
}

#[tokio::test]
async fn names_map_one_to_one_and_lead_back() {
    let name = prop_oneof![
        "[a-zA-Z0-9_.-]{1,12}",
        "\\PC{1,8}",
        "[a-z]{60,90}",
        Just("a__b".to_owned())
    ];
    let mut own: Vec<String> = cases(&name).collect();
    own.sort();
    own.dedup();
    let tools: Vec<String> = own
        .iter()
        .map(|name| {
            format!(
                r#"{{"name":{},"inputSchema":{{"type":"object"}}}}"#,
                serde_json::to_string(name).unwrap()
            )
        })
        .collect();
    let tools: &'static str = Box::leak(format!("[{}]", tools.join(",")).into_boxed_str());
    let offer = Canned {
        tools,
        ..Canned::default()
    };
    let (server, says) = answering(offer).await;
    *says.lock().unwrap() = "{}".to_owned();
    let yaml = toolset(&[("a", &server.url(), ""), ("b", &server.url(), "prefix: b_")]);
    let rig = Rig::start(&yaml).await;
    let mut shown = Vec::new();
    let mut cursor = None;
    loop {
        let params = cursor.map_or_else(
            || "{}".to_owned(),
            |cursor: serde_json::Value| format!(r#"{{"cursor":{cursor}}}"#),
        );
        let page = http::modern(&rig.url(), 1, "tools/list", &params)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        shown.extend(
            page["result"]["tools"]
                .as_array()
                .unwrap()
                .iter()
                .map(|tool| tool["name"].as_str().unwrap().to_owned()),
        );
        cursor = page["result"].get("nextCursor").cloned();
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(shown.len(), 2 * own.len(), "nothing is lost");
    let mut distinct = shown.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), shown.len(), "no two are the same");
    for (at, name) in shown.iter().enumerate() {
        assert!(
            name.len() <= 64
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)),
            "{name}"
        );
        rig.call("1", name)
            .send()
            .await
            .unwrap()
            .answer()
            .await
            .unwrap();
        let sent = server.requests_of("tools/call").pop().unwrap();
        assert_eq!(sent.json()["params"]["name"], own_of(tools, at), "{name}");
    }
    let again = Rig::start(&yaml).await;
    assert_eq!(
        again.list("tools/list").await["result"]["tools"][0]["name"],
        shown[0],
        "the same after a restart"
    );
}

/// The name at a place of the merged list: both servers list the same.
fn own_of(tools: &str, at: usize) -> String {
    let tools: Vec<serde_json::Value> = serde_json::from_str(tools).unwrap();
    tools[at % tools.len()]["name"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_cursor_leads_to_its_own_page_and_no_other() {
    let tools: Vec<String> = (0..2300)
        .map(|at| format!(r#"{{"name":"t{at:04}","inputSchema":{{"type":"object"}}}}"#))
        .collect();
    let tools: &'static str = Box::leak(format!("[{}]", tools.join(",")).into_boxed_str());
    let (server, _says) = answering(Canned {
        tools,
        ..Canned::default()
    })
    .await;
    let rig = Rig::before(&server).await;
    let page = async |cursor: Option<&str>| {
        let params = cursor.map_or_else(
            || "{}".to_owned(),
            |cursor| serde_json::json!({"cursor": cursor}).to_string(),
        );
        http::modern(&rig.url(), 1, "tools/list", &params)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    };
    let (mut names, mut cursors, mut next) = (Vec::new(), Vec::new(), None);
    loop {
        let found = page(next.as_deref()).await;
        names.extend(
            found["result"]["tools"]
                .as_array()
                .unwrap()
                .iter()
                .map(|tool| tool["name"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = found["result"]["nextCursor"].as_str() else {
            break;
        };
        cursors.push(cursor.to_owned());
        next = Some(cursor.to_owned());
    }
    assert_eq!(
        names,
        (0..2300).map(|at| format!("t{at:04}")).collect::<Vec<_>>()
    );
    assert!(!cursors.is_empty(), "a list of 2300 has pages");
    let first = page(Some(&cursors[0])).await;
    assert_eq!(
        page(Some(&cursors[0])).await,
        first,
        "a cursor may be used again"
    );
    for forged in [
        "",
        "x",
        &format!("{}x", cursors[0]),
        &cursors[0][1..],
        &cursors[0].to_uppercase(),
        "🙂",
    ] {
        let error = page(Some(forged)).await;
        assert!(
            error["error"]["code"] == -32602 || forged == cursors[0],
            "{forged:?}: {error}"
        );
    }
}
