//! How keys are shown.

use comfy_table::{Table, presets::NOTHING};
use jiff::Timestamp;
use serde_json::{Value, json};
use store::KeyRecord;

/// A moment in UTC, as RFC 3339 writes it.
pub(super) fn time(seconds: u64) -> String {
    let moment = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok());
    moment.map_or_else(|| seconds.to_string(), |moment| moment.to_string())
}

/// Whether it opens doors at this moment.
fn state(key: &KeyRecord, now: u64) -> &'static str {
    match key {
        key if key.revoked.is_some() => "revoked",
        key if key.expires.is_some_and(|expires| expires <= now) => "expired",
        _ => "active",
    }
}

pub(super) fn json(key: &KeyRecord, now: u64) -> Value {
    json!({
        "name": key.name,
        "id": key.id,
        "state": state(key, now),
        "created": time(key.created),
        "expires": key.expires.map(time),
        "revoked": key.revoked.map(time),
    })
}

pub(super) fn table(keys: &[KeyRecord], now: u64) -> String {
    let mut table = Table::new();
    let heads = ["NAME", "STATE", "CREATED", "EXPIRES", "ID"];
    table.load_preset(NOTHING).set_header(heads);
    for key in keys {
        let expires = key.expires.map_or_else(|| "never".to_owned(), time);
        let state = state(key, now).to_owned();
        let created = time(key.created);
        table.add_row([key.name.clone(), state, created, expires, key.id.clone()]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let drawn = table.to_string();
    let lines: Vec<&str> = drawn.lines().map(str::trim_end).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_which_keys_open_doors() {
        let key = |name: &str, expires, revoked| KeyRecord {
            id: format!("id-{name}"),
            name: name.to_owned(),
            hash: [0; 32],
            created: 1_700_000_000,
            expires,
            revoked,
        };
        let (now, later) = (1_700_000_100, 1_700_000_200);
        let keys = [
            key("a", None, None),
            key("b", Some(now), None),
            key("c", Some(later), Some(now)),
        ];
        let expected = "\
NAME  STATE    CREATED               EXPIRES               ID
a     active   2023-11-14T22:13:20Z  never                 id-a
b     expired  2023-11-14T22:13:20Z  2023-11-14T22:15:00Z  id-b
c     revoked  2023-11-14T22:13:20Z  2023-11-14T22:16:40Z  id-c";
        assert_eq!(table(&keys, now), expected);
        assert_eq!(time(u64::MAX), u64::MAX.to_string());
    }
}
