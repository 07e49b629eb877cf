//! Documents become a set that no longer shows how they were written.

use resources::{Access, FailureMode, ProtocolPin, ResourceSet, Secret, Values};

const SERVER: &str = "apiVersion: marque.dev/v1alpha1\nkind: MCPServer\n";
const TOOLSET: &str = "apiVersion: marque.dev/v1alpha1\nkind: Toolset\n";

fn paths(set: &ResourceSet) -> Vec<&str> {
    set.toolsets
        .iter()
        .map(|toolset| toolset.path.as_str())
        .collect()
}

#[test]
fn inline_and_separate_servers_mean_the_same() {
    let fields = "protocol: \"2025-11-25\", failureMode: Required, timeouts: {idle: 1m}, headers: [{name: X-A, value: b}]";
    let inline = crate::set(&format!(
        "{TOOLSET}metadata: {{name: t}}\nspec: {{servers: [{{name: a, url: \"https://a.example/mcp\", {fields}}}]}}\n"
    ));
    let separate = crate::set(&format!(
        "{SERVER}metadata: {{name: a}}\nspec: {{remote: {{url: \"https://a.example/mcp\"}}, {fields}}}\n"
    ));
    let spec = &inline.servers["t/a"].spec;
    assert_eq!(*spec, separate.servers["a"].spec);
    assert_eq!(
        (spec.protocol, spec.failure_mode),
        (ProtocolPin::V2025_11_25, FailureMode::Required)
    );
    assert_eq!(
        spec.timeouts.connect.to_string(),
        "5s",
        "what is left out keeps its default"
    );
}

#[test]
fn nothing_declared_gives_the_defaults() {
    let set = crate::set(&format!(
        "{SERVER}metadata: {{name: b}}\nspec: {{stdio: {{command: [x]}}}}\n---\n{SERVER}metadata: {{name: a, namespace: team}}\nspec: {{stdio: {{command: [x]}}}}\n"
    ));
    assert_eq!(paths(&set), ["/mcp/default"]);
    let backends = &set.toolsets[0].backends;
    assert_eq!(
        backends
            .iter()
            .map(|one| one.name.as_str())
            .collect::<Vec<_>>(),
        ["a-team", "b"]
    );
    assert!(backends.iter().all(|one| one.selection.prefix.is_empty()));
    let listeners = set.listeners();
    assert_eq!(listeners.len(), 1);
    assert_eq!(
        (listeners[0].address.to_string(), listeners[0].port),
        ("127.0.0.1".to_owned(), 8484)
    );
    assert!(listeners[0].serves(&set.toolsets[0]));
}

#[test]
fn a_declared_toolset_stands_in_place_of_the_default() {
    let text = format!(
        "{SERVER}metadata: {{name: a}}\nspec: {{stdio: {{command: [x]}}}}\n---\n{TOOLSET}metadata: {{name: t}}\nspec: {{access: Anonymous, servers: [{{name: b, command: [x]}}]}}\n"
    );
    let (set, findings) = crate::load("a.yaml", &text);
    let set = set.expect("a warning is no error");
    assert_eq!(paths(&set), ["/mcp/t"]);
    assert_eq!(set.toolsets[0].spec.access, Some(Access::Anonymous));
    assert_eq!(
        findings
            .iter()
            .map(|finding| finding.code)
            .collect::<Vec<_>>(),
        ["unused-server"]
    );
}

#[test]
fn backends_come_in_the_order_of_references_then_servers() {
    let set = crate::set(&format!(
        "{SERVER}metadata: {{name: z}}\nspec: {{stdio: {{command: [x]}}}}\n---\n{TOOLSET}metadata: {{name: t}}\nspec:\n  servers: [{{name: b, command: [x]}}, {{name: a, command: [x]}}]\n  backendRefs: [{{name: z, prefix: z_}}]\n"
    ));
    let names: Vec<&str> = set.toolsets[0]
        .backends
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(names, ["z", "b", "a"]);
}

