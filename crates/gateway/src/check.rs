//! The same checks as a start, without starting anything.

use std::path::PathBuf;
use std::sync::Arc;

use resources::{Finding, ResourceSet};
use tokio::sync::Notify;

use crate::server::Server;

/// Everything the data plane cannot use in these resources. Nothing is contacted or started.
#[must_use]
pub fn check(set: &ResourceSet) -> Vec<Finding> {
    let (supervisor, bell) = (PathBuf::from("marque"), Arc::new(Notify::new()));
    let servers = set.servers.values();
    let mut findings: Vec<Finding> = servers
        .filter_map(|server| Server::new(set, server, &supervisor, bell.clone()).err())
        .map(|found| *found)
        .collect();
    for toolset in &set.toolsets {
        let bad = toolset
            .backends
            .iter()
            .filter_map(|backend| backend.selection.filter().err());
        findings.extend(
            bad.map(|error| {
                Finding::error("bad-glob", error.to_string()).about(toolset.id.clone())
            }),
        );
    }
    findings
}
