//! A story: resources, servers, and who says what to whom. `scenarios/README.md` explains the format.

pub(crate) mod compare;
mod play;
mod steps;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::client::Way;
use crate::scripted::Offer;
use steps::{Saw, Step};

/// One scenario file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    story: String,
    #[serde(default)]
    era: Eras,
    resources: String,
    #[serde(default)]
    servers: BTreeMap<String, Offer>,
    #[serde(default)]
    clients: BTreeMap<String, About>,
    talk: Vec<Value>,
    #[serde(default, rename = "servers saw")]
    saw: Vec<Saw>,
}

/// The ways in which a story is told.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Eras {
    One(String),
    Several(Vec<String>),
}

impl Default for Eras {
    fn default() -> Self {
        Self::One("both".to_owned())
    }
}

/// What is special about a client.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct About {
    at: Option<String>,
    capabilities: Option<Value>,
    /// Another way than the one in which the story is told.
    way: Option<String>,
}

/// What `${pad}` stands for: more text than is looked at as a whole.
const PAD_BYTES: usize = 200_000;

/// The text with `${pad}` filled in.
pub(crate) fn padded(text: &str) -> String {
    if text.contains("${pad}") {
        text.replace("${pad}", &"x".repeat(PAD_BYTES))
    } else {
        text.to_owned()
    }
}

/// A story, ready to be told.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) name: String,
    pub(crate) ways: Vec<(&'static str, Way)>,
    resources: String,
    servers: BTreeMap<String, Offer>,
    clients: BTreeMap<String, About>,
    talk: Vec<Step>,
}

impl Story {
    /// Reads a scenario file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read_to_string(path)?;
        let file: File = yaml::read(&text)
            .and_then(|value| Ok(serde_json::from_value(value)?))
            .with_context(|| name.clone())?;
        if file.story.is_empty() || file.talk.is_empty() {
            bail!("{name}: a story says what it is about, and then something");
        }
        let mut talk = Vec::new();
        for (at, step) in file.talk.into_iter().enumerate() {
            talk.push(Step::read(step).with_context(|| format!("{name}, step {}", at + 1))?);
        }
        talk.extend(file.saw.into_iter().map(Step::saw));
        let ways = ways(&file.era).with_context(|| name.clone())?;
        Ok(Self {
            name,
            ways,
            resources: file.resources,
            servers: file.servers,
            clients: file.clients,
            talk,
        })
    }
}

fn ways(eras: &Eras) -> anyhow::Result<Vec<(&'static str, Way)>> {
    let words = match eras {
        Eras::One(word) => std::slice::from_ref(word),
        Eras::Several(words) => words,
    };
    let mut found = Vec::new();
    for word in words {
        match word.as_str() {
            "both" => found.extend(&Way::ALL[..2]),
            "modern" => found.push(Way::ALL[0]),
            "legacy" => found.push(Way::ALL[1]),
            "all" => found.extend(&Way::ALL),
            word => found.push(way(word)?),
        }
    }
    Ok(found)
}

fn way(word: &str) -> anyhow::Result<(&'static str, Way)> {
    let known = Way::ALL.iter().find(|(name, _)| *name == word);
    known
        .copied()
        .with_context(|| format!("`{word}` is no way of talking"))
}
