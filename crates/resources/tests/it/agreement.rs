//! The schema and the Rust types agree: what the one accepts the other can read.

use resources::Finding;
use serde_json::{Value, json};

/// A document of every kind with every field.
fn full() -> Vec<Value> {
    let source = json!({"secretRef": {"name": "s", "key": "a"}});
    let from_map = json!({"configMapRef": {"name": "c", "key": "a"}});
    let timeouts = json!({"connect": "1s", "firstByte": "1s", "idle": "1s", "total": "1s"});
    let headers = json!([{"name": "X-A", "value": "a"}, {"name": "X-B", "valueFrom": from_map}]);
    let tools =
        json!({"a": {"name": "b", "description": "c", "annotations": {"readOnlyHint": true}}});
    let metadata = |name: &str| json!({"name": name, "namespace": "default", "labels": {"a": "b"}, "annotations": {"a": "b"}});
    let document = |api: &str, kind: &str, name: &str, spec: Value| json!({"apiVersion": api, "kind": kind, "metadata": metadata(name), "spec": spec});
    let own = "marque.dev/v1alpha1";
    vec![
        document(
            own,
            "MCPServer",
            "remote",
            json!({
                "remote": {"url": "https://a.example/mcp", "transport": "SSE"}, "protocol": "2025-11-25",
                "auth": {"bearer": "env:TEST_TOKEN"}, "headers": headers, "timeouts": timeouts,
                "failureMode": "Required", "isolation": "Shared", "tls": {"ca": source},
            }),
        ),
        document(
            own,
            "MCPServer",
            "process",
            json!({"stdio": {
                "command": ["x", "y"], "env": {"A": "b", "B": source, "C": {"env": "HOME"}}, "passEnv": ["HOME"], "workingDirectory": "x",
            }}),
        ),
        document(
            own,
            "Toolset",
            "t",
            json!({
                "parentRefs": [{"name": "g", "namespace": "default", "sectionName": "https"}], "path": "/x", "access": "Policy",
                "naming": "Prefix", "uris": "Authority", "instructions": "x",
                "backendRefs": [{"name": "remote", "prefix": "r_", "include": ["a*"], "exclude": ["b"], "tools": tools}, {"name": "process"}],
                "servers": [
                    {"name": "a", "url": "https://a.example/mcp", "transport": "StreamableHTTP", "protocol": "Auto", "auth": {"bearer": source},
                     "headers": headers, "timeouts": timeouts, "failureMode": "Optional", "isolation": "PerSession", "tls": {"ca": source},
                     "prefix": "a_", "include": ["a"], "exclude": ["b"], "tools": {"c": {"name": "d"}}},
                    {"name": "b", "command": ["x"], "env": {"A": {"env": "TEST_TOKEN"}}, "passEnv": ["A"], "workingDirectory": "y"},
                ],
            }),
        ),
        document(
            "gateway.networking.k8s.io/v1",
            "Gateway",
            "g",
            json!({
                "gatewayClassName": "marque", "addresses": [{"type": "IPAddress", "value": "127.0.0.1"}],
                "listeners": [{"name": "https", "hostname": "a.example", "port": 443, "protocol": "HTTPS", "tls": {
                    "mode": "Terminate", "certificateRefs": [{"group": "", "kind": "Secret", "name": "s", "namespace": "default"}], "options": {},
                }}],
            }),
        ),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata("s"), "type": "Opaque", "data": {"b": "YQ=="}, "stringData": {
            "a": "-----BEGIN CERTIFICATE-----", "tls.crt": "-----BEGIN CERTIFICATE-----", "tls.key": "-----BEGIN PRIVATE KEY-----",
        }}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("c"), "data": {"a": "b"}}),
    ]
}

fn load(documents: &[Value]) -> Vec<Finding> {
    let text: Vec<String> = documents.iter().map(ToString::to_string).collect();
    crate::load("full.yaml", &text.join("\n---\n")).1
}

/// Gives the way to every value below this one.
fn pointers(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, below) in fields {
                pointers(below, &format!("{here}/{}", name.replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            for (index, below) in items.iter().enumerate() {
                pointers(below, &format!("{here}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn documents_with_every_field_are_valid() {
    let findings = load(&full());
    assert!(findings.is_empty(), "{}", crate::shown(&findings));
}

#[test]
fn every_wrong_value_of_every_field_has_a_finding_of_its_own() {
    let wrong = [
        json!(true),
        json!(-1),
        json!(1.5),
        json!("\u{0}é"),
        json!([]),
        json!([[]]),
        json!({}),
        json!({"zz": [[]]}),
        Value::Null,
    ];
    let mut changed = 0;
    for document in full() {
        let mut all = Vec::new();
        pointers(&document, "", &mut all);
        for pointer in all.iter().filter(|pointer| !pointer.is_empty()) {
            for value in &wrong {
                let mut wrong = document.clone();
                *wrong.pointer_mut(pointer).unwrap() = value.clone();
                let findings = resources::parse("full.yaml", None, &wrong.to_string()).findings;
                let unreadable = findings.iter().any(|finding| finding.code == "unreadable");
                assert!(
                    !unreadable,
                    "{pointer} as {value}: {}",
                    crate::shown(&findings)
                );
                // A value of the wrong type is always refused; these are the ones that may be right.
                let may_be_right = value.is_null()
                    || value.is_string()
                    || value == &json!([])
                    || value == &json!({});
                let free = pointer.contains("/tools/")
                    || pointer.contains("/env/")
                    || pointer.ends_with("abels")
                    || pointer.ends_with("nnotations");
                let refused = findings.iter().any(Finding::is_error);
                assert!(
                    refused || may_be_right || free,
                    "{pointer} as {value} is accepted"
                );
                changed += 1;
            }
        }
    }
    assert!(changed > 1000, "only {changed} were tried");
}
