//! Who is calling.

pub(crate) use auth::Caller;
