//! Answers that are none.

use serde_json::Value;
use testkit::raw::{Canned, Script, Seen};

use crate::rig::{Rig, legacy, modern, server};

/// Calls the tool in both eras; each gets one failed call, and the next call is served.
async fn fails(
    what: &str,
    wrong: impl Fn(&Seen) -> Script + Send + Sync + Clone + 'static,
) -> Vec<Value> {
    let mut errors = Vec::new();
    for offer in [legacy(), modern()] {
        let is_modern = offer.modern;
        let wrong = wrong.clone();
        let server = server(offer, move |seen| {
            if seen.json()["params"]["arguments"]["well"] == true {
                return Script::json(seen.result(r#"{"resultType":"complete","content":[]}"#));
            }
            wrong(seen)
        })
        .await;
        let rig = Rig::before(&server).await;
        let session = if is_modern {
            None
        } else {
            Some(rig.session().await)
        };
        let call = |params: &str| match &session {
            Some(session) => session.request("\"c\"", "tools/call", params),
            None => testkit::http::modern(&rig.url(), "\"c\"", "tools/call", params)
                .header("Mcp-Name", "echo"),
        };
        let mut reply = call(r#"{"name":"echo"}"#).send().await.unwrap();
        let error = reply
            .answer()
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(error["id"], "c", "{what}: {error}");
        assert!(error["error"]["code"].is_i64(), "{what}: {error}");
        assert!(error.get("result").is_none(), "{what}: {error}");
        let mut well = call(r#"{"name":"echo","arguments":{"well":true}}"#)
            .send()
            .await
            .unwrap();
        assert!(
            well.answer().await.unwrap()["result"].is_object(),
            "{what}: the next call"
        );
        // 404 in a legacy session means that the session is lost: then nothing was done, and it is said again once.
        let sent = if what == "404" && !is_modern { 3 } else { 2 };
        assert_eq!(
            server.requests_of("tools/call").len(),
            sent,
            "{what}: nothing is sent twice"
        );
        errors.push(error);
    }
    errors
}

fn names_the_server(errors: &[Value], what: &str) {
    for error in errors {
        let text = error["error"]["message"].as_str().unwrap();
        assert!(
            text.contains("`") && text.contains("main/a") | text.contains("a`"),
            "{what}: {text}"
        );
        assert_eq!(error["error"]["code"], -32603, "{what}: {error}");
    }
}

#[tokio::test]
async fn what_is_not_mcp_is_one_failed_call() {
    let json = |body: &'static str| Script::json(body);
    let wrong: [(&str, Script); 16] = [
        ("an empty body", json("")),
        ("no JSON", json("<html>")),
        ("truncated JSON", json(r#"{"jsonrpc":"2.0","id":"#)),
        (
            "JSON and more",
            json(r#"{"jsonrpc":"2.0","id":1,"result":{}} trailing"#),
        ),
        ("not a message", json(r#"[1,2]"#)),
        ("no id", json(r#"{"jsonrpc":"2.0","result":{}}"#)),
        (
            "wrong id",
            json(r#"{"jsonrpc":"2.0","id":999999,"result":{"content":[]}}"#),
        ),
        (
            "id of another type",
            json(r#"{"jsonrpc":"2.0","id":"1","result":{"content":[]}}"#),
        ),
        (
            "wrong type",
            Script::answer(200, &[("content-type", "text/html")], "<p>hello</p>"),
        ),
        ("no type", Script::answer(200, &[], "{}")),
        ("202", Script::accepted()),
        ("204", Script::status(204)),
        (
            "garbage events",
            Script::sse().chunk("data: <garbage>\n\n").end(),
        ),
        (
            "bytes for events",
            Script::sse()
                .chunk(&b"\xff\xfe\x00data:\x01\n\n\n"[..])
                .end(),
        ),
        ("no events", Script::sse().end()),
        (
            "foreign events",
            Script::sse()
                .event(r#"{"jsonrpc":"2.0","id":424242,"result":{}}"#)
                .end(),
        ),
    ];
    for (what, script) in wrong {
        let errors = fails(what, move |_| script.clone()).await;
        names_the_server(&errors, what);
    }
}

#[tokio::test]
async fn ids_that_come_twice_or_spelled_otherwise_are_no_answer() {
    let doubled = |seen: &Seen| {
        Script::json(format!(
            r#"{{"jsonrpc":"2.0","id":{0},"id":{0},"result":{{}}}}"#,
            seen.rpc_id().unwrap()
        ))
    };
    names_the_server(&fails("doubled id", doubled).await, "doubled id");
    let fraction = |seen: &Seen| {
        Script::json(format!(
            r#"{{"jsonrpc":"2.0","id":{}.0,"result":{{}}}}"#,
            seen.rpc_id().unwrap()
        ))
    };
    names_the_server(&fails("fraction", fraction).await, "fraction");
}

#[tokio::test]
async fn statuses_that_mean_no_are_failed_calls_with_the_status() {
    for status in [400, 401, 403, 404, 405, 408, 413, 429, 500, 502, 503, 504] {
        let what = status.to_string();
        for body in ["", "<html>no</html>", "{}"] {
            let errors = fails(&what, move |_| Script::json_with(status, &[], body)).await;
            for error in &errors {
                let text = error["error"]["message"].as_str().unwrap();
                assert!(text.contains(&what) || status == 404, "{text}");
            }
        }
    }
}

#[tokio::test]
async fn a_huge_error_body_is_cut_short() {
    let errors = fails("huge", |_| {
        Script::answer(500, &[], "x".repeat(8 * 1024 * 1024))
    })
    .await;
    for error in errors {
        assert!(error.to_string().len() < 1000);
    }
}

#[tokio::test]
async fn heads_that_are_no_http_are_failed_calls() {
    let wrong = [
        Script::default().bytes("garbage\r\n\r\n").cut(),
        Script::default()
            .bytes("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}")
            .cut(),
        Script::default()
            .bytes(format!(
                "HTTP/1.1 200 OK\r\nx: {}\r\n\r\n",
                "y".repeat(1 << 20)
            ))
            .cut(),
        Script::default().cut(),
        Script::default().reset(),
        Script::default()
            .bytes(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
            )
            .cut(),
        Script::default()
            .bytes(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
            )
            .half_close(),
    ];
    for script in wrong {
        let what = format!("{script:?}").chars().take(120).collect::<String>();
        let errors = fails(&what, move |_| script.clone()).await;
        names_the_server(&errors, &what);
    }
}

#[tokio::test]
async fn a_second_answer_reaches_nobody() {
    for offer in [legacy(), modern()] {
        let server = server(offer, |seen| {
            let first = seen.result(r#"{"content":[{"type":"text","text":"first"}]}"#);
            let second = seen.result(r#"{"content":[{"type":"text","text":"second"}]}"#);
            Script::sse()
                .event(r#"{"jsonrpc":"2.0","method":"notifications/other"}"#)
                .event(first)
                .event(second)
                .end()
        })
        .await;
        let rig = Rig::before(&server).await;
        let mut texts = Vec::new();
        if offer.modern {
            let mut reply = rig.call("1", "echo").send().await.unwrap();
            texts.push(reply.text().await.unwrap());
        } else {
            let session = rig.session().await;
            texts.push(session.call("1", "echo").await.text().await.unwrap());
            texts.push(session.call("2", "echo").await.text().await.unwrap());
        }
        for text in texts {
            assert_eq!(
                (
                    text.matches("first").count(),
                    text.matches("second").count()
                ),
                (1, 0),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn a_long_answer_that_is_cut_is_a_broken_transfer() {
    let body = |seen: &Seen, length: usize| {
        let text = "x".repeat(length);
        seen.result(&format!(
            r#"{{"resultType":"complete","content":[{{"type":"text","text":"{text}"}}]}}"#
        ))
    };
    type Cut = fn(String) -> Script;
    let cuts: [(&str, Cut); 5] = [
        ("cut", |body| {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            Script::default()
                .bytes(head)
                .bytes(body[..body.len() - 2].to_owned())
                .cut()
        }),
        ("reset", |body| {
            Script::chunked(200, &[("content-type", "application/json")])
                .chunk(body[..body.len() - 2].to_owned())
                .reset()
        }),
        ("chunked, without its end", |body| {
            Script::chunked(200, &[("content-type", "application/json")])
                .chunk(body)
                .cut()
        }),
        ("ended properly, but not whole", |body| {
            Script::chunked(200, &[("content-type", "application/json")])
                .chunk(body[..body.len() - 2].to_owned())
                .end()
        }),
        ("whole, and more", |body| {
            Script::chunked(200, &[("content-type", "application/json")])
                .chunk(body)
                .chunk("{}")
                .end()
        }),
    ];
    for offer in [legacy(), modern()] {
        for length in [100_000, 3_000_000] {
            for (what, cut) in cuts {
                let server = server(offer, move |seen| cut(body(seen, length))).await;
                let rig = Rig::before(&server).await;
                let request = if offer.modern {
                    rig.call("1", "echo")
                } else {
                    rig.session()
                        .await
                        .request("1", "tools/call", r#"{"name":"echo"}"#)
                };
                let got = match request.send().await {
                    Ok(mut reply) => reply.text().await,
                    Err(broken) => Err(broken),
                };
                let message = got
                    .as_deref()
                    .ok()
                    .and_then(|text| serde_json::from_str::<Value>(text).ok());
                let refused = message
                    .as_ref()
                    .is_some_and(|message| message.get("error").is_some());
                assert!(
                    got.is_err() || refused,
                    "{what}: a complete-looking answer of {} bytes",
                    got.unwrap().len()
                );
                assert_eq!(
                    server.requests_of("tools/call").len(),
                    1,
                    "{what}: sent once"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_long_answer_with_a_foreign_id_never_looks_complete() {
    let server = server(modern(), |_| {
        let text = "x".repeat(200_000);
        // The id comes last: most of the answer has been passed on by then.
        Script::json(format!(r#"{{"jsonrpc":"2.0","result":{{"content":[{{"type":"text","text":"{text}"}}]}},"id":4242}}"#))
    })
    .await;
    let rig = Rig::before(&server).await;
    let got = match rig.call("1", "echo").send().await {
        Ok(mut reply) => reply.text().await,
        Err(broken) => Err(broken),
    };
    let message = got
        .as_deref()
        .ok()
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    assert!(message.is_none_or(|message| message.get("error").is_some()));
}

#[tokio::test]
async fn renegotiation_is_between_us_and_the_server() {
    // -32020 and -32022 would make the client renegotiate with us; -32021 is the client's to mend (400).
    for (code, status) in [(-32020, 400), (-32022, 400), (-32020, 200), (-32022, 200)] {
        let server = server(modern(), move |seen| {
            Script::json_with(status, &[], seen.error(code, "no"))
        })
        .await;
        let rig = Rig::before(&server).await;
        let mut reply = rig.call("1", "echo").send().await.unwrap();
        let error = reply.json().await.unwrap();
        assert_eq!(
            (&error["error"]["code"], &error["id"]),
            (&(-32603).into(), &1.into()),
            "{code} {status}: {error}"
        );
    }
    for status in [400, 200] {
        let server = server(modern(), move |seen| {
            let id = seen.rpc_id().unwrap();
            let data = r#"{"requiredCapabilities":{"elicitation":{}}}"#;
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32021,"message":"needs it","data":{data}}}}}"#);
            Script::json_with(status, &[], body)
        })
        .await;
        let rig = Rig::before(&server).await;
        let mut reply = rig.call("\"x\"", "echo").send().await.unwrap();
        let error = reply.json().await.unwrap();
        assert_eq!(
            (reply.status, error["error"]["code"].as_i64()),
            (400, Some(-32021)),
            "{status}: {error}"
        );
        assert_eq!(
            error["error"]["data"]["requiredCapabilities"]["elicitation"],
            serde_json::json!({})
        );
        assert_eq!(error["id"], "x");
    }
    let server = server(modern(), |seen| {
        Script::sse().event(seen.error(-32022, "no")).end()
    })
    .await;
    let rig = Rig::before(&server).await;
    let error = rig
        .call("1", "echo")
        .send()
        .await
        .unwrap()
        .answer()
        .await
        .unwrap();
    assert_eq!(error["error"]["code"], -32603, "{error}");
}

#[tokio::test]
async fn errors_of_a_server_pass_with_their_code_and_data() {
    for offer in [legacy(), modern()] {
        let server = server(offer, |seen| {
            let id = seen.rpc_id().unwrap();
            Script::json(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-31999,"message":"mine","data":{{"n":1.0}}}}}}"#))
        })
        .await;
        let rig = Rig::before(&server).await;
        let mut reply = if offer.modern {
            rig.call("7", "echo").send().await.unwrap()
        } else {
            rig.session().await.call("7", "echo").await
        };
        let text = reply.text().await.unwrap();
        assert!(
            text.contains(r#""error":{"code":-31999,"message":"mine","data":{"n":1.0}}"#),
            "{text}"
        );
        assert!(text.contains(r#""id":7"#), "{text}");
    }
}

#[tokio::test]
async fn lists_of_nonsense_leave_the_other_server_alone() {
    let lists = [
        "nonsense",
        r#"{"tools":7}"#,
        r#"{"tools":[7,null,{}]}"#,
        r#"{"tools":[{"name":7,"inputSchema":{}}]}"#,
        r#"{}"#,
        r#"{"tools":[],"nextCursor":"again"}"#,
    ];
    for list in lists {
        let bad = testkit::raw::RawServer::start(move |seen| {
            if seen.rpc_method().as_deref() == Some("tools/list") {
                return Script::json(seen.result(list));
            }
            testkit::raw::canned(&Canned::default(), seen).unwrap_or_else(Script::accepted)
        })
        .await
        .unwrap();
        let good = server(Canned::default(), |seen| Script::json(seen.result("{}"))).await;
        let rig = Rig::start(&crate::rig::toolset(&[
            ("bad", &bad.url(), ""),
            ("good", &good.url(), ""),
        ]))
        .await;
        let listed = rig.list("tools/list").await;
        let names: Vec<&str> = listed["result"]["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| tool["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["echo"], "{list}: {listed}");
        assert!(
            bad.requests_of("tools/list").len() < 3000,
            "a cursor without end is given up"
        );
    }
}
