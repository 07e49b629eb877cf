//! The forms of single texts, by the name their schema gives them.

use crate::literal;
use crate::value::{ValueSource, is_variable};
use crate::{Duration, Name, selection};

/// Why a text is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) help: String,
}

fn refuse(
    code: &'static str,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Result<(), Refusal> {
    Err(Refusal {
        code,
        message: message.into(),
        help: help.into(),
    })
}

/// How long a prefix may be, so that room is left for the name in the 64 letters hosted models allow.
const PREFIX_BYTES_MAX: usize = 32;
/// How long a tool's name may be for hosted models.
const TOOL_BYTES_MAX: usize = 64;
/// The longest path of an endpoint. A longer one is refused as an error of its document.
const PATH_BYTES_MAX: usize = 512;

/// Holds a text against a form. Forms that are not ours are for editors only.
pub(crate) fn check(form: &str, text: &str) -> Result<(), Refusal> {
    match form {
        Duration::FORMAT => duration(text),
        Name::FORMAT => name(text),
        ValueSource::FORMAT => value_source(text),
        "marque-url" => url(text),
        "marque-path" => path(text),
        "marque-glob" => glob(text),
        "marque-header" => header(text),
        "marque-header-value" => header_value(text),
        "marque-variable" => variable(text),
        "marque-prefix" => prefix(text),
        "marque-tool" => tool(text),
        "marque-hostname" => hostname(text),
        _ => Ok(()),
    }
}

/// Says in words what a form is.
pub(crate) fn describe(form: &str) -> Option<&'static str> {
    Some(match form {
        Duration::FORMAT => "a duration such as `250ms`, `5s`, `1m30s` or `2h`",
        Name::FORMAT => "a name",
        ValueSource::FORMAT => "`env:NAME` or `file:PATH`",
        "marque-url" => "an `http://` or `https://` URL",
        "marque-path" => "a path such as `/mcp/NAME`",
        _ => return None,
    })
}

fn duration(text: &str) -> Result<(), Refusal> {
    match text.parse::<Duration>() {
        Ok(span) if span.as_std().is_zero() => refuse(
            "bad-duration",
            "a wait of zero would fail every time",
            "write a longer one, or leave it out for the default",
        ),
        Ok(_) => Ok(()),
        Err(reason) => refuse(
            "bad-duration",
            reason.to_string(),
            "write numbers with the units `h`, `m`, `s`, `ms`",
        ),
    }
}

fn name(text: &str) -> Result<(), Refusal> {
    match text.parse::<Name>() {
        Ok(_) => Ok(()),
        Err(reason) => {
            let help = Name::closest(text).map_or_else(
                || "for example `my-server`".to_owned(),
                |name| format!("for example `{name}`"),
            );
            refuse("bad-name", reason.to_string(), help)
        }
    }
}

fn value_source(text: &str) -> Result<(), Refusal> {
    if ValueSource::from_short(text).is_some() {
        return Ok(());
    }
    // What was written may be the secret itself: it is not repeated.
    refuse(
        "literal-secret",
        "a value is written in place; here only its source may be named",
        "write `env:NAME`, `file:PATH`, `{secretRef: {name, key}}` or `{configMapRef: {name, key}}`",
    )
}

fn url(text: &str) -> Result<(), Refusal> {
    const HELP: &str = "write the full URL of the MCP endpoint, such as `https://host.example/mcp`";
    let parsed = match url::Url::parse(text) {
        Ok(parsed) => parsed,
        Err(reason) => return refuse("bad-url", format!("not a URL: {reason}"), HELP),
    };
    if !matches!(parsed.scheme(), "http" | "https") {
        return refuse(
            "bad-url",
            format!("the scheme `{}` is not spoken", parsed.scheme()),
            HELP,
        );
    }
    if parsed.host().is_none() {
        return refuse("bad-url", "the URL names no host", HELP);
    }
    if parsed.fragment().is_some() {
        return refuse(
            "bad-url",
            "the URL has a fragment, which is never sent",
            "leave out the part from `#` on",
        );
    }
    Ok(())
}

fn path(text: &str) -> Result<(), Refusal> {
    const HELP: &str = "write a path such as `/mcp/NAME`: segments of letters, digits and `-._~`, without a `/` at the end";
    let Some(rest) = text.strip_prefix('/') else {
        return refuse("bad-path", "the path does not start with `/`", HELP);
    };
    if text.len() > PATH_BYTES_MAX {
        return refuse(
            "bad-path",
            format!("the path is longer than {PATH_BYTES_MAX} bytes"),
            HELP,
        );
    }
    let segment_is_good = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    if !rest.split('/').all(segment_is_good) {
        return refuse("bad-path", "the path cannot be matched byte for byte", HELP);
    }
    if rest == ".well-known" || rest.starts_with(".well-known/") {
        return refuse(
            "bad-path",
            "`/.well-known` is kept for discovery (RFC 8615)",
            HELP,
        );
    }
    Ok(())
}

