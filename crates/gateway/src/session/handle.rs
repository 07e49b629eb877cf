//! What `Mcp-Session-Id` says to us: everything of a session that never changes.

use std::fmt;

use protocol::mcp::Version;

use super::Client;
use crate::handles::{INCARNATION_BYTES, Incarnation, random};

/// Capabilities and client info that fit into a handle, together, in bytes; longer ones stand in the store.
///
/// With it the longest handle has 845 bytes, well under the 1 KiB that every proxy lets pass.
pub(crate) const CLIENT_SEALED_BYTES_MAX: usize = 560;
const UID_BYTES: usize = 16;
const EXPIRY_BYTES: usize = 8;

/// 128 random bits that name a session for all time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionId(pub(crate) [u8; UID_BYTES]);

impl SessionId {
    pub(super) fn fresh() -> Self {
        Self(random())
    }
}

/// It opens nothing by itself, but it does not belong in a log either.
impl fmt::Debug for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02x}{:02x}…", self.0[0], self.0[1])
    }
}

/// What is sealed in a session's handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// Who opened it.
    pub(crate) owner: Incarnation,
    /// Which it is.
    pub(crate) id: SessionId,
    /// When it ends, used or not, in seconds since 1970.
    pub(crate) expires_at: u64,
    /// The revision agreed on.
    pub(crate) version: Version,
    /// Capabilities and client info, raw JSON; none when they were too long and stand in the record.
    pub(crate) client: Option<(Box<str>, Box<str>)>,
}

impl Told {
    /// What a new session's handle tells.
    pub(crate) fn new(owner: Incarnation, expires_at: u64, client: &Client) -> Self {
        let (capabilities, info) = (&client.capabilities, &client.client_info);
        let fits = fits(capabilities, info);
        Self {
            owner,
            id: SessionId::fresh(),
            expires_at,
            version: client.version,
            client: fits.then(|| (capabilities.clone(), info.clone())),
        }
    }

    /// Owner, session, expiry, revision, then the length of the capabilities, the capabilities and the info, if they fit.
    pub(crate) fn plain(&self) -> Vec<u8> {
        let mut plain = Vec::with_capacity(64 + CLIENT_SEALED_BYTES_MAX);
        plain.extend_from_slice(&self.owner.0);
        plain.extend_from_slice(&self.id.0);
        plain.extend_from_slice(&self.expires_at.to_be_bytes());
        let version = Version::ALL.iter().position(|known| *known == self.version);
        plain.extend(version.and_then(|at| u8::try_from(at).ok()));
        if let Some((capabilities, info)) = &self.client {
            let length = u16::try_from(capabilities.len()).expect("it fits into a handle");
            plain.extend_from_slice(&length.to_be_bytes());
            plain.extend_from_slice(capabilities.as_bytes());
            plain.extend_from_slice(info.as_bytes());
        }
        plain
    }

    /// Reads [`plain`](Self::plain) again; `None` for what is sealed for other ends.
    pub(crate) fn read(plain: &[u8]) -> Option<Self> {
        let (owner, rest) = plain.split_first_chunk::<INCARNATION_BYTES>()?;
        let (id, rest) = rest.split_first_chunk::<UID_BYTES>()?;
        let (expiry, rest) = rest.split_first_chunk::<EXPIRY_BYTES>()?;
        let (version, client) = rest.split_first()?;
        let client = if client.is_empty() {
            None
        } else {
            let (length, texts) = client.split_first_chunk::<2>()?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (capabilities, info) = texts.split_at_checked(length)?;
            let text = |bytes| std::str::from_utf8(bytes).ok().map(Box::from);
            Some((text(capabilities)?, text(info)?))
        };
        Some(Self {
            owner: Incarnation(*owner),
            id: SessionId(*id),
            expires_at: u64::from_be_bytes(*expiry),
            version: *Version::ALL.get(usize::from(*version))?,
            client,
        })
    }
}

/// Whether what a client says of itself stands in the handle; else it stands in the record.
pub(super) const fn fits(capabilities: &str, info: &str) -> bool {
    capabilities.len() + info.len() <= CLIENT_SEALED_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use auth::{Caller, Purpose};

    use super::*;
    use crate::handles::Handles;

    /// Longest in each respect.
    fn client(capabilities: usize, info: usize) -> Client {
        Client {
            version: Version::V2025_06_18,
            capabilities: "c".repeat(capabilities).into(),
            client_info: "i".repeat(info).into(),
        }
    }

    #[test]
    fn what_is_told_is_read_again() {
        for (capabilities, info, sealed) in [
            (2, 40, true),
            (0, CLIENT_SEALED_BYTES_MAX, true),
            (CLIENT_SEALED_BYTES_MAX, 1, false),
        ] {
            let told = Told::new(Incarnation([9; 8]), 1 << 40, &client(capabilities, info));
            assert_eq!(told.client.is_some(), sealed);
            assert_eq!(Told::read(&told.plain()), Some(told));
        }
    }

    #[test]
    fn a_handle_is_at_most_1_kib_and_visible_ascii() {
        let handles = Handles::fleeting();
        let told = Told::new(handles.own(), u64::MAX, &client(280, 280));
        assert!(told.client.is_some());
        let text = handles.seal(
            Purpose::Session,
            &Caller::Anonymous,
            &"toolset".repeat(99),
            &told.plain(),
        );
        assert!(text.len() <= 1024, "{}", text.len());
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
    }

    #[test]
    fn a_cut_plain_text_is_nothing() {
        let told = Told::new(Incarnation([1; 8]), 7, &client(20, 20));
        let plain = told.plain();
        for length in 0..35 {
            let read = Told::read(&plain[..length]);
            // Without a client it is what a session with a record has.
            assert_eq!(read.is_some(), length == 33, "{length}");
        }
    }
}
