//! The server of time zones.

use serde_json::{Value, json};

use crate::client::{Client, Speech, legacy, modern, speeches};

#[tokio::test]
async fn the_time_is_told_in_every_revision() {
    for speech in speeches() {
        let mut client = Client::of_time(speech).await;
        let now = client.call("now", json!({"zone": "asia/kolkata"})).await;
        assert_eq!(
            now["structuredContent"],
            json!({
                "zone": "Asia/Kolkata",
                "time": "2026-03-02T17:30:00+05:30",
                "offset": "+05:30",
                "abbreviation": "IST",
                "weekday": "Monday",
                "daylightSaving": false,
            })
        );
    }
}

#[tokio::test]
async fn times_are_converted() {
    let mut client = Client::of_time(modern()).await;
    let cases = [
        (
            "09:30",
            "Europe/Berlin",
            "America/New_York",
            "2026-03-02T03:30:00-05:00",
        ),
        (
            "2026-07-01T09:30",
            "Europe/Berlin",
            "UTC",
            "2026-07-01T07:30:00+00:00",
        ),
        (
            "2026-07-01 09:30:15",
            "UTC",
            "Asia/Tokyo",
            "2026-07-01T18:30:15+09:00",
        ),
    ];
    for (time, from, to, expected) in cases {
        let arguments = json!({"time": time, "from": from, "to": to});
        let converted = client.call("convert", arguments).await;
        assert_eq!(
            converted["structuredContent"]["to"]["time"], expected,
            "{time}"
        );
        assert!(converted["structuredContent"]["note"].is_null());
    }
}

#[tokio::test]
async fn a_time_that_the_clocks_skip_or_repeat_is_noted() {
    let mut client = Client::of_time(modern()).await;
    for (time, expected) in [("2026-03-29T02:30", "skip"), ("2026-10-25T02:30", "twice")] {
        let arguments = json!({"time": time, "from": "Europe/Berlin", "to": "UTC"});
        let converted = client.call("convert", arguments).await;
        let note = converted["structuredContent"]["note"].as_str().unwrap();
        assert!(note.contains(expected), "{note}");
    }
}

#[tokio::test]
async fn wrong_zones_and_times_are_explained() {
    let mut client = Client::of_time(modern()).await;
    let cases = [
        (
            json!({"time": "9 o'clock", "from": "UTC", "to": "UTC"}),
            "HH:MM",
        ),
        (
            json!({"time": "09:00", "from": "Europe/Berln", "to": "UTC"}),
            "tool zones",
        ),
        (
            json!({"time": "09:00", "from": "Berlin", "to": "UTC"}),
            "Europe/Berlin",
        ),
        (
            json!({"time": "09:00", "to": "UTC"}),
            "missing field `from`",
        ),
        (
            json!({"time": "09:00", "from": "UTC", "two": "UTC"}),
            "`to`",
        ),
    ];
    for (arguments, expected) in cases {
        let answer = client.call("convert", arguments).await;
        assert_eq!(answer["isError"], true);
        let text = answer["content"][0]["text"].as_str().unwrap();
        assert!(text.contains(expected), "{text}");
    }
}

const OPEN_QUESTION: fn() -> Value = || json!({"time": "09:00", "from": "Asia/Tokyo"});

#[tokio::test]
async fn without_a_form_the_target_is_utc() {
    let urls_only = json!({"elicitation": {"url": {}}});
    for speech in speeches().into_iter().chain([Speech::Modern(urls_only)]) {
        let mut client = Client::of_time(speech).await;
        let converted = client.call("convert", OPEN_QUESTION()).await;
        assert_eq!(converted["structuredContent"]["to"]["zone"], "UTC");
    }
}

#[tokio::test]
async fn a_legacy_user_is_asked_while_the_call_waits() {
    let asks = json!({"elicitation": {}});
    let mut client = Client::of_time(Speech::Legacy("2025-06-18", asks)).await;
    let cases = [
        (
            json!({"result": {"action": "accept", "content": {"zone": "Asia/Seoul"}}}),
            "Asia/Seoul",
        ),
        (json!({"result": {"action": "decline"}}), "UTC"),
        (json!({"error": {"code": -32601, "message": "no"}}), "UTC"),
    ];
    for (answer, zone) in cases {
        let call = json!({"name": "convert", "arguments": OPEN_QUESTION()});
        let id = client.start("tools/call", call).await;
        let question = client
            .wait(|message| message["method"] == "elicitation/create")
            .await;
        assert_eq!(
            question["params"]["requestedSchema"]["properties"]["zone"]["type"],
            "string"
        );
        let mut reply = json!({"jsonrpc": "2.0", "id": question["id"]});
        for (field, value) in answer.as_object().unwrap() {
            reply[field] = value.clone();
        }
        client.send(&reply).await;
        let converted = client.response(&id).await;
        assert_eq!(converted["result"]["structuredContent"]["to"]["zone"], zone);
    }
}

