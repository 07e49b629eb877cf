//! What desktop hosts write is understood.

use resources::{EnvValue, Finding, RemoteTransport, ResourceSet, Severity};

fn secret_of(set: &ResourceSet, server: &str, name: &str) -> String {
    let server = &set.servers[server];
    let stdio = server.spec.stdio.as_ref().expect("a process");
    let EnvValue::From(source) = &stdio.env[name] else {
        panic!("values of an mcp.json are kept as secrets")
    };
    set.value(source, &server.namespace)
        .expect("the value is there")
        .expose()
        .to_owned()
}

#[test]
fn a_command_becomes_a_process() {
    let set = crate::set(
        r#"{"mcpServers": {"My Server": {"type": "stdio", "command": "npx", "args": ["-y", "x", "${HOME}/a"],
            "env": {"A": "b", "T": "x-${TEST_TOKEN}", "D": "${NOPE:-d}", "E": "${env:HOME}", "N": 5}, "cwd": "${HOME}"}}}"#,
    );
    let stdio = set.servers["my-server"]
        .spec
        .stdio
        .as_ref()
        .expect("a process");
    assert_eq!(stdio.command, ["npx", "-y", "x", "/home/someone/a"]);
    assert_eq!(stdio.working_directory.as_deref(), Some("/home/someone"));
    for (name, value) in [
        ("A", "b"),
        ("T", "x-token-of-test"),
        ("D", "d"),
        ("E", "/home/someone"),
        ("N", "5"),
    ] {
        assert_eq!(secret_of(&set, "my-server", name), value, "{name}");
    }
    assert!(
        !format!("{set:?}").contains("token-of-test"),
        "nothing of it can be printed"
    );
}

#[test]
fn a_url_becomes_a_remote() {
    let set = crate::set(
        r#"{"mcpServers": {"a": {"url": "https://a.example/mcp", "headers": {"Authorization": "Bearer ${TEST_TOKEN}"}},
            "b": {"url": "https://b.example/sse", "type": "sse"}}}"#,
    );
    let a = &set.servers["a"];
    assert_eq!(
        a.spec.remote.as_ref().map(|remote| remote.url.as_str()),
        Some("https://a.example/mcp")
    );
    let source = a.spec.headers[0].value_from.as_ref().expect("a source");
    assert_eq!(
        set.value(source, "default").expect("a value").expose(),
        "Bearer token-of-test"
    );
    let transport = set.servers["b"]
        .spec
        .remote
        .as_ref()
        .map(|remote| remote.transport);
    assert_eq!(transport, Some(RemoteTransport::SSE));
}

#[test]
fn servers_keep_their_key_as_prefix() {
    let set =
        crate::set(r#"{"mcpServers": {"GitHub": {"command": "a"}, "a b": {"command": "b"}}}"#);
    assert_eq!(set.toolsets.len(), 1);
    assert_eq!(set.toolsets[0].path, "/mcp/default");
    let named: Vec<(&str, &str)> = set.toolsets[0]
        .backends
        .iter()
        .map(|one| (one.name.as_str(), one.selection.prefix.as_str()))
        .collect();
    assert_eq!(named, [("a-b", "a-b__"), ("github", "GitHub__")]);
}

#[test]
fn visual_studio_codes_form_is_the_same() {
    let set = crate::set(
        r#"{"servers": {"a": {"type": "http", "url": "https://a.example/mcp"}}, "inputs": []}"#,
    );
    assert!(set.servers.contains_key("a"));
}

#[test]
fn a_literal_secret_is_a_warning_that_does_not_repeat_it() {
    let (set, findings) = crate::load(
        "mcp.json",
        r#"{"mcpServers": {"a": {"command": "x", "env": {"API_KEY": "hunter2hunter2"}},
            "b": {"url": "https://a.example/?k=${TEST_TOKEN}", "headers": {"Cookie": "hunter2hunter2"}}}}"#,
    );
    assert!(set.is_some());
    let codes: Vec<(&str, Severity)> = findings
        .iter()
        .map(|finding| (finding.code, finding.severity))
        .collect();
    let warning = Severity::Warning;
    assert_eq!(
        codes,
        [
            ("literal-secret", warning),
            ("secret-in-url", warning),
            ("literal-secret", warning)
        ]
    );
    assert!(!crate::shown(&findings).contains("hunter2"));
}

#[test]
fn a_toolset_may_name_its_servers() {
    let text = "mcpServers: {a: {command: x}}\n---\napiVersion: marque.dev/v1alpha1\nkind: Toolset\n\
                metadata: {name: t}\nspec: {backendRefs: [{name: a}]}\n";
    let set = crate::set(text);
    assert_eq!(set.toolsets[0].backends[0].selection.prefix, "a__");
}

#[test]
fn a_server_that_only_looks_like_one_is_ignored() {
    let (_, findings) = crate::load("compose.yaml", "servers: {a: {image: x}}\n");
    assert_eq!(
        findings
            .iter()
            .map(|finding: &Finding| finding.code)
            .collect::<Vec<_>>(),
        ["not-a-resource"]
    );
}
