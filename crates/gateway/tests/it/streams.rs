//! Everything that travels beside answers: progress, logs, questions, changes; and whose it is.

mod carried;
mod changes;
mod flow;
mod questions;
mod tenants;
