//! Servers that misbehave: one failed call each, with words that name the server.

mod answers;
mod eras;
mod outages;
pub(crate) mod programs;
mod timing;
