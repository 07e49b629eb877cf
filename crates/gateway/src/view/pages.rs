//! A merged list, rendered once and served many times.

use std::fmt::Write as _;

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
    results: Vec<Text>,
    /// What clients can see of the list.
    pub(crate) digest: Digest,
    /// How many items it has.
    pub(crate) count: usize,
}

/// One page: what stands before its cursor, where that leads, and what stands behind it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) head: Bytes,
    /// The position of the next page, to be sealed for whoever asks.
    pub(crate) next: Option<[u8; CURSOR_BYTES]>,
    pub(crate) tail: Bytes,
}

/// What a cursor leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Page<'a> {
    /// This page.
    Found(&'a Text),
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
            render(kind, &items[range.clone()], next, tail)
        });
        Self {
            results: results.collect(),
            digest,
            count: items.len(),
        }
    }

    /// The page at a position; the first when there is none.
    pub(crate) fn page(&self, position: Option<&[u8]>) -> Page<'_> {
        let at = match position {
            None => Some(0),
            Some(position) => self.at(position),
        };
        at.and_then(|at| self.results.get(at))
            .map_or(Page::Unknown, Page::Found)
    }

    /// A position is one in this very list, and is authorized anew for every page.
    fn at(&self, position: &[u8]) -> Option<usize> {
        let (digest, at) = position.split_at_checked(16)?;
        if position.len() != CURSOR_BYTES || digest != self.digest {
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

fn cursor(digest: &Digest, at: usize) -> [u8; CURSOR_BYTES] {
    let at = u32::try_from(at).expect("a list has fewer than 2^32 pages");
    let mut position = [0; CURSOR_BYTES];
    position[..digest.len()].copy_from_slice(digest);
    position[digest.len()..].copy_from_slice(&at.to_be_bytes());
    position
}

fn render(
    kind: ListKind,
    items: &[String],
    next: Option<[u8; CURSOR_BYTES]>,
    tail: &Tail<'_>,
) -> Text {
    let mut out =
        String::with_capacity(items.iter().map(|item| item.len() + 1).sum::<usize>() + 256);
    write!(out, "{{\"{}\":[", kind.member()).expect("writing to a string cannot fail");
    for (at, item) in items.iter().enumerate() {
        out.push_str(if at > 0 { "," } else { "" });
        out.push_str(item);
    }
    out.push(']');
    let head = Bytes::from(std::mem::take(&mut out));
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
    Text {
        head,
        next,
        tail: out.into(),
    }
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
        let (mut names, mut next) = (Vec::new(), None);
        loop {
            let Page::Found(found) = list.page(next.as_ref().map(<[u8; CURSOR_BYTES]>::as_slice))
            else {
                unreachable!("own cursors are known")
            };
            let whole = [&found.head[..], &found.tail].concat();
            let page: serde_json::Value = serde_json::from_slice(&whole).unwrap();
            names.extend(
                page["tools"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|tool| tool["name"].as_str().unwrap().to_owned()),
            );
            next = found.next;
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
        let behind = cursor(&list.digest, 2);
        for cursor in [&b""[..], b"abc", &old, &behind] {
            assert_eq!(list.page(Some(cursor)), Page::Unknown, "{cursor:?}");
        }
    }
}
