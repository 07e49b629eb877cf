//! Resource URIs of many servers in one space: `scheme://rest` of server `files` is shown as `scheme://files~rest`.
//!
//! The scheme stays, because hosts switch on it (`ui://`, `file://`, `skill://`).
//! URIs without an authority are wrapped: `marque+files:` and the percent-encoded original.
//! `http` and `https` stay as they are: a client may fetch them itself.

use std::borrow::Cow;
use std::fmt::Write as _;

const WRAP: &str = "marque+";

/// The URI under which clients see `uri` of `server`.
#[must_use]
pub fn shown_uri<'a>(server: &str, uri: &'a str) -> Cow<'a, str> {
    let Some((scheme, rest)) = split_scheme(uri) else {
        return Cow::Borrowed(uri);
    };
    if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") {
        return Cow::Borrowed(uri);
    }
    match rest.strip_prefix("//") {
        Some(rest) if !is_wrapped(scheme) => Cow::Owned(format!("{scheme}://{server}~{rest}")),
        // A scheme of our own making must not be taken for one when it comes back.
        Some(_) | None => Cow::Owned(format!("{WRAP}{server}:{}", encode(uri))),
    }
}

/// The template under which clients see `template` of `server`; templates without a literal scheme stay.
#[must_use]
pub fn shown_template<'a>(server: &str, template: &'a str) -> Cow<'a, str> {
    match split_scheme(template) {
        Some((scheme, rest)) if rest.starts_with("//") && !is_wrapped(scheme) => {
            shown_uri(server, template)
        }
        Some(_) | None => Cow::Borrowed(template),
    }
}

/// The server and its own URI behind a shown one, or `None` when it was not shown by [`shown_uri`].
#[must_use]
pub fn own_uri(shown: &str) -> Option<(Cow<'_, str>, String)> {
    let (scheme, rest) = split_scheme(shown)?;
    if let Some(server) = scheme.strip_prefix(WRAP) {
        return Some((Cow::Borrowed(server), decode(rest)?));
    }
    let (server, rest) = rest.strip_prefix("//")?.split_once('~')?;
    // A client may normalise the host part: names of servers are lower case, so this loses nothing.
    let server = if server.bytes().any(|b| b.is_ascii_uppercase()) {
        server.to_ascii_lowercase().into()
    } else {
        server.into()
    };
    Some((server, format!("{scheme}://{rest}")))
}

fn is_wrapped(scheme: &str) -> bool {
    scheme
        .get(..WRAP.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(WRAP))
}

fn split_scheme(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once(':')?;
    let mut bytes = scheme.bytes();
    let valid = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    valid.then_some((scheme, rest))
}

/// Only unreserved characters survive, so that no normalisation (RFC 3986 §6.2.2) changes the text.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    out
}

fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_uris_lead_back() {
        for uri in [
            "file:///etc/hosts",
            "test://static-text",
            "urn:isbn:1?a%20b#é",
            "memo:x",
            "ui://a~b/c",
            // Of another gateway behind this one, or meant to look like it.
            "marque+x:memo%3Ay",
            "marque+x://y",
            "MARQUE+X://y",
            "x://",
        ] {
            let shown = shown_uri("files", uri);
            assert_ne!(shown, uri);
            assert_eq!(
                own_uri(&shown),
                Some(("files".into(), uri.to_owned())),
                "{shown}"
            );
        }
    }

    #[test]
    fn web_addresses_and_other_texts_stay() {
        for uri in ["https://example.com/a", "no scheme", "", "1a://x"] {
            assert_eq!(shown_uri("files", uri), uri);
        }
        assert_eq!(own_uri("file:///etc/hosts"), None);
    }

    #[test]
    fn templates_keep_their_expressions() {
        assert_eq!(
            shown_template("f", "test://t/{id}/data"),
            "test://f~t/{id}/data"
        );
        assert_eq!(shown_template("f", "docs:///{+path}"), "docs://f~/{+path}");
        assert_eq!(shown_template("f", "{scheme}://x"), "{scheme}://x");
    }
}