fn glob(text: &str) -> Result<(), Refusal> {
    if text.is_empty() {
        return refuse(
            "bad-glob",
            "an empty pattern matches nothing",
            "write a tool's name or a glob such as `read_*`",
        );
    }
    match selection::glob(text) {
        Ok(_) => Ok(()),
        Err(reason) => refuse(
            "bad-glob",
            format!("not a glob: {}", reason.kind()),
            "write a tool's name or a glob such as `read_*`",
        ),
    }
}

/// Headers that belong to the connection, to HTTP framing or to MCP itself.
const HEADERS_REFUSED: [&str; 18] = [
    "accept",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "last-event-id",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "origin",
];

fn header(text: &str) -> Result<(), Refusal> {
    // RFC 9110, 5.6.2: a field name is a token.
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if text.is_empty() || !text.bytes().all(is_token) {
        return refuse(
            "bad-header",
            "not the name of a header",
            "write letters, digits and `-`",
        );
    }
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("mcp-") || HEADERS_REFUSED.contains(&lower.as_str()) {
        return refuse(
            "refused-header",
            format!("`{text}` is set by Marque itself"),
            "leave it out",
        );
    }
    Ok(())
}

fn header_value(text: &str) -> Result<(), Refusal> {
    if is_header_value(text) {
        return Ok(());
    }
    refuse(
        "bad-header",
        "the value cannot be sent in a header",
        "leave out control characters and line breaks",
    )
}

/// Says whether a text can be sent as the value of a header (RFC 9110, 5.5).
pub(crate) fn is_header_value(text: &str) -> bool {
    text.trim() == text && text.bytes().all(|b| b == b'\t' || b >= b' ' && b != 0x7f)
}

fn variable(text: &str) -> Result<(), Refusal> {
    if is_variable(text) {
        return Ok(());
    }
    refuse(
        "bad-variable",
        "not the name of an environment variable",
        "write letters, digits and `_`",
    )
}

fn prefix(text: &str) -> Result<(), Refusal> {
    if text.len() <= PREFIX_BYTES_MAX && text.bytes().all(is_tool_byte) {
        return Ok(());
    }
    refuse(
        "bad-prefix",
        "hosted models would not accept names with this prefix",
        format!("write at most {PREFIX_BYTES_MAX} letters, digits, `_` and `-`, such as `git_`"),
    )
}

fn tool(text: &str) -> Result<(), Refusal> {
    if !text.is_empty() && text.len() <= TOOL_BYTES_MAX && text.bytes().all(is_tool_byte) {
        return Ok(());
    }
    refuse(
        "bad-tool-name",
        "hosted models would not accept this name",
        format!("write 1 to {TOOL_BYTES_MAX} letters, digits, `_` and `-`"),
    )
}

fn is_tool_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
}

fn hostname(text: &str) -> Result<(), Refusal> {
    let host = text.strip_prefix("*.").unwrap_or(text);
    let is_number = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if host.len() <= 253 && !is_number && host.split('.').all(|label| label.parse::<Name>().is_ok())
    {
        return Ok(());
    }
    refuse(
        "bad-hostname",
        "not a host name",
        "write a name such as `mcp.example.com` or `*.example.com`, in lower case, without port",
    )
}

/// Says whether a value may be repeated in a message.
pub(crate) fn may_be_shown(text: &str) -> bool {
    const SHOWN_BYTES_MAX: usize = 40;
    text.len() <= SHOWN_BYTES_MAX
        && !text.contains(char::is_control)
        && literal::token_kind(text).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_accepts_and_refuses() {
        let cases = [
            ("marque-url", "https://a.example/mcp?x=1", true),
            ("marque-url", "ftp://a.example", false),
            ("marque-url", "localhost:8080/mcp", false),
            ("marque-url", "https://a.example/#x", false),
            ("marque-path", "/mcp/a.b-c_~", true),
            ("marque-path", "mcp", false),
            ("marque-path", "/", false),
            ("marque-path", "/a//b", false),
            ("marque-path", "/a/../b", false),
            ("marque-path", "/a%20b", false),
            ("marque-path", "/.well-known/x", false),
            ("marque-glob", "read_*", true),
            ("marque-glob", "[", false),
            ("marque-header", "X-Team", true),
            ("marque-header", "mcp-Session-Id", false),
            ("marque-header", "Host", false),
            ("marque-header", "a b", false),
            ("marque-header-value", "a b", true),
            ("marque-header-value", "a\r\nb: c", false),
            ("marque-variable", "A_1", true),
            ("marque-variable", "1A", false),
            ("marque-prefix", "", true),
            ("marque-prefix", "a.b", false),
            ("marque-tool", "a-b_C", true),
            ("marque-tool", "", false),
            ("marque-hostname", "*.example.com", true),
            ("marque-hostname", "mcp.example.com:443", false),
            ("marque-hostname", "10.0.0.1", false),
            (Duration::FORMAT, "5s", true),
            (Duration::FORMAT, "0s", false),
            (ValueSource::FORMAT, "env:A", true),
            (ValueSource::FORMAT, "hunter2", false),
        ];
        for (form, text, good) in cases {
            assert_eq!(check(form, text).is_ok(), good, "{form} {text}");
        }
    }
}
