//! Who is calling.

/// Who is behind a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Nobody has proved anything.
    Anonymous,
}
