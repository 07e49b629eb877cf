//! Names that every hosted model accepts.

use std::borrow::Cow;

/// The longest shown name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
const HASH_CHARS: usize = 8;

/// `name` if it is made of `[A-Za-z0-9_-]{1,64}`, else a safe form of it with a suffix from its hash.
///
/// `digest` hashes bytes; its first 40 bits are used. The result is deterministic; the caller checks for collisions.
pub fn safe_name(name: &str, digest: impl Fn(&[u8]) -> [u8; 32]) -> Cow<'_, str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(allowed) {
        return Cow::Borrowed(name);
    }
    let mut safe: String = name
        .chars()
        .map(|c| {
            if u8::try_from(c).is_ok_and(allowed) {
                c
            } else {
                '_'
            }
        })
        .collect();
    safe.truncate(NAME_BYTES_MAX - HASH_CHARS - 1);
    safe.push('_');
    safe.push_str(&base32(&digest(name.as_bytes())));
    Cow::Owned(safe)
}

/// The first 40 bits in lower-case letters and digits.
fn base32(hash: &[u8; 32]) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bits = hash[..5]
        .iter()
        .fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
    (0..HASH_CHARS)
        .rev()
        .map(|at| char::from(LETTERS[usize::try_from((bits >> (at * 5)) & 31).expect("five bits")]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toy_digest(bytes: &[u8]) -> [u8; 32] {
        let mut out = [0_u8; 32];
        for (at, byte) in bytes.iter().enumerate() {
            out[at % 5] = out[at % 5].wrapping_mul(31).wrapping_add(*byte);
        }
        out
    }

    #[test]
    fn safe_names_stay() {
        assert_eq!(safe_name("read_file-2", toy_digest), "read_file-2");
    }

    #[test]
    fn strange_and_long_names_get_a_stable_suffix() {
        let dotted = safe_name("a.b", toy_digest).into_owned();
        assert_eq!(dotted, safe_name("a.b", toy_digest));
        assert_ne!(dotted, safe_name("a/b", toy_digest));
        for name in ["", "é", &"x".repeat(65), "a b"] {
            let safe = safe_name(name, toy_digest);
            assert!(
                safe.len() <= NAME_BYTES_MAX
                    && safe.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'),
                "{safe}"
            );
        }
    }
}
