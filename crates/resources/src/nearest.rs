//! The nearest known name, for people who mistype.

/// How long a name may be to be compared at all.
const WRITTEN_BYTES_MAX: usize = 128;

/// Finds the known name nearest to what was written, if one is near enough: a third of its letters may differ.
pub(crate) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if written.len() > WRITTEN_BYTES_MAX {
        return None;
    }
    let lower = written.to_lowercase();
    known
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&lower, &name.to_lowercase()),
                name,
            )
        })
        .filter(|(distance, name)| {
            let letters = name.chars().count().max(lower.chars().count());
            *distance <= (letters / 3).max(1) && *distance < letters
        })
        // The first of equals wins, so that the answer does not depend on chance.
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Says "did you mean X?", or else lists what is known.
pub(crate) fn suggest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
    what: &str,
) -> String {
    const LISTED_MAX: usize = 20;
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(name) = nearest(written, known.iter().copied()) {
        return format!("did you mean `{name}`?");
    }
    if known.is_empty() {
        return format!("no {what} is declared");
    }
    let more = if known.len() > LISTED_MAX {
        ", …"
    } else {
        ""
    };
    let list: Vec<String> = known
        .iter()
        .take(LISTED_MAX)
        .map(|name| format!("`{name}`"))
        .collect();
    format!("known: {}{more}", list.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_find_their_name() {
        let known = ["url", "command", "transport", "prefix"];
        for (written, name) in [
            ("ulr", "url"),
            ("comand", "command"),
            ("Prefix", "prefix"),
            ("transports", "transport"),
        ] {
            assert_eq!(nearest(written, known), Some(name));
        }
        assert_eq!(nearest("zzz", known), None);
        assert_eq!(nearest("a", ["b"]), None);
    }
}
