//! Headers of the user: `--header 'Name: value'`.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::failure::Failure;

const ENV: &str = "env:";
/// Headers that the protocol sets; the user's would contradict it.
const OURS: [HeaderName; 5] = [
    header::ACCEPT,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::TRANSFER_ENCODING,
];

/// A header as the user gave it. The value may hold a secret and is never printed.
#[derive(Clone)]
pub(super) struct Header {
    name: HeaderName,
    value: String,
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: …", self.name)
    }
}

impl Header {
    /// Reads `Name: value`.
    ///
    /// # Errors
    /// The text says what is wrong.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once(':')
            .ok_or("expected 'Name: value', for example 'Authorization: Bearer env:TOKEN'")?;
        let name = HeaderName::try_from(name.trim()).map_err(|error| error.to_string())?;
        if OURS.contains(&name) || name.as_str().starts_with("mcp-") {
            return Err(format!("the header {name} is set by the protocol"));
        }
        let value = value.trim().to_owned();
        Ok(Self { name, value })
    }

    fn value(&self) -> Result<HeaderValue, Failure> {
        let text = expand(&self.value, |name| std::env::var(name).ok())
            .map_err(|name| Failure::Usage(format!("the environment has no variable {name}")))?;
        let mut value = HeaderValue::try_from(text).map_err(|_| {
            Failure::Usage(format!("the value of {} cannot be in a header", self.name))
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Replaces the last word where it is `env:NAME`, so that a scheme such as `Bearer` may stand before.
fn expand(value: &str, env: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let start = value
        .rfind(char::is_whitespace)
        .map_or(0, |space| space + 1);
    let Some(name) = value[start..].strip_prefix(ENV) else {
        return Ok(value.to_owned());
    };
    let found = env(name).ok_or_else(|| name.to_owned())?;
    Ok(format!("{}{}", &value[..start], found.trim()))
}

/// All headers of the user, ready to be sent.
///
/// # Errors
/// [`Failure::Usage`] where a variable is missing.
pub(super) fn all(headers: &[Header]) -> Result<HeaderMap, Failure> {
    let mut map = HeaderMap::new();
    for header in headers {
        map.append(&header.name, header.value()?);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_from_the_environment_where_they_say_so() {
        let env = |name: &str| (name == "TOKEN").then(|| "s3cret\n".to_owned());
        let cases = [
            ("plain", Ok("plain")),
            ("env:TOKEN", Ok("s3cret")),
            ("Bearer env:TOKEN", Ok("Bearer s3cret")),
            ("Bearer env:OTHER", Err("OTHER")),
            ("env:TOKEN env", Ok("env:TOKEN env")),
        ];
        for (value, expected) in cases {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(expand(value, env), expected, "{value}");
        }
    }

    #[test]
    fn the_protocols_own_headers_cannot_be_given() {
        for text in [
            "Mcp-Method: x",
            "host: x",
            "Content-Type: x",
            "no colon",
            "a b: c",
        ] {
            assert!(Header::read(text).is_err(), "{text}");
        }
        let header = Header::read("Authorization: Bearer secret").unwrap();
        assert_eq!(format!("{header:?}"), "authorization: …");
    }
}
