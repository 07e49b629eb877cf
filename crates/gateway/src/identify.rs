//! Who is calling.

use std::time::Instant;

use auth::{KeyDirectory, NotAccepted};
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use crate::refuse::Refusal;

pub(crate) use auth::Caller;

/// The one way in which a caller proves who it is (RFC 6750, 2.1). Never by the query: that ends up in logs.
const SCHEME: &[u8] = b"bearer ";

/// Who sends these headers. Whoever presents a credential is known by it or refused, and never becomes anonymous.
///
/// # Errors
/// [`Refusal::Credential`], and [`Refusal::CredentialUnknown`] when it cannot be told.
pub(crate) fn caller(headers: &HeaderMap, keys: &KeyDirectory) -> Result<Caller, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(Caller::Anonymous);
    };
    if values.next().is_some() {
        return Err(Refusal::DoubledHeader("Authorization"));
    }
    let token = bearer(value).ok_or(Refusal::Credential)?;
    keys.caller(token, Instant::now()).map_err(refused)
}

/// Whether a caller whom another replica has identified is still known here.
///
/// # Errors
/// As [`caller`].
pub(crate) fn still(caller: &Caller, keys: &KeyDirectory) -> Result<(), Refusal> {
    keys.still(caller, Instant::now()).map_err(refused)
}

fn refused(refused: NotAccepted) -> Refusal {
    match refused {
        NotAccepted::Invalid => Refusal::Credential,
        NotAccepted::Unknown => Refusal::CredentialUnknown,
    }
}

/// The token of `Bearer TOKEN`; the scheme is not case-sensitive (RFC 9110, 11.1).
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked(SCHEME.len())?;
    scheme
        .eq_ignore_ascii_case(SCHEME)
        .then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&'static str]) -> Result<Caller, Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        caller(&headers, &KeyDirectory::empty())
    }

    #[test]
    fn only_silence_is_anonymous() {
        assert!(matches!(of(&[]), Ok(Caller::Anonymous)));
        for credential in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer x",
            "Basic YTpi",
            "mk_x",
            "Bearer  mk_x",
        ] {
            assert!(
                matches!(of(&[credential]), Err(Refusal::Credential)),
                "{credential}"
            );
        }
        assert!(matches!(
            of(&["Bearer x", "Bearer x"]),
            Err(Refusal::DoubledHeader("Authorization"))
        ));
    }

    #[test]
    fn the_scheme_is_not_case_sensitive() {
        for value in ["Bearer mk_x", "bearer mk_x", "BEARER   mk_x "] {
            let value = HeaderValue::from_static(value);
            assert_eq!(bearer(&value), Some(&b"mk_x"[..]));
        }
        assert_eq!(bearer(&HeaderValue::from_static("Bearer\tmk_x")), None);
    }
}