#[test]
fn values_come_from_secrets_config_maps_and_variables() {
    let set = crate::set(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: aGVsbG8=, b: YQ==}\nstringData: {b: plain}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: map}\n",
    );
    let value = |json: &str| {
        let source = serde_json::from_str(json).expect("a source");
        set.value(&source, "default")
            .map(|value| value.expose().to_owned())
    };
    assert_eq!(
        value(r#"{"secretRef": {"name": "s", "key": "a"}}"#).as_deref(),
        Ok("hello")
    );
    assert_eq!(
        value(r#"{"secretRef": {"name": "s", "key": "b"}}"#).as_deref(),
        Ok("plain")
    );
    assert_eq!(
        value(r#"{"configMapRef": {"name": "c", "key": "a"}}"#).as_deref(),
        Ok("map")
    );
    assert!(
        value(r#"{"secretRef": {"name": "c", "key": "a"}}"#).is_err(),
        "a ConfigMap is no Secret"
    );
}

#[test]
fn a_fingerprint_follows_the_spec_and_the_values() {
    let text = |url: &str| {
        format!(
            "{SERVER}metadata: {{name: a}}\nspec: {{remote: {{url: \"{url}\"}}, auth: {{bearer: env:TOKEN}}}}\n"
        )
    };
    let print = |url: &str, token: &str| {
        let parsed = resources::parse("a.yaml", None, &text(url));
        let mut values = Values::default();
        values.insert_env("TOKEN", Secret::new(token));
        let set = resources::build(&parsed.documents, values)
            .set
            .expect("a set");
        set.servers["a"].fingerprint(&set)
    };
    let first = print("https://a.example/mcp", "one");
    assert_eq!(first, print("https://a.example/mcp", "one"));
    assert_ne!(first, print("https://b.example/mcp", "one"));
    assert_ne!(first, print("https://a.example/mcp", "two"));
}

#[test]
fn a_gateway_and_its_sections_choose_who_is_served_where() {
    let set = crate::set(&format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: g}}\nspec:\n  addresses: [{{value: \"127.0.0.1\"}}, {{value: \"::1\"}}]\n  listeners: [{{name: a, port: 80, protocol: HTTP}}, {{name: b, port: 81, protocol: HTTP}}]\n---\n{TOOLSET}metadata: {{name: t}}\nspec: {{parentRefs: [{{name: g, sectionName: b}}], servers: [{{name: a, command: [x]}}], path: /x}}\n---\n{TOOLSET}metadata: {{name: u}}\nspec: {{parentRefs: [{{name: g, sectionName: a}}], servers: [{{name: a, command: [x]}}], path: /x}}\n"
    ));
    let serves: Vec<(String, Vec<&str>)> = set
        .listeners()
        .iter()
        .map(|listener| {
            let served = set
                .toolsets
                .iter()
                .filter(|toolset| listener.serves(toolset));
            (
                format!("{}:{}", listener.address, listener.port),
                served.map(|one| one.id.name.as_str()).collect(),
            )
        })
        .collect();
    let expected = [
        ("127.0.0.1:80", "u"),
        ("::1:80", "u"),
        ("127.0.0.1:81", "t"),
        ("::1:81", "t"),
    ];
    assert_eq!(
        serves,
        expected.map(|(socket, name)| (socket.to_owned(), vec![name]))
    );
}

#[test]
fn what_a_cluster_adds_is_read_without_a_word() {
    let (set, findings) = crate::load(
        "a.yaml",
        &format!(
            "apiVersion: v1\nkind: List\nmetadata: {{resourceVersion: \"\"}}\nitems:\n- apiVersion: marque.dev/v1alpha1\n  kind: MCPServer\n  metadata: {{name: a, namespace: default, uid: x, resourceVersion: \"1\", creationTimestamp: null, managedFields: [{{}}]}}\n  spec: {{remote: {{url: \"https://a.example/mcp\"}}}}\n  status: {{conditions: []}}\n---\n{TOOLSET}metadata: {{name: t}}\nspec: {{path: null, backendRefs: [{{name: a}}]}}\n"
        ),
    );
    assert!(findings.is_empty(), "{}", crate::shown(&findings));
    assert_eq!(set.expect("a set").servers.len(), 1);
}
