//! JSON Schema of every kind, made from the Rust types: what editors complete is what the strict reader accepts.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::kinds::gateway::{GatewaySpec, Unused};
use crate::kinds::mcp_server::McpServerSpec;
use crate::kinds::secret::{ConfigMapData, SecretData};
use crate::kinds::toolset::ToolsetSpec;
use crate::{Kind, Name};

/// What every document says about itself.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The resource's name, unique among its kind in its namespace.
    pub name: Name,
    /// The resource's namespace. Default `default`.
    pub namespace: Option<Name>,
    /// Free marks, for selecting.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Free notes.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// What a cluster adds to `metadata` when it gives a document out.
const CLUSTER_WRITTEN: [&str; 10] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "uid",
];

/// Gives the JSON Schema (draft 7, which editors know best) of documents of one kind.
#[must_use]
pub fn schema(kind: Kind) -> Value {
    let mut generator = generator();
    let document = document(kind, &mut generator);
    finished(document, &format!("Marque {kind}"), &mut generator)
}

/// Gives one JSON Schema for documents of every kind.
#[must_use]
pub fn combined_schema() -> Value {
    let mut generator = generator();
    let documents: Vec<Value> = Kind::ALL
        .into_iter()
        .map(|kind| Value::Object(document(kind, &mut generator)))
        .collect();
    let mut top = Map::new();
    top.insert("oneOf".to_owned(), Value::Array(documents));
    finished(top, "Marque resources", &mut generator)
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft07().into_generator()
}

fn finished(mut top: Map<String, Value>, title: &str, generator: &mut SchemaGenerator) -> Value {
    let mut schema = Map::new();
    schema.insert(
        "$schema".to_owned(),
        "http://json-schema.org/draft-07/schema#".into(),
    );
    schema.insert("title".to_owned(), title.into());
    schema.append(&mut top);
    schema.insert(
        "definitions".to_owned(),
        Value::Object(generator.take_definitions(true)),
    );
    add_cluster_written(&mut schema);
    add_one_of(&mut schema);
    Value::Object(schema)
}

/// Accepts without a word what a cluster adds, so that `kubectl get -o yaml` can be read.
fn add_cluster_written(schema: &mut Map<String, Value>) {
    let metadata = schema["definitions"]["Metadata"]["properties"].as_object_mut();
    let properties =
        metadata.expect("every kind has metadata, a type of this file with properties");
    for field in CLUSTER_WRITTEN {
        properties.insert(field.to_owned(), json!({ (Unused::MARK): "silent" }));
    }
}

/// Says "exactly one of" in words that editors know too.
fn add_one_of(schema: &mut Map<String, Value>) {
    let definitions = schema["definitions"].as_object_mut();
    for (_, definition) in definitions.into_iter().flatten() {
        let fields = definition.get("x-marque-one-of").and_then(Value::as_array);
        let Some(fields) = fields else { continue };
        let one_of = fields
            .iter()
            .map(|field| json!({ "required": [field] }))
            .collect();
        definition["oneOf"] = Value::Array(one_of);
    }
}

fn document(kind: Kind, generator: &mut SchemaGenerator) -> Map<String, Value> {
    let mut document = match kind {
        Kind::McpServer => with_spec::<McpServerSpec>(generator),
        Kind::Toolset => with_spec::<ToolsetSpec>(generator),
        Kind::Gateway => with_spec::<GatewaySpec>(generator),
        Kind::Secret => plain::<SecretData>(generator),
        Kind::ConfigMap => plain::<ConfigMapData>(generator),
    };
    let mut properties = Map::new();
    properties.insert(
        "apiVersion".to_owned(),
        json!({ "const": kind.api_version() }),
    );
    properties.insert("kind".to_owned(), json!({ "const": kind.as_str() }));
    properties.insert(
        "metadata".to_owned(),
        generator.subschema_for::<Metadata>().to_value(),
    );
    let own = document
        .get_mut("properties")
        .and_then(Value::as_object_mut);
    properties.append(own.expect("the schema of a kind has properties"));
    document.insert("properties".to_owned(), Value::Object(properties));
    let mut required = vec![json!("apiVersion"), json!("kind"), json!("metadata")];
    required.extend(
        document
            .get("required")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default(),
    );
    document.insert("required".to_owned(), Value::Array(required));
    document
}

fn with_spec<T: JsonSchema>(generator: &mut SchemaGenerator) -> Map<String, Value> {
    let spec = generator.subschema_for::<T>().to_value();
    let document = json!({
        "type": "object",
        "properties": { "spec": spec, "status": { (Unused::MARK): "silent" } },
        "required": ["spec"],
        "additionalProperties": false
    });
    let Value::Object(document) = document else {
        return Map::new();
    };
    document
}

fn plain<T: JsonSchema>(generator: &mut SchemaGenerator) -> Map<String, Value> {
    // The values of these kinds stand in the document itself, beside `metadata`.
    match T::json_schema(generator).to_value() {
        Value::Object(document) => document,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}
