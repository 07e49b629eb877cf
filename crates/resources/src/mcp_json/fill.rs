//! Variables are filled in, and servers of an `mcp.json` become servers like any other.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, Findings, How, McpJson, Piece, Text};
use crate::format;
use crate::{
    EnvValue, Finding, Header, KeyRef, Kind, McpServerSpec, Remote, RemoteTransport, ResourceId,
    Secret, Stdio, ValueSource, Values,
};

/// A server of an `mcp.json`, ready for a set.
pub(crate) struct Filled {
    pub(crate) spec: McpServerSpec,
    /// The values of headers and variables, which are treated as secrets: nobody can tell which of them are.
    pub(crate) data: BTreeMap<String, Option<Secret>>,
}

impl McpJson {
    /// Names the variables that stand in it.
    pub(crate) fn variables(&self) -> BTreeSet<&str> {
        let pieces = self
            .entries
            .iter()
            .flat_map(Entry::texts)
            .flat_map(|text| &text.pieces);
        pieces
            .filter_map(|piece| match piece {
                Piece::Plain(_) => None,
                Piece::Variable { name, .. } => Some(name.as_str()),
            })
            .collect()
    }
}

impl Entry {
    fn texts(&self) -> Vec<&Text> {
        match &self.how {
            How::Command { words, env, cwd } => {
                words.iter().chain(env.values()).chain(cwd).collect()
            }
            How::Url { url, headers, .. } => headers
                .iter()
                .map(|(_, value)| value)
                .chain([url])
                .collect(),
        }
    }

    /// The name of the document that stands for the values of this server. No document can have it.
    pub(crate) fn data_id(&self) -> ResourceId {
        ResourceId::new(
            Kind::Secret,
            crate::reference::DEFAULT_NAMESPACE,
            format!("mcp.json/{}", self.name),
        )
    }

    /// Fills in the variables.
    ///
    /// # Errors
    /// What stands in the way.
    pub(crate) fn filled(&self, values: &Values) -> Result<Filled, Findings> {
        let data_name = self.data_id().name;
        let mut filling = Filling {
            values,
            data_name,
            data: BTreeMap::new(),
            findings: Findings::new(),
        };
        let spec = match &self.how {
            How::Command { words, env, cwd } => filling.process(words, env, cwd.as_ref()),
            How::Url {
                url,
                transport,
                headers,
            } => filling.remote(url, *transport, headers),
        };
        if !filling.findings.is_empty() {
            return Err(filling.findings);
        }
        Ok(Filled {
            spec,
            data: filling.data,
        })
    }
}

/// One server whose variables are being filled in.
struct Filling<'f> {
    values: &'f Values,
    data_name: String,
    data: BTreeMap<String, Option<Secret>>,
    findings: Findings,
}

impl Filling<'_> {
    fn process(
        &mut self,
        words: &[Text],
        env: &BTreeMap<String, Text>,
        cwd: Option<&Text>,
    ) -> McpServerSpec {
        let command = words.iter().map(|word| self.text(word)).collect();
        let env = env.iter().map(|(name, value)| {
            let source = self.kept(format!("env.{name}"), value);
            (name.clone(), EnvValue::From(source))
        });
        let env = env.collect();
        let working_directory = cwd.map(|cwd| self.text(cwd));
        let stdio = Stdio {
            command,
            env,
            pass_env: Vec::new(),
            working_directory,
        };
        McpServerSpec {
            stdio: Some(stdio),
            ..McpServerSpec::default()
        }
    }

    fn remote(
        &mut self,
        url: &Text,
        transport: RemoteTransport,
        headers: &[(String, Text)],
    ) -> McpServerSpec {
        let errors = self.findings.len();
        let filled = self.text(url);
        // A URL with a hole in it is told of already.
        if self.findings.len() == errors
            && let Err(refusal) = format::check("marque-url", &filled)
        {
            let finding = Finding::error(refusal.code, refusal.message).help(refusal.help);
            self.findings.push((finding, url.path.clone()));
        }
        let headers = headers.iter().map(|(name, value)| {
            self.sendable(value);
            let value_from = Some(self.kept(format!("headers.{name}"), value));
            Header {
                name: name.clone(),
                value: None,
                value_from,
            }
        });
        let headers = headers.collect();
        let remote = Some(Remote {
            url: filled,
            transport,
        });
        McpServerSpec {
            remote,
            headers,
            ..McpServerSpec::default()
        }
    }

    fn sendable(&mut self, value: &Text) {
        let filled = value.filled(self.values).unwrap_or_default();
        if let Err(refusal) = format::check("marque-header-value", &filled) {
            let finding = Finding::error(refusal.code, refusal.message).help(refusal.help);
            self.findings.push((finding, value.path.clone()));
        }
    }

    /// Keeps a value as a secret, and gives where it is found again.
    fn kept(&mut self, key: String, value: &Text) -> ValueSource {
        let filled = self.text(value);
        self.data.insert(key.clone(), Some(Secret::new(filled)));
        ValueSource::SecretRef(KeyRef {
            name: self.data_name.clone(),
            key,
        })
    }

    fn text(&mut self, text: &Text) -> String {
        text.filled(self.values).unwrap_or_else(|name| {
            let finding = Finding::error(
                "missing-variable",
                format!("environment variable `{name}` is not set"),
            )
            .help(format!("set {name}, or write `${{{name}:-default}}`"));
            self.findings.push((finding, text.path.clone()));
            String::new()
        })
    }
}

impl Text {
    /// Fills in the variables, or gives the name of one that is not set.
    fn filled(&self, values: &Values) -> Result<String, &str> {
        let mut filled = String::new();
        for piece in &self.pieces {
            filled.push_str(match piece {
                Piece::Plain(plain) => plain,
                Piece::Variable { name, default } => match (values.env(name), default) {
                    // As in a shell, `:-` also stands in for a variable that is empty.
                    (Some(value), Some(default)) if value.expose().is_empty() => default,
                    (Some(value), _) => value.expose(),
                    (None, Some(default)) => default,
                    (None, None) => return Err(name),
                },
            });
        }
        Ok(filled)
    }
}
