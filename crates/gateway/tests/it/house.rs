//! A gateway on a free port, with scripted servers behind it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use gateway::{Door, Doors, Gateway, Settings};
use resources::{Finding, ResourceSet, Values};
use serde_json::Value;
use tokio::task::JoinSet;
use transport::inbound::{self, Limits, ListenSpec, drain};

use crate::scripted::{Offer, Scripted};

/// A gateway on a free port, with scripted servers behind it. Everything ends when it is dropped.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) servers: BTreeMap<String, Scripted>,
    pub(crate) gateway: Arc<Gateway>,
    authority: String,
    _drain: drain::Trigger,
    _tasks: JoinSet<()>,
}

impl House {
    /// Starts the servers, then the gateway with `documents`, in which `${URL_name}` stands for a server's URL.
    pub(crate) async fn start(
        documents: &str,
        offers: &BTreeMap<String, Offer>,
    ) -> anyhow::Result<Self> {
        let mut servers = BTreeMap::new();
        for (name, offer) in offers {
            servers.insert(name.clone(), Scripted::start(name, offer.clone()).await?);
        }
        let set =
            set(&filled(documents, &servers)).map_err(|found| anyhow::anyhow!(shown(&found)))?;
        let settings = Settings::alone(PathBuf::from("marque"));
        let gateway =
            Gateway::start(&set, settings).map_err(|found| anyhow::anyhow!(shown(&found)))?;
        let spec = ListenSpec {
            address: "127.0.0.1:0".parse()?,
            tls: None,
            listener: 0,
        };
        let bound = inbound::bind(&spec).await?;
        let authority = bound.local_address().to_string();
        let (trigger, watch) = drain::channel();
        let doors = Doors::new(gateway.clone(), vec![Door::loopback()]);
        let mut tasks = JoinSet::new();
        tasks.spawn(inbound::serve(
            bound,
            doors,
            Arc::new(Limits::default()),
            watch,
        ));
        Ok(Self {
            servers,
            gateway,
            authority,
            _drain: trigger,
            _tasks: tasks,
        })
    }

    /// Replaces what is declared.
    pub(crate) fn apply(&self, documents: &str) -> Result<(), Vec<Finding>> {
        self.gateway.apply(&set(&filled(documents, &self.servers))?)
    }

    /// The URL of an endpoint.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }

    /// The path of the first toolset by name.
    pub(crate) fn first_path(&self) -> String {
        self.gateway
            .report()
            .toolsets
            .first()
            .map(|toolset| toolset.path.clone())
            .unwrap_or_default()
    }

    /// The report as JSON.
    pub(crate) fn report(&self) -> Value {
        self.gateway.refresh();
        serde_json::to_value(self.gateway.report()).unwrap()
    }

    pub(crate) fn server(&self, name: &str) -> anyhow::Result<&Scripted> {
        self.servers
            .get(name)
            .with_context(|| format!("there is no server `{name}`"))
    }

    pub(crate) fn server_mut(&mut self, name: &str) -> anyhow::Result<&mut Scripted> {
        self.servers
            .get_mut(name)
            .with_context(|| format!("there is no server `{name}`"))
    }
}

fn filled(documents: &str, servers: &BTreeMap<String, Scripted>) -> String {
    servers
        .iter()
        .fold(documents.to_owned(), |text, (name, server)| {
            text.replace(&format!("${{URL_{name}}}"), &server.url())
        })
}

fn set(documents: &str) -> Result<ResourceSet, Vec<Finding>> {
    let parsed = resources::parse("story.yaml", None, documents);
    let mut findings = parsed.findings;
    let built = resources::build(&parsed.documents, Values::default());
    findings.extend(built.findings);
    if findings.iter().any(Finding::is_error) {
        return Err(findings);
    }
    built.set.ok_or(findings)
}

/// Findings one per line.
pub(crate) fn shown(findings: &[Finding]) -> String {
    findings
        .iter()
        .map(|finding| format!("{finding}\n"))
        .collect()
}
