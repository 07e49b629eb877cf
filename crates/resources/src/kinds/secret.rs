//! The `Secret` and `ConfigMap` documents of the core group (`v1`).

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use schemars::JsonSchema;
use serde::Deserialize;

use super::gateway::Unused;
use crate::Secret;

/// Texts that must not be seen.
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretData {
    /// What the secret is for. Not checked.
    pub r#type: Option<String>,
    /// Values in base64.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
    /// Values as they are. Stronger than `data`.
    #[serde(default)]
    pub string_data: BTreeMap<String, String>,
    /// Accepted and not used.
    pub immutable: Option<Unused>,
}

impl SecretData {
    /// Gives every value (`None` for one that is not text), and the keys whose value is not base64.
    pub(crate) fn values(&self) -> (BTreeMap<String, Option<Secret>>, Vec<String>) {
        let mut values = BTreeMap::new();
        let mut broken = Vec::new();
        for (key, encoded) in &self.data {
            let compact: String = encoded.split_ascii_whitespace().collect();
            let value = match base64::engine::general_purpose::STANDARD.decode(compact) {
                Ok(bytes) => String::from_utf8(bytes).ok().map(Secret::new),
                Err(_) => {
                    broken.push(key.clone());
                    None
                }
            };
            // A broken value is still there: whoever names it is not told that it is missing.
            values.insert(key.clone(), value);
        }
        for (key, text) in &self.string_data {
            values.insert(key.clone(), Some(Secret::new(text.as_str())));
        }
        (values, broken)
    }
}

impl fmt::Debug for SecretData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretData").finish_non_exhaustive()
    }
}

/// Texts that may be seen.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapData {
    /// Values as they are.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
    /// Accepted and not used.
    pub binary_data: Option<Unused>,
    /// Accepted and not used.
    pub immutable: Option<Unused>,
}
