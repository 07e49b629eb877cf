//! Serving, from the first look at the folder to the last call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway::{Doors, Gateway, Handles, Settings, serve_stdio_until};
use resources::ResourceSet;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use transport::inbound::{Limits, drain};

use super::callers::Callers;
use super::listeners::{self, Plan};
use super::reload::Reloads;
use super::stop::Stop;
use super::{Admin, UpArgs, admin, announce, keys, replicas};
use crate::commands::check::program;

/// How long servers' sessions may take to end.
const END_WAIT: Duration = Duration::from_secs(3);
/// How long requests of other replicas may take to finish, at least.
const PEER_DRAIN_WAIT: Duration = Duration::from_secs(1);

/// Serves until a signal, or until the one client on stdin has left.
pub(super) async fn run(args: &UpArgs) -> Result<(), Stop> {
    let (reloads, set) = Reloads::start(&args.paths, !args.no_watch)?;
    let mut signals = Signals::new()?;
    let handles = Arc::new(Handles::new(keys::of_handles(args)?));
    let settings = Settings {
        replicas: replicas::join(args, handles.own())?,
        handles,
        ..Settings::alone(program()?)
    };
    if args.stdio {
        let gateway = Gateway::start(&set, settings).map_err(Stop::Findings)?;
        return over_stdio(args, gateway, &set, reloads, &mut signals).await;
    }
    let callers = Callers::open(&args.state).await?;
    let plan = listeners::plan(args, &set, callers.can_have_keys())?;
    let replicas = settings.replicas.clone();
    let settings = Settings {
        store: callers.store.clone(),
        ..settings
    };
    let bound = plan.bind().await?;
    let peer_bound = replicas::bind(args).await?;
    let gateway = Gateway::start(&set, settings).map_err(Stop::Findings)?;
    let (trigger, watch) = drain::channel();
    let keys = callers.keys.clone();
    let doors = Doors::with_keys(gateway.clone(), plan.doors(&bound), keys);
    let urls = plan.urls(&set, &bound);
    let mut tasks = JoinSet::new();
    callers.follow(&mut tasks);
    let limits = Arc::new(Limits::default());
    let peers = peer_bound.map(|bound| replicas::serve(bound, doors.clone(), &mut tasks));
    // A request must not be taken for a dead replica's because the living ones are not known yet.
    replicas.greet().await;
    for bound in bound {
        tasks.spawn(transport::inbound::serve(
            bound,
            doors.clone(),
            limits.clone(),
            watch.clone(),
        ));
    }
    let state = reloads.state();
    if let Admin::At(address) = args.admin {
        admin::start(address, gateway.clone(), state, &limits, &watch, &mut tasks).await;
    }
    announce::urls(&urls);
    let Plan { fixed, .. } = plan;
    tasks.spawn(reloads.follow(gateway.clone(), Some(fixed)));
    tokio::select! {
        () = announce::what_is_served(&gateway, &urls) => signals.stop().await,
        () = signals.stop() => {}
    }
    stop(args, gateway, Some((trigger, peers)), &mut signals).await;
    callers.close().await;
    Ok(())
}

/// Serves one client on stdin and stdout; logs and everything else go to stderr.
async fn over_stdio(
    args: &UpArgs,
    gateway: Arc<Gateway>,
    set: &ResourceSet,
    reloads: Reloads,
    signals: &mut Signals,
) -> Result<(), Stop> {
    let wanted = set
        .toolsets
        .iter()
        .find(|toolset| toolset.id.name == args.toolset);
    let toolset = match (wanted, set.toolsets.as_slice()) {
        (Some(toolset), _) => toolset,
        // With one toolset there is only one that can be meant.
        (None, [only]) if args.toolset == "default" => only,
        (None, all) => {
            let names: Vec<&str> = all.iter().map(|toolset| toolset.id.name.as_str()).collect();
            let reason = format!(
                "there is no toolset `{}`; choose with --toolset among: {}",
                args.toolset,
                names.join(", ")
            );
            return Err(Stop::Reason(reason));
        }
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(reloads.follow(gateway.clone(), None));
    let stopping = async {
        signals.stop().await;
        tracing::info!("stopping; calls under way may finish");
        gateway.close_streams();
    };
    let limit = args.drain_limit.as_std();
    let (input, output) = (tokio::io::stdin(), tokio::io::stdout());
    let outcome = serve_stdio_until(
        gateway.clone(),
        &toolset.path,
        input,
        output,
        stopping,
        limit,
    )
    .await;
    stop(args, gateway, None, signals).await;
    outcome.map_err(|error| Stop::Reason(error.to_string()))
}

/// Stops accepting, lets calls finish, ends streams properly, ends servers' sessions and processes.
async fn stop(
    args: &UpArgs,
    gateway: Arc<Gateway>,
    triggers: Option<(drain::Trigger, Option<drain::Trigger>)>,
    signals: &mut Signals,
) {
    tracing::info!(limit = ?args.drain_limit.as_std(), "stopping; calls under way may finish");
    gateway.close_streams();
    let gentle = async {
        if let Some((clients, replicas)) = triggers
            && !drained(clients, replicas, args.drain_limit.as_std()).await
        {
            tracing::warn!("some calls did not finish in time");
        }
        if tokio::time::timeout(END_WAIT, gateway.close())
            .await
            .is_err()
        {
            tracing::warn!("some servers did not end their sessions in time");
        }
    };
    tokio::select! {
        () = gentle => {}
        () = signals.stop() => tracing::warn!("stopping at once"),
    }
}

/// Whether all calls finished in time. Other replicas come in until the clients here are served: answers of their clients may be what calls wait for.
async fn drained(
    clients: drain::Trigger,
    replicas: Option<drain::Trigger>,
    limit: Duration,
) -> bool {
    let end = Instant::now() + limit;
    let served = clients.drain(limit).await;
    let Some(replicas) = replicas else {
        return served;
    };
    let left = end.saturating_duration_since(Instant::now());
    replicas.drain(left.max(PEER_DRAIN_WAIT)).await && served
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, Stop> {
        let listen = |kind| {
            signal(kind).map_err(|error| Stop::Reason(format!("cannot listen to signals: {error}")))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