#[tokio::test]
async fn a_question_is_taken_back_with_its_call() {
    let asks = json!({"elicitation": {}});
    let mut client = Client::of_time(Speech::Legacy("2025-11-25", asks)).await;
    let call = json!({"name": "convert", "arguments": OPEN_QUESTION()});
    let id = client.start("tools/call", call).await;
    let question = client
        .wait(|message| message["method"] == "elicitation/create")
        .await;
    client
        .tell("notifications/cancelled", json!({"requestId": id}))
        .await;
    let void = client.notification("notifications/cancelled").await;
    assert_eq!(void["requestId"], question["id"]);
    client.ask("ping", json!({})).await;
    assert_eq!(client.close().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_modern_user_is_asked_between_two_calls() {
    let asks = json!({"elicitation": {"form": {}}});
    let mut client = Client::of_time(Speech::Modern(asks)).await;
    let first = client.call("convert", OPEN_QUESTION()).await;
    assert_eq!(first["resultType"], "input_required");
    assert!(first["ttlMs"].is_null());
    let question = &first["inputRequests"]["zone"];
    assert_eq!(question["method"], "elicitation/create");

    let answer = json!({"zone": {"action": "accept", "content": {"zone": "Asia/Seoul"}}});
    let mut again = json!({
        "name": "convert", "arguments": OPEN_QUESTION(),
        "inputResponses": answer, "requestState": first["requestState"],
    });
    let converted = client.ask("tools/call", again.clone()).await;
    assert_eq!(converted["resultType"], "complete");
    assert_eq!(converted["structuredContent"]["to"]["zone"], "Asia/Seoul");

    // The answer to one call is not taken for another.
    again["arguments"]["time"] = "10:00".into();
    let error = client.fail("tools/call", again).await;
    assert_eq!(error["code"], -32602);
}

#[tokio::test]
async fn zones_are_found_by_a_part_of_their_name() {
    let mut client = Client::of_time(modern()).await;
    let found = client.call("zones", json!({"query": "new york"})).await;
    assert_eq!(
        found["structuredContent"]["zones"][0],
        json!({"zone": "America/New_York", "offset": "-05:00"})
    );
    let all = client.call("zones", json!({})).await;
    assert!(all["structuredContent"]["total"].as_u64().unwrap() > 400);
    assert_eq!(
        all["structuredContent"]["zones"].as_array().unwrap().len(),
        100
    );
    let none = client.call("zones", json!({"query": "atlantis"})).await;
    assert_eq!(none["isError"], true);

    let read = client
        .ask("resources/read", json!({"uri": "time://zones"}))
        .await;
    assert!(
        read["contents"][0]["text"]
            .as_str()
            .unwrap()
            .contains("\nEurope/Berlin\n")
    );
    assert_eq!(read["cacheScope"], "public");
    let error = client
        .fail("resources/read", json!({"uri": "time://other"}))
        .await;
    assert_eq!(error["code"], -32602);
}

#[tokio::test]
async fn meeting_hours_suit_all_zones_or_as_many_as_can_be() {
    let mut client = Client::of_time(legacy()).await;
    let zones = json!({"zones": ["Europe/Berlin", "America/New_York"]});
    let found = client.call("meeting_hours", zones).await;
    assert_eq!(
        found["structuredContent"],
        json!({
            "windows": [{
                "start": "2026-03-02T14:00:00+00:00",
                "end": "2026-03-02T16:00:00+00:00",
                "local": [
                    "Europe/Berlin Mon 15:00 – Mon 17:00",
                    "America/New_York Mon 09:00 – Mon 11:00",
                ],
            }],
            "zonesAtWork": 2,
            "everybody": true,
        })
    );
    let zones =
        json!({"zones": ["Europe/Berlin", "America/New_York", "Asia/Tokyo"], "date": "2026-07-01"});
    let found = client.call("meeting_hours", zones).await;
    assert_eq!(found["structuredContent"]["everybody"], false);
    assert_eq!(found["structuredContent"]["zonesAtWork"], 2);
    for wrong in [
        json!({"zones": []}),
        json!({"zones": ["UTC"], "date": "tomorrow"}),
        json!({"zones": ["UTC"], "startHour": 17, "endHour": 9}),
    ] {
        assert_eq!(client.call("meeting_hours", wrong).await["isError"], true);
    }
}

#[tokio::test]
async fn the_prompt_plans_and_completes_the_last_zone() {
    let mut client = Client::of_time(legacy()).await;
    let get =
        json!({"name": "plan_meeting", "arguments": {"zones": "UTC,Asia/Tokyo", "topic": "docks"}});
    let prompt = client.ask("prompts/get", get).await;
    let text = prompt["messages"][0]["content"]["text"].as_str().unwrap();
    assert!(
        text.contains("docks") && text.contains("UTC,Asia/Tokyo"),
        "{text}"
    );
    let ask = json!({
        "ref": {"type": "ref/prompt", "name": "plan_meeting"},
        "argument": {"name": "zones", "value": "UTC,tok"},
    });
    let found = client.ask("completion/complete", ask).await;
    assert_eq!(
        found["completion"]["values"],
        json!([
            "UTC,Asia/Tokyo",
            "UTC,Antarctica/Vostok",
            "UTC,Asia/Vladivostok"
        ])
    );
    let ask = json!({
        "ref": {"type": "ref/prompt", "name": "plan_meeting"},
        "argument": {"name": "zones", "value": ""},
    });
    let found = client.ask("completion/complete", ask).await;
    assert_eq!(found["completion"]["values"].as_array().unwrap().len(), 100);
    assert_eq!(found["completion"]["hasMore"], true);
}
