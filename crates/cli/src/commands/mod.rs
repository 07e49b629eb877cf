//! One module per command: its arguments, and what it does.

pub(crate) mod up;

pub(crate) mod check;

pub(crate) mod keys;

pub(crate) mod tools;

pub(crate) mod sample;
pub(crate) mod schema;

pub(crate) mod completions;
pub(crate) mod supervise;
