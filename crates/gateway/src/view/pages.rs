//! A merged list, rendered once and served many times.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use protocol::json::quote;
use protocol::mcp::Era;

use super::{Degraded, Digest, short_digest};
use crate::inventory::ListKind;

/// The most items of one page.
const PAGE_ITEMS_MAX: usize = 1000;
/// A page is closed once it holds this many bytes.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
const CURSOR_BYTES: usize = 16 + 4;

/// One list in pages, each a whole `result`.
#[derive(Debug)]
pub(crate) struct Pages {
    results: Vec<Bytes>,
    /// What clients can see of the list.
    pub(crate) digest: Digest,
    /// How many items it has.
    pub(crate) count: usize,
}

/// What a cursor leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Page<'a> {
    /// This page.
    Found(&'a Bytes),
    /// The list has changed, or the cursor is not ours: start over.
    Unknown,
}

/// What stands in every page beside its items.
pub(super) struct Tail<'a> {
    pub(super) era: Era,
    pub(super) cache_hints: &'a str,
    pub(super) degraded: &'a [Degraded],
}

impl Pages {
    pub(super) fn render(kind: ListKind, items: &[String], tail: &Tail<'_>) -> Self {
        let digest = short_digest(items.join("\n").as_bytes());
        let cuts = cuts(items);
        let last = cuts.len() - 1;
        let results = cuts.iter().enumerate().map(|(at, range)| {
            let next = (at < last).then(|| cursor(&digest, at + 1));
            render(kind, &items[range.clone()], next.as_deref(), tail)
        });
        Self {
            results: results.collect(),
            digest,
            count: items.len(),
        }
    }

    /// The page behind a client's cursor; the first when there is none.
    pub(crate) fn page(&self, cursor: Option<&str>) -> Page<'_> {
        let at = match cursor {
            None => Some(0),
            Some(cursor) => self.position(cursor),
        };
        at.and_then(|at| self.results.get(at))
            .map_or(Page::Unknown, Page::Found)
    }

    /// A cursor holds no secret and opens nothing: it is a position in a list that is authorized anew for every page.
    fn position(&self, cursor: &str) -> Option<usize> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (digest, at) = bytes.split_at_checked(16)?;
        if bytes.len() != CURSOR_BYTES || digest != self.digest {
            return None;
        }
        usize::try_from(u32::from_be_bytes(at.try_into().ok()?)).ok()
    }
}

fn cuts(items: &[String]) -> Vec<std::ops::Range<usize>> {
    let mut cuts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, item) in items.iter().enumerate() {
        if at - start >= PAGE_ITEMS_MAX || (bytes > 0 && bytes + item.len() > PAGE_BYTES_MAX) {
            cuts.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += item.len();
    }
    cuts.push(start..items.len());
    cuts
}

fn cursor(digest: &Digest, at: usize) -> String {
    let at = u32::try_from(at).expect("a list has fewer than 2^32 pages");
    URL_SAFE_NO_PAD.encode([digest.as_slice(), &at.to_be_bytes()].concat())
}

fn render(kind: ListKind, items: &[String], next: Option<&str>, tail: &Tail<'_>) -> Bytes {
    let mut out =
        String::with_capacity(items.iter().map(|item| item.len() + 1).sum::<usize>() + 256);
    write!(out, "{{\"{}\":[", kind.member()).expect("writing to a string cannot fail");
    for (at, item) in items.iter().enumerate() {
        out.push_str(if at > 0 { "," } else { "" });
        out.push_str(item);
    }
    out.push(']');
    if let Some(next) = next {
        write!(out, ",\"nextCursor\":\"{next}\"").expect("writing to a string cannot fail");
    }
    if tail.era == Era::Modern {
        write!(out, ",\"resultType\":\"complete\",{}", tail.cache_hints)
            .expect("writing to a string cannot fail");
    }
    if !tail.degraded.is_empty() {
        let parts: Vec<String> = tail
            .degraded
            .iter()
            .map(|part| {
                format!(
                    "{{\"server\":{},\"state\":\"{}\"}}",
                    quote(&part.server),
                    part.state.word()
                )
            })
            .collect();
        write!(
            out,
            ",\"_meta\":{{\"dev.marque/degraded\":[{}]}}",
            parts.join(",")
        )
        .expect("writing to a string cannot fail");
    }
    out.push('}');
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(count: usize) -> Pages {
        let items: Vec<String> = (0..count)
            .map(|at| format!("{{\"name\":\"t{at}\"}}"))
            .collect();
        Pages::render(
            ListKind::Tools,
            &items,
            &Tail {
                era: Era::Legacy,
                cache_hints: "",
                degraded: &[],
            },
        )
    }

    #[test]
    fn following_cursors_shows_every_item_once() {
        let list = pages(2 * PAGE_ITEMS_MAX + 1);
        let (mut names, mut next) = (Vec::new(), None::<String>);
        loop {
            let Page::Found(page) = list.page(next.as_deref()) else {
                unreachable!("own cursors are known")
            };
            let page: serde_json::Value = serde_json::from_slice(page).unwrap();
            names.extend(
                page["tools"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|tool| tool["name"].as_str().unwrap().to_owned()),
            );
            next = page["nextCursor"].as_str().map(str::to_owned);
            if next.is_none() {
                break;
            }
        }
        let expected: Vec<String> = (0..=2 * PAGE_ITEMS_MAX)
            .map(|at| format!("t{at}"))
            .collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn foreign_and_old_cursors_are_unknown() {
        let list = pages(PAGE_ITEMS_MAX + 1);
        let old = cursor(&pages(3).digest, 1);
        for cursor in ["", "abc", "!!!", &old, &cursor(&list.digest, 2)] {
            assert_eq!(list.page(Some(cursor)), Page::Unknown, "{cursor:?}");
        }
    }
}
