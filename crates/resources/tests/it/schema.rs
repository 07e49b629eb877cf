//! The schema that editors complete from is the one the strict reader uses, and is written down.

use resources::Kind;
use resources::schema::{combined_schema, schema};

#[test]
fn the_written_schema_is_the_one_of_the_types() {
    let path = crate::project().join("docs/reference/marque.schema.json");
    let made = format!(
        "{}\n",
        serde_json::to_string_pretty(&combined_schema()).unwrap()
    );
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &made).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == made,
        "docs/reference/marque.schema.json is old: run this test with UPDATE=1"
    );
}

#[test]
fn every_kind_and_field_is_described() {
    for kind in Kind::ALL {
        let schema = schema(kind);
        assert_eq!(schema["properties"]["kind"]["const"], kind.as_str());
        for (name, definition) in schema["definitions"].as_object().unwrap() {
            for (field, schema) in definition["properties"].as_object().into_iter().flatten() {
                let silent = schema["x-marque-unused"] == "silent";
                assert!(
                    silent || schema["description"].is_string(),
                    "{name}.{field} has no description"
                );
            }
        }
    }
}

#[test]
fn references_of_a_schema_lead_somewhere() {
    for kind in Kind::ALL {
        let schema = schema(kind);
        let text = schema.to_string();
        for reference in text.split("\"#/definitions/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schema["definitions"][name].is_object(), "{kind}: {name}");
        }
    }
}
