//! The kinds of servers that the fixture can be.

use std::path::Path;

/// A kind of server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Every revision from 2024-11-05 to 2026-07-28; Marque finds out.
    AllEras,
    /// The handshake revisions only: what it asks, it pushes.
    LegacyPush,
    /// The handshake revisions only, without sessions and streams: it asks and tells nothing.
    LegacyPlain,
    /// Revision 2026-07-28 only.
    Modern,
    /// Started by Marque, on standard input and output.
    Stdio,
    /// HTTP+SSE, the transport of 2024-11-05, in that revision.
    Sse,
    /// As [`LegacyPush`](Self::LegacyPush), and Marque is told so.
    PinnedLegacy,
    /// As [`Modern`](Self::Modern), and Marque is told so.
    PinnedModern,
}

impl Kind {
    /// How the fixture is started; not at all where Marque does it.
    pub(super) fn arguments(self) -> Option<&'static [&'static str]> {
        Some(match self {
            Self::AllEras => &[],
            Self::LegacyPush | Self::PinnedLegacy => &["--only", "legacy"],
            Self::LegacyPlain => &["--only", "legacy", "--plain"],
            Self::Modern | Self::PinnedModern => &["--only", "modern"],
            Self::Sse => &["--sse"],
            Self::Stdio => return None,
        })
    }

    /// The server in a toolset, without its name.
    pub(super) fn declared(self, url: &str, fixture: &Path) -> String {
        match self {
            Self::AllEras | Self::LegacyPush | Self::LegacyPlain | Self::Modern => {
                format!("url: \"{url}\"")
            }
            Self::PinnedLegacy => format!("url: \"{url}\", protocol: \"2025-11-25\""),
            Self::PinnedModern => format!("url: \"{url}\", protocol: \"2026-07-28\""),
            Self::Sse => format!("url: \"{url}\", transport: SSE"),
            Self::Stdio => format!("command: [\"{}\", --stdio]", fixture.display()),
        }
    }
}
