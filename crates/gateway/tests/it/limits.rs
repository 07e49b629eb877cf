//! Clients that misbehave: one refusal each, with the status, code and id the specification wants.

mod bodies;
mod doors;
mod headers;
mod leaving;
mod sessions;
