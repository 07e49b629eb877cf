//! Legacy servers over standard input and output behind modern clients: they have one line for everything.

use serde_json::{Value, json};

use super::asking::{CALL, CAN, call, key, request, retry};
use crate::misbehavior::programs::Shell;

const ASKS: &str = r#"case "$method" in
   server/discover) fail -32601;;
   initialize) handshake;;
   tools/list) tools;;
   tools/call) call=$id; echo '{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"name?","requestedSchema":{"type":"object"}}}';;
   *) case "$line" in *'"id":"q"'*) id=$call; answer '{"content":[]}';; esac;;
   esac"#;

/// Every message that answers the question with this id.
fn answers(shell: &Shell, id: &Value) -> Vec<Value> {
    let heard = shell.heard();
    let is_answer = |message: &Value| message["method"].is_null() && message["id"] == *id;
    heard.into_iter().filter(is_answer).collect()
}

async fn hears_answer(shell: &Shell, id: Value) -> Value {
    let heard = async {
        loop {
            if let Some(found) = answers(shell, &id).into_iter().next() {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    testkit::within("an answer", heard).await.unwrap()
}

#[tokio::test]
async fn a_program_asks_and_gets_the_answer_of_the_retry() {
    let shell = Shell::new(ASKS);
    let rig = shell.rig("").await;
    for round in 0..2 {
        let asked = call(&rig, "1", CALL).await;
        assert_eq!(
            asked["result"]["inputRequests"][key(&asked)]["params"]["message"],
            "name?"
        );
        let answer = call(
            &rig,
            "2",
            &retry(&asked, &[(&key(&asked), r#"{"action":"accept"}"#)]),
        )
        .await;
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
        let got = answers(&shell, &json!("q"));
        assert_eq!(got.len(), round + 1);
        assert_eq!(got[round]["result"], json!({"action": "accept"}));
    }
}

#[tokio::test]
async fn a_program_that_asks_a_client_that_can_be_asked_nothing_is_told_so() {
    let shell = Shell::new(ASKS);
    let rig = shell.rig("").await;
    let mut reply = request(&rig, "1", CALL, "{}").send().await.unwrap();
    let answer = reply.answer().await.unwrap();
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    assert!(answers(&shell, &json!("q"))[0]["error"]["code"].is_i64());
}

#[tokio::test]
async fn two_calls_that_wait_at_programs_do_not_mix() {
    let shell = Shell::new(ASKS);
    let rig = shell.rig("").await;
    let (one, two) = tokio::join!(call(&rig, "1", CALL), call(&rig, "2", CALL));
    for (asked, says) in [(&two, "two"), (&one, "one")] {
        let before = answers(&shell, &json!("q")).len();
        let said = format!(r#"{{"says":"{says}"}}"#);
        let answer = call(&rig, "3", &retry(asked, &[(&key(asked), &said)])).await;
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
        let got = answers(&shell, &json!("q"));
        assert_eq!(got.len(), before + 1);
        assert_eq!(got[before]["result"]["says"], says);
    }
}

#[tokio::test]
async fn a_program_that_ends_while_the_call_waits_gives_the_retry_one_clear_error() {
    let shell = Shell::new(
        r#"case "$method" in
           server/discover) fail -32601;;
           initialize) handshake;;
           tools/list) tools;;
           tools/call) echo '{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"name?","requestedSchema":{"type":"object"}}}';;
           *) case "$line" in *'"id":"q"'*) exit 3;; esac;;
           esac"#,
    );
    let rig = shell.rig("").await;
    let asked = call(&rig, "1", CALL).await;
    let answer = call(&rig, "2", &retry(&asked, &[(&key(&asked), "{}")])).await;
    assert_eq!(answer["error"]["code"], -32603, "{answer}");
    let again = call(&rig, "3", &retry(&asked, &[(&key(&asked), "{}")])).await;
    assert_eq!(again["error"]["code"], -32602, "{again}");
    let calls = shell
        .heard()
        .iter()
        .filter(|message| message["method"] == "tools/call")
        .count();
    assert_eq!(calls, 1, "the call is not made again");
}

#[tokio::test]
async fn a_program_learns_that_the_client_did_not_come_back_and_is_used_again() {
    let shell = Shell::new(ASKS);
    let rig = shell.rig("").await;
    call(&rig, "1", CALL).await;
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(640)).await;
    tokio::time::resume();
    let answer = hears_answer(&shell, json!("q")).await;
    assert_eq!(answer["result"], json!({"action": "cancel"}));
    let opened = |shell: &Shell| {
        let heard = shell.heard();
        let is_opening = |message: &&Value| message["method"] == "initialize";
        heard.iter().filter(is_opening).count()
    };
    shell.hears("notifications/cancelled").await;
    let before = opened(&shell);
    let asked = call(&rig, "2", CALL).await;
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    assert_eq!(opened(&shell), before);
}

#[tokio::test]
async fn a_ping_of_a_program_is_answered_whoever_has_its_session() {
    // In a call, while a call waits, and while nobody calls; with clients that can be asked, and with others.
    let shell = Shell::new(
        r#"case "$method" in
           server/discover) fail -32601;;
           initialize) handshake;;
           tools/list) tools;;
           tools/call) answer '{"content":[]}'; printf '{"jsonrpc":"2.0","id":"ping-%s","method":"ping"}\n' "$id";;
           esac"#,
    );
    let rig = shell.rig("").await;
    for meta in [CAN, "{}"] {
        let mut reply = request(&rig, "1", CALL, meta).send().await.unwrap();
        assert!(reply.answer().await.unwrap()["result"].is_object());
    }
    let heard = shell.heard();
    let calls = heard
        .iter()
        .filter(|message| message["method"] == "tools/call");
    for call in calls {
        let answer = hears_answer(&shell, json!(format!("ping-{}", call["id"]))).await;
        assert_eq!(answer["result"], json!({}));
    }
}

#[tokio::test]
async fn log_lines_of_a_program_that_calls_share_reach_nobody_by_guessing() {
    let shell = Shell::new(
        r#"case "$method" in
           server/discover) fail -32601;;
           initialize) answer '{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"logging":{}},"serverInfo":{"name":"sh","version":"1"}}';;
           logging/setLevel) answer '{}';;
           tools/list) tools;;
           tools/call) case "$line" in
             *first*) ;;
             *) echo '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"SECRET of the first"}}'; answer '{"content":[]}';;
             esac;;
           esac"#,
    );
    let rig = shell.rig("").await;
    let meta = r#"{"io.modelcontextprotocol/logLevel":"debug"}"#;
    let first = r#"{"name":"echo","arguments":{"mark":"first"}}"#;
    let mut client = testkit::http::socket(&rig.url()).await.unwrap();
    let bytes = request(&rig, "1", first, meta).bytes();
    tokio::io::AsyncWriteExt::write_all(&mut client, &bytes)
        .await
        .unwrap();
    shell.hears("tools/call").await;
    drop(client);
    shell.hears("notifications/cancelled").await;
    let mut second = request(&rig, "2", CALL, meta).send().await.unwrap();
    let text = second.text().await.unwrap();
    assert!(text.contains(r#""content":[]"#), "{text}");
    assert!(!text.contains("SECRET"), "{text}");
}
