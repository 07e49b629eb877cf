//! Secrets written where only their source may be named.

use crate::node::{Content, FieldPath, Node};

/// A secret that seems to be written in place.
#[derive(Debug)]
pub(crate) struct Literal {
    pub(crate) path: FieldPath,
    /// What makes it look like a secret. Never the secret itself.
    pub(crate) reason: String,
    pub(crate) help: &'static str,
}

const NAME_A_SOURCE: &str =
    "name its source: `{env: NAME}`, `{file: PATH}` or `{secretRef: {name, key}}`";
const NAME_A_HEADER_SOURCE: &str =
    "write `valueFrom: env:NAME`, `valueFrom: file:PATH` or `valueFrom: {secretRef: {name, key}}`";

/// Finds every literal secret of a tree.
pub(crate) fn literals(node: &Node, path: &FieldPath) -> Vec<Literal> {
    let mut found = Vec::new();
    walk(node, path, &mut found);
    found
}

fn walk(node: &Node, path: &FieldPath, found: &mut Vec<Literal>) {
    match &node.content {
        Content::Null | Content::Bool(_) | Content::Number(_) => {}
        Content::Text(text) => {
            if let Some(reason) = text_reason(text) {
                found.push(Literal {
                    path: path.clone(),
                    reason,
                    help: NAME_A_SOURCE,
                });
            }
        }
        Content::List(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &path.index(index), found);
            }
        }
        Content::Map(entries) => {
            found.extend(header_literal(node, path));
            for entry in entries {
                let below = path.field(&entry.key);
                if entry.key == "env" {
                    variables(&entry.value, &below, found);
                } else {
                    walk(&entry.value, &below, found);
                }
            }
        }
    }
}

/// Looks at a map of environment variables. The `env: NAME` of a value source is a text, and read as such.
fn variables(node: &Node, path: &FieldPath, found: &mut Vec<Literal>) {
    if node.entries().is_empty() {
        return walk(node, path, found);
    }
    for entry in node.entries() {
        let below = path.field(&entry.key);
        let written = matches!(&entry.value.content, Content::Text(text) if !text.is_empty())
            || matches!(entry.value.content, Content::Number(_));
        if written && is_secret_variable(&entry.key) {
            let reason = format!("a variable named `{}` looks like a secret", entry.key);
            found.push(Literal {
                path: below,
                reason,
                help: NAME_A_SOURCE,
            });
        } else {
            walk(&entry.value, &below, found);
        }
    }
}

fn header_literal(node: &Node, path: &FieldPath) -> Option<Literal> {
    let name = node.field("name").and_then(Node::text)?;
    node.field("value")?;
    is_secret_header(name).then(|| Literal {
        path: path.field("value"),
        reason: format!("the header `{name}` carries a secret"),
        help: NAME_A_HEADER_SOURCE,
    })
}

/// Says what makes a text look like a secret.
pub(crate) fn text_reason(text: &str) -> Option<String> {
    if text.contains("PRIVATE KEY-----") {
        return Some("this looks like a private key in PEM".to_owned());
    }
    if let Some(kind) = token_kind(text) {
        return Some(format!("this looks like {kind}"));
    }
    has_userinfo(text).then(|| "the URL carries a user name or password".to_owned())
}

/// Well-known beginnings of tokens.
const TOKENS: [(&str, &str); 21] = [
    ("sk-", "an API key (`sk-…`)"),
    ("sk_live_", "a Stripe key"),
    ("rk_live_", "a Stripe key"),
    ("ghp_", "a GitHub token"),
    ("gho_", "a GitHub token"),
    ("ghu_", "a GitHub token"),
    ("ghs_", "a GitHub token"),
    ("ghr_", "a GitHub token"),
    ("github_pat_", "a GitHub token"),
    ("glpat-", "a GitLab token"),
    ("xoxa-", "a Slack token"),
    ("xoxb-", "a Slack token"),
    ("xoxe-", "a Slack token"),
    ("xoxp-", "a Slack token"),
    ("xoxr-", "a Slack token"),
    ("xoxs-", "a Slack token"),
    ("AKIA", "an AWS access key"),
    ("ASIA", "an AWS access key"),
    ("AIza", "a Google API key"),
    ("hf_", "a Hugging Face token"),
    ("npm_", "an npm token"),
];

