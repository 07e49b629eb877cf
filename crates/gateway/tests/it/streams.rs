//! Everything that travels beside answers: progress, logs, questions, changes; and whose it is.

mod broken;
mod carried;
mod changes;
mod flow;
mod older;
mod questions;
mod resume;
mod tenants;
