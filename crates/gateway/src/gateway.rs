//! The running data plane: its table, its sessions, and how both change.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use resources::{Finding, ResourceSet};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::exchange::{Holding, Parking};
use crate::handles::Handles;
use crate::replica::Replicas;
use crate::session::{Records, Session, Sessions};
use crate::settings::Settings;
use crate::table::{self, Table};

/// How often ended sessions are looked for.
const SWEEP: Duration = Duration::from_secs(30);
/// Changes of servers within this time are merged together.
const MERGE_WAIT: Duration = Duration::from_millis(20);

/// How long the end waits for sessions at servers that end because of a reload or a client.
const LEAVE_WAIT: Duration = Duration::from_secs(2);

/// The running data plane.
#[derive(Debug)]
pub struct Gateway {
    settings: Settings,
    table: ArcSwap<Table>,
    pub(crate) sessions: Sessions,
    /// Calls that wait for their client.
    pub(crate) parking: Arc<Parking>,
    /// Calls that their clients have as tasks.
    pub(crate) holding: Arc<Holding>,
    records: Option<Arc<Records>>,
    bell: Arc<Notify>,
    closing: watch::Sender<bool>,
    /// Grows with each new table.
    applied: watch::Sender<u64>,
    /// One table at a time is built.
    applying: Mutex<()>,
    tasks: Mutex<JoinSet<()>>,
    /// What ends elsewhere, with nobody waiting for it but the end.
    leaving: Mutex<JoinSet<()>>,
}

impl Gateway {
    /// Starts with a set of resources. Servers are contacted in the background.
    ///
    /// # Errors
    /// Everything that makes the resources unusable.
    pub fn start(set: &ResourceSet, settings: Settings) -> Result<Arc<Self>, Vec<Finding>> {
        let bell = Arc::new(Notify::new());
        let first = table::build(set, &Table::default(), &settings, &bell)?;
        let parking = Arc::new(Parking::new(settings.handles.clone()));
        let holding = Arc::new(Holding::new(settings.handles.own()));
        let sessions = Sessions::new();
        let keep = |store| Records::new(store, settings.handles.clone(), sessions.start());
        let records = settings.store.clone().map(keep);
        let gateway = Arc::new(Self {
            settings,
            table: ArcSwap::from_pointee(first),
            sessions,
            parking,
            holding,
            records,
            bell,
            closing: watch::Sender::new(false),
            applied: watch::Sender::new(0),
            applying: Mutex::new(()),
            tasks: Mutex::default(),
            leaving: Mutex::default(),
        });
        let mut tasks = gateway.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(merge(Arc::downgrade(&gateway), gateway.bell.clone()));
        tasks.spawn(sweep(Arc::downgrade(&gateway)));
        tasks.spawn(gateway.settings.replicas.clone().follow());
        if let Some(records) = &gateway.records {
            tasks.spawn(records.clone().follow());
            tasks.spawn(records.clone().clean());
        }
        drop(tasks);
        Ok(gateway)
    }

    /// Replaces the whole table. Calls under way finish on the old one; if this fails, the old one stays.
    ///
    /// # Errors
    /// Everything that makes the resources unusable.
    pub fn apply(&self, set: &ResourceSet) -> Result<(), Vec<Finding>> {
        let _one = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let next = table::build(set, &self.table.load(), &self.settings, &self.bell)?;
        let before = self.table.swap(Arc::new(next));
        let table = self.table.load();
        for toolset in table.paths.values() {
            toolset.announce();
        }
        // What servers said while the table was built was merged into the old one.
        self.bell.notify_one();
        self.applied.send_modify(|applied| *applied += 1);
        self.retire(&before, &table);
        Ok(())
    }