/// Says what kind of token a text holds, if it holds one.
pub(crate) fn token_kind(text: &str) -> Option<&'static str> {
    // A token may stand inside a longer text (`--key=sk-…`), but it starts where a word starts.
    let is_token_byte = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    TOKENS.iter().find_map(|(start, kind)| {
        text.match_indices(start).find_map(|(at, _)| {
            let starts_word = at == 0 || !is_token_byte(text.as_bytes()[at - 1]);
            let token = text[at..]
                .split(|c: char| !c.is_ascii() || !is_token_byte(c as u8))
                .next()?;
            (starts_word && is_random(token)).then_some(*kind)
        })
    })
}

/// Tells a token from words that begin like one: a long part of it mixes letters with digits or capitals.
fn is_random(token: &str) -> bool {
    const PART_BYTES_MIN: usize = 12;
    token.split(['-', '_']).any(|part| {
        let mixed = part
            .bytes()
            .any(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
        part.len() >= PART_BYTES_MIN && mixed
    })
}

/// Says whether a text holds a URL with a password, or a web address with a user name.
///
/// The `git@` of `git+ssh://git@host/` is no secret.
fn has_userinfo(text: &str) -> bool {
    text.match_indices("://").any(|(at, mark)| {
        let is_end = |c: char| matches!(c, '/' | '?' | '#') || c.is_whitespace();
        let authority = text[at + mark.len()..]
            .split(is_end)
            .next()
            .unwrap_or_default();
        let Some((userinfo, _)) = authority.rsplit_once('@') else {
            return false;
        };
        let web = text[..at].ends_with("http") || text[..at].ends_with("https");
        web || userinfo
            .split_once(':')
            .is_some_and(|(_, password)| !password.is_empty())
    })
}

/// Says whether a variable of that name holds a secret.
pub(crate) fn is_secret_variable(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let last = upper.rsplit('_').next().unwrap_or_default();
    matches!(
        last,
        "TOKEN"
            | "TOKENS"
            | "KEY"
            | "APIKEY"
            | "SECRET"
            | "PASSWD"
            | "PASSPHRASE"
            | "PAT"
            | "CREDENTIAL"
            | "CREDENTIALS"
    ) || upper.contains("PASSWORD")
        || upper.contains("SECRET")
        || upper.ends_with("_PASS")
}

/// Says whether a header of that name carries a secret.
pub(crate) fn is_secret_header(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    matches!(
        lower.as_str(),
        "authorization" | "cookie" | "api-key" | "apikey" | "private-token"
    ) || [
        "api-key",
        "apikey",
        "auth-token",
        "access-token",
        "auth-key",
        "secret",
        "password",
        "cookie",
    ]
    .iter()
    .any(|part| lower.contains(part))
        || lower.ends_with("-token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_known_by_their_beginning() {
        for text in [
            "sk-proj-abcDEF1234567890abcd",
            "--token=ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "Bearer xoxb-123456789012-123456789012-AbCdEfGhIjKlMnOpQrStUvWx",
            "AKIAIOSFODNN7EXAMPLE",
            "-----BEGIN PRIVATE KEY-----",
        ] {
            assert!(text_reason(text).is_some(), "{text}");
        }
        for text in [
            "sk-",
            "task-force-of-the-year-is-long",
            "ask-1234567890abcdefghij",
            "https://a.example/x@y",
            "ghp_short",
            "sk-learn-server-version-2-latest",
            "git+ssh://git@github.com/org/repo",
            "-----BEGIN CERTIFICATE-----",
        ] {
            assert!(text_reason(text).is_none(), "{text}");
        }
        for url in [
            "https://user:word@a.example/",
            "https://user@a.example",
            "--db=postgres://u:p@host/db",
        ] {
            assert!(text_reason(url).is_some(), "{url}");
        }
    }

    #[test]
    fn names_of_secrets_are_known() {
        for name in [
            "GITHUB_TOKEN",
            "API_KEY",
            "CLIENT_SECRET",
            "PGPASSWORD",
            "token",
        ] {
            assert!(is_secret_variable(name), "{name}");
        }
        for name in [
            "PATH",
            "TOKENIZER",
            "KEYBOARD",
            "LOG_LEVEL",
            "MAX_TOKENS_PER_CALL",
        ] {
            assert!(!is_secret_variable(name), "{name}");
        }
        assert!(
            is_secret_header("X-API-Key")
                && is_secret_header("authorization")
                && !is_secret_header("X-Team")
        );
    }
}
