//! Names, URIs and header values: what we show leads back to what it stands for.

use std::collections::HashMap;

use proptest::prelude::{any, prop_oneof, proptest};
use proptest::test_runner::Config;
use protocol::mcp::{headers, own_uri, safe_name, shown_uri};

use crate::json::CASES;

/// No hash, but one that tells these texts apart.
fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        state = (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    std::array::from_fn(|at| {
        state
            .rotate_left(u32::try_from(at * 7).unwrap())
            .to_le_bytes()[at % 8]
    })
}

proptest! {
    #![proptest_config(Config::with_cases(CASES))]

    #[test]
    fn header_values_come_back(text in prop_oneof!["\\PC{0,40}", "[ -~]{0,40}", "=\\?base64\\?[A-Za-z0-9+/=]{0,8}\\?=", "[ \t]{0,3}x[ \t]{0,3}"]) {
        let encoded = headers::encode(&text);
        assert!(encoded.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{encoded:?} may stand in a header");
        assert_eq!(encoded.trim(), encoded, "white space around a value is lost on the way");
        assert_eq!(headers::decode(encoded.as_bytes()).unwrap(), text);
    }

    #[test]
    fn any_header_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        drop(headers::decode(&bytes));
    }

    #[test]
    fn uris_lead_back(server in "[a-z][a-z0-9-]{0,10}", uri in prop_oneof!["\\PC{0,30}", "[a-z+]{1,6}://\\PC{0,20}", "[a-z]{1,6}:\\PC{0,20}", "marque\\+[a-z]{1,4}:(//)?[a-z%]{0,9}"]) {
        let shown = shown_uri(&server, &uri);
        if *shown == *uri {
            // Only what a client may fetch by itself, and what is no URI, stays.
            let scheme = uri.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
            assert!(scheme.is_none_or(|scheme| matches!(&*scheme, "http" | "https") || !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || scheme.contains(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c))), "{uri}");
        } else {
            let (found, own) = own_uri(&shown).unwrap();
            assert_eq!((found.as_ref(), own.as_str()), (server.as_str(), uri.as_str()));
        }
    }

    #[test]
    fn names_are_safe_and_stay_apart(names in proptest::collection::vec(prop_oneof!["\\PC{0,12}", "[a-z_.-]{1,80}", "[a-c./]{1,3}"], 1..60)) {
        let mut owners: HashMap<String, String> = HashMap::new();
        for name in names {
            let safe = safe_name(&name, digest).into_owned();
            assert!((1..=64).contains(&safe.len()), "{name:?}: {safe}");
            assert!(safe.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'), "{safe}");
            assert_eq!(safe_name(&safe, digest), safe, "a safe name stays");
            let owner = owners.entry(safe).or_insert_with(|| name.clone());
            assert_eq!(*owner, name, "two names are shown as one");
        }
    }
}