    /// Ends the sessions that the new table has no use for, once the calls under way on them are over.
    fn retire(&self, before: &Table, now: &Table) {
        let names: HashSet<&Arc<str>> = now.paths.values().map(|toolset| &toolset.name).collect();
        for session in self.sessions.all() {
            let served = names.contains(&session.toolset);
            if !served {
                self.sessions.close(&session);
            }
            for leg in session.keep_legs(|server| served && now.keeps(server)) {
                self.later(leg.retire());
            }
        }
        for kept in before.servers.values() {
            if !now.keeps(&kept.server) {
                self.later(kept.clone().retire());
            }
        }
    }

    /// Gives open streams their proper end; calls go on.
    pub fn close_streams(&self) {
        self.closing.send_replace(true);
    }

    /// Ends gracefully: open streams get their proper end, servers' sessions are ended.
    pub async fn close(&self) {
        self.close_streams();
        tokio::join!(self.parking.close(), self.holding.close());
        if let Some(records) = &self.records
            && let Err(error) = records.save().await
        {
            tracing::warn!(%error, "records of sessions could not be written");
        }
        let sessions = self.sessions.all();
        join_all(sessions.iter().map(|session| self.end(session))).await;
        let mut left =
            std::mem::take(&mut *self.leaving.lock().unwrap_or_else(PoisonError::into_inner));
        let over = async { while left.join_next().await.is_some() {} };
        if timeout(LEAVE_WAIT, over).await.is_err() {
            tracing::warn!("some sessions at servers were not ended in time");
        }
        let table = self.table.load_full();
        join_all(table.servers.values().map(|kept| kept.close())).await;
    }

    /// Ends one session, here and at the servers.
    pub(crate) async fn end(&self, session: &Arc<Session>) {
        self.sessions.close(session);
        let legs = session.take_legs();
        session.end_calls().await;
        join_all(legs.iter().map(|leg| leg.end())).await;
    }

    /// Has something done that a destructor cannot wait for.
    pub(crate) fn later(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        while leaving.try_join_next().is_some() {}
        leaving.spawn(work);
    }

    /// Merges at once what servers have said by now; it would be merged a moment later anyway.
    pub fn refresh(&self) {
        for toolset in self.table.load().paths.values() {
            toolset.refresh();
        }
    }

    /// What seals session ids and other handles.
    pub(crate) fn handles(&self) -> &Arc<Handles> {
        &self.settings.handles
    }

    /// What outlives this process of its sessions, if anything does.
    pub(crate) const fn records(&self) -> Option<&Arc<Records>> {
        self.records.as_ref()
    }

    /// The other processes that serve the same endpoints.
    pub(crate) fn replicas(&self) -> &Arc<Replicas> {
        &self.settings.replicas
    }

    /// The table as it is now.
    pub(crate) fn table(&self) -> arc_swap::Guard<Arc<Table>> {
        self.table.load()
    }

    /// Fires when there is a new table.
    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Fires when the gateway closes.
    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }
}

/// Waits until the gateway closes.
pub(crate) async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error means that the gateway is gone, which is as closed as can be.
    drop(closing.wait_for(|closing| *closing).await);
}

/// Merges lists again when a server's offer changed, and tells clients what they can see changed.
async fn merge(gateway: Weak<Gateway>, bell: Arc<Notify>) {
    loop {
        bell.notified().await;
        tokio::time::sleep(MERGE_WAIT).await;
        let Some(gateway) = gateway.upgrade() else {
            return;
        };
        for toolset in gateway.table.load().paths.values() {
            toolset.refresh();
        }
    }
}

/// Ends the sessions whose time is over.
async fn sweep(gateway: Weak<Gateway>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(gateway) = gateway.upgrade() else {
            return;
        };
        for session in gateway.sessions.expire() {
            gateway.end(&session).await;
        }
        gateway.parking.sweep();
        gateway.holding.sweep();
        for kept in gateway.table.load().servers.values() {
            kept.server.leases.sweep();
        }
        let now = Instant::now();
        for session in gateway.sessions.all() {
            session.forget_old_streams(now);
        }
    }
}
