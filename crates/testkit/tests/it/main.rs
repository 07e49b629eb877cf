//! Tests of the fixtures themselves.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod balancer;
mod fixture;
mod raw;
