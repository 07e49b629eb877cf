//! What is served, for people and for readiness.

use protocol::mcp::Era;
use resources::FailureMode;
use serde::Serialize;

use crate::gateway::Gateway;
use crate::inventory::ListKind;
use crate::server::{Server, Status};
use crate::table::Toolset;

/// What is served now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether every server has answered at least once, or given up.
    pub settled: bool,
    /// Whether everything that is required is there.
    pub ready: bool,
    /// The endpoints.
    pub toolsets: Vec<ToolsetReport>,
    /// The servers.
    pub servers: Vec<ServerReport>,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolsetReport {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// The listeners that serve it, by number.
    pub listeners: Vec<usize>,
    /// Tools shown to modern and to legacy clients.
    pub tools: [usize; 2],
    /// Its servers, by identity.
    pub servers: Vec<String>,
    /// What is not shown, and why.
    pub problems: Vec<String>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerReport {
    /// Its identity.
    pub id: String,
    /// What is known in the modern era.
    pub modern: EraReport,
    /// What is known in the legacy era.
    pub legacy: EraReport,
}

/// What is known of a server in one era.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum EraReport {
    /// The first attempt is under way.
    Starting,
    /// It does not speak this era.
    NotSpoken {
        /// How we know.
        reason: String,
    },
    /// It is there.
    Ready {
        /// The revision spoken.
        version: &'static str,
        /// How many tools it lists.
        tools: usize,
        /// How many prompts it lists.
        prompts: usize,
        /// How many resources it lists.
        resources: usize,
        /// Items left out, and why.
        problems: Vec<String>,
    },
    /// It is not there.
    Down {
        /// What happened.
        reason: String,
        /// For how long, in seconds.
        for_secs: u64,
    },
}

impl Gateway {
    /// Whether everything that is required is there; cheap enough for anybody to ask.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let table = self.table();
        table.paths.values().all(|toolset| is_ready(toolset))
    }

    /// What is served now. Servers are as they are; what toolsets show may be some milliseconds older, unless [`Gateway::refresh`] was called.
    #[must_use]
    pub fn report(&self) -> Report {
        let table = self.table();
        let mut toolsets: Vec<ToolsetReport> = table
            .paths
            .values()
            .map(|toolset| of_toolset(toolset))
            .collect();
        toolsets.sort_by(|a, b| a.name.cmp(&b.name));
        let servers: Vec<ServerReport> = table
            .servers
            .values()
            .map(|kept| of_server(&kept.server))
            .collect();
        let settled = servers
            .iter()
            .all(|server| !is_starting(&server.modern) && !is_starting(&server.legacy));
        let ready = self.is_ready();
        Report {
            settled,
            ready,
            toolsets,
            servers,
        }
    }
}

fn of_toolset(toolset: &Toolset) -> ToolsetReport {
    let [modern, legacy] = [Era::Modern, Era::Legacy].map(|era| toolset.view(era));
    let mut problems = modern.problems.clone();
    problems.extend(
        legacy
            .problems
            .iter()
            .filter(|problem| !modern.problems.contains(problem))
            .cloned(),
    );
    ToolsetReport {
        name: toolset.name.to_string(),
        path: toolset.path.to_string(),
        listeners: toolset.listeners.clone(),
        tools: [&modern, &legacy].map(|view| view.pages(ListKind::Tools).count),
        servers: toolset
            .bindings
            .iter()
            .map(|binding| binding.kept.server.id.to_string())
            .collect(),
        problems,
    }
}

fn of_server(server: &Server) -> ServerReport {
    ServerReport {
        id: server.id.to_string(),
        modern: of_era(server, Era::Modern),
        legacy: of_era(server, Era::Legacy),
    }
}

fn of_era(server: &Server, era: Era) -> EraReport {
    match server.status(era) {
        Status::Starting => EraReport::Starting,
        Status::NotSpoken(reason) => EraReport::NotSpoken {
            reason: reason.to_string(),
        },
        Status::Down { reason, since, .. } => EraReport::Down {
            reason: reason.to_string(),
            for_secs: since.elapsed().as_secs(),
        },
        Status::Ready(inventory) => EraReport::Ready {
            version: inventory.version.as_str(),
            tools: inventory.list(ListKind::Tools).len(),
            prompts: inventory.list(ListKind::Prompts).len(),
            resources: inventory.list(ListKind::Resources).len()
                + inventory.list(ListKind::Templates).len(),
            problems: inventory.problems.clone(),
        },
    }
}

const fn is_starting(era: &EraReport) -> bool {
    matches!(era, EraReport::Starting)
}

/// A toolset is ready when no server that it requires is missing in every era.
fn is_ready(toolset: &Toolset) -> bool {
    let servers = toolset.bindings.iter().map(|binding| &binding.kept.server);
    let mut required = servers.filter(|server| server.failure_mode == FailureMode::Required);
    required.all(|server| {
        [Era::Modern, Era::Legacy]
            .iter()
            .any(|era| server.status(*era).inventory().is_some())
    })
}
