//! No text makes it panic, and no text takes long.

use std::time::{Duration, Instant};

use proptest::prelude::{any, prop_assert_eq, proptest};
use proptest::sample::select;
use proptest::test_runner::Config;
use protocol::json::{ObjectEdit, members};
use protocol::json_rpc::ErrorObject;
use protocol::mcp::bridge::{self, LegacyError, Question, Standing, TaskOutcome};
use protocol::mcp::{Method, Version};

use super::{object_with, others, segments};
use crate::json::{CASES, text};

const METHODS: [Method; 4] = [
    Method::ToolsCall,
    Method::PromptsGet,
    Method::ResourcesRead,
    Method::ToolsList,
];

/// One thing to do with a text, by its name; what it gives is an object.
type Way = (&'static str, Box<dyn Fn(&str) -> Option<String>>);

fn way(name: &'static str, way: impl Fn(&str) -> Option<String> + 'static) -> Way {
    (name, Box::new(way))
}

/// Every way to say a text in the other era.
fn ways() -> Vec<Way> {
    let standing = Standing {
        client_info: "{}",
        capabilities: "{}",
        log_level: None,
    };
    let answers = [("a".to_owned(), "1".to_owned())];
    let mut ways = vec![
        way("params_to_modern", move |text| {
            bridge::params_to_modern(text, &standing)
        }),
        way("params_to_legacy", bridge::params_to_legacy),
        way("with_answers", move |text| {
            bridge::with_answers(text, &answers, None)
        }),
        way("brought", |text| {
            drop(bridge::brought(text));
            None
        }),
        way("outcome", |text| {
            drop(bridge::outcome(text));
            None
        }),
        way("question_to_modern", |text| {
            bridge::question_to_modern("elicitation/create", text)
        }),
        way("question_to_legacy", |text| {
            let question = Question::parse(text).ok()?;
            bridge::question_to_legacy(&question, "e")
        }),
        way("sampling_for_version", |text| {
            let said = bridge::sampling_for_version(Version::V2024_11_05, text);
            (said != text).then(|| said.into_owned())
        }),
        way("answer_to_legacy", bridge::answer_to_legacy),
        way("answer_to_modern", bridge::answer_to_modern),
        way("capabilities", |text| {
            Some(bridge::capabilities_to_modern(text))
        }),
        way("task_created_to_modern", bridge::task_created_to_modern),
        way("task_created_to_legacy", bridge::task_created_to_legacy),
        way("task_state_to_modern", |text| {
            bridge::task_state_to_modern(text, &TaskOutcome::Error("{}"))
        }),
        way("task_state_to_legacy", bridge::task_state_to_legacy),
        way("task_notice_to_modern", |text| {
            bridge::task_notice_to_modern(text, &TaskOutcome::None)
        }),
        way("task_notice_to_legacy", bridge::task_notice_to_legacy),
        way("tool_to_legacy", |text| {
            let said = bridge::tool_to_legacy(text);
            (said != text).then(|| said.into_owned())
        }),
        way("tool_to_modern", |text| {
            let said = bridge::tool_to_modern(text);
            (said != text).then(|| said.into_owned())
        }),
    ];
    for method in METHODS {
        ways.push(way("result_to_modern", move |text| {
            bridge::result_to_modern(method, text)
        }));
        for version in [Version::V2024_11_05, Version::V2025_11_25] {
            ways.push(way("result_to_legacy", move |text| {
                bridge::result_to_legacy(method, version, text)
            }));
        }
        ways.push(way("errors", move |text| {
            let error: ErrorObject<'_> = serde_json::from_str(text).ok()?;
            drop(bridge::error_to_modern(method, &error));
            match bridge::error_to_legacy(method, &error) {
                LegacyError::ToolResult(result) => Some(result),
                _ => None,
            }
        }));
    }
    ways
}

fn all(text: &str) {
    for (name, way) in ways() {
        if let Some(said) = way(text) {
            assert!(members(&said).is_ok(), "{name}: {text}\nbecame\n{said}");
        }
    }
}

/// Texts with `count` of the same thing in every place that has things.
fn crowded(count: usize) -> Vec<String> {
    let members = |one: &str| format!("{{{}}}", vec![one; count].join(","));
    let array = |one: &str| format!("[{}]", vec![one; count].join(","));
    let link = r#"{"type":"resource_link","uri":"a"}"#;
    let message = format!("{{\"content\":{link}}}");
    let blocks = format!(
        "{{\"role\":\"user\",\"content\":{}}}",
        array(r#"{"type":"audio"}"#)
    );
    let question = r#""a":{"method":"m"}"#;
    let definition = r##""a":{"$ref":"#/$defs/a"}"##;
    vec![
        members(r#""_meta":{"progressToken":1}"#),
        members("\"inputResponses\":{}"),
        members("\"a\":1"),
        format!("{{\"content\":{}}}", array(link)),
        format!("{{\"messages\":{}}}", array(&message)),
        format!("{{\"messages\":[{blocks}]}}"),
        format!(
            "{{\"code\":-32042,\"data\":{{\"elicitations\":{}}}}}",
            array(r#"{"url":"u"}"#)
        ),
        format!(
            "{{\"code\":-32021,\"data\":{{\"requiredCapabilities\":{}}}}}",
            members("\"a\":1")
        ),
        format!("{{\"tools\":{}}}", array(r#"{"execution":1}"#)),
        format!(
            "{{\"resultType\":\"input_required\",\"inputRequests\":{}}}",
            members(question)
        ),
        format!("{{\"task\":{},\"b\":1}}", members("\"ttl\":1")),
        format!(
            "{{\"outputSchema\":{{\"type\":\"array\",\"$defs\":{}}}}}",
            members(definition)
        ),
    ]
}

#[test]
fn many_items_take_no_longer_each() {
    const FEW: usize = 500;
    const MANY: usize = 8_000;
    /// How much longer each of many may take for noise; with a look at all for each it would be 16 times.
    const NOISE: u32 = 4;
    let times = u32::try_from(MANY / FEW).unwrap() * NOISE;
    for (few, many) in crowded(FEW).iter().zip(crowded(MANY)) {
        for (name, way) in ways() {
            let spent = |text: &str| {
                let start = Instant::now();
                drop(way(text));
                start.elapsed().max(Duration::from_micros(100))
            };
            let fair = || spent(&many) < spent(few) * times;
            let text = &few[..40];
            assert!((0..5).any(|_| fair()), "{name} takes long: {text}");
        }
    }
}

proptest! {
    #![proptest_config(Config::with_cases(CASES))]

    #[test]
    fn any_text_is_said_or_refused(text in "\\PC{0,64}") {
        all(&text);
    }

    #[test]
    fn any_json_is_said_or_refused(text in text()) {
        all(&text);
    }

    #[test]
    fn any_object_is_said(object in object_with(&[
        "_meta", "task", "taskId", "status", "ttl", "ttlMs", "content", "messages", "structuredContent",
        "outputSchema", "execution", "resultType", "inputRequests", "requestState", "code", "message", "data",
        "method", "params", "roots", "extensions", "result", "error",
    ])) {
        all(&object);
    }

    #[test]
    fn an_edit_keeps_every_other_byte(
        object in object_with(&["a", "b", "c"]),
        steps in proptest::collection::vec((select(&["remove", "set", "rename"][..]), select(&["a", "b", "c", "d"][..])), 0..5),
        keep in any::<bool>(),
    ) {
        let mut edit = ObjectEdit::new(&object).unwrap();
        for (step, key) in &steps {
            match *step {
                "remove" => edit.remove(key),
                "set" => edit.set(key, "[ 7 ]"),
                _ if keep => edit.rename(key, "a"),
                _ => edit.rename(key, "e"),
            }
        }
        let changed = edit.finish();
        let ours = ["a", "b", "c", "d", "e"];
        prop_assert_eq!(others(&changed, &ours), others(&object, &ours));
        let after: Vec<_> = segments(&changed).into_iter().map(|segment| segment.key).collect();
        if let Some((step, key)) = steps.last() {
            let times = after.iter().filter(|name| name == key).count();
            match *step {
                "remove" => prop_assert_eq!(times, 0),
                "set" => prop_assert_eq!(times, 1),
                _ => {}
            }
        }
        // The rest of the text, before the brace and behind it, stays.
        prop_assert_eq!(changed.find('{'), object.find('{'));
        prop_assert_eq!(changed.ends_with("}\r\n"), object.ends_with("}\r\n"));
    }
}
