//! `docs:///guide/start.md`: a file of the folder as a resource.
//!
//! Not `file://`, which would promise a place on this machine that the client could open itself.

const PREFIX: &str = "docs:///";

/// Says a path of the folder as a URI.
pub(super) fn from_path(path: &str) -> String {
    let mut uri = String::from(PREFIX);
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(byte.into());
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

/// Reads the path out of a URI; `None` where it is not one of ours.
pub(super) fn to_path(uri: &str) -> Option<String> {
    let mut rest = uri.strip_prefix(PREFIX)?.as_bytes();
    let mut path = Vec::with_capacity(rest.len());
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            path.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        path.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    let path = String::from_utf8(path).ok()?;
    (!path.is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_survives_the_way_there_and_back() {
        for path in ["a.md", "deep/er/a b.md", "ä%20/ß?#.txt", "100%.md"] {
            assert_eq!(to_path(&from_path(path)).as_deref(), Some(path));
        }
        assert_eq!(from_path("a b/ü.md"), "docs:///a%20b/%C3%BC.md");
    }

    #[test]
    fn foreign_and_broken_uris_are_none() {
        for uri in [
            "file:///a.md",
            "docs://host/a.md",
            "docs:///",
            "docs:///%2",
            "docs:///%FF",
        ] {
            assert_eq!(to_path(uri), None, "{uri}");
        }
    }
}
