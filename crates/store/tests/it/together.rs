//! Many at once, on several connections and in several processes' places.

use store::SessionRecord;
use tokio::task::JoinSet;

use crate::place::{Place, on_both};
use crate::sessions::session;

on_both!(
    what_many_write_at_once_is_all_there,
    an_end_beats_every_save_around_it,
);

/// Stores opened by as many replicas.
const REPLICAS: u32 = 3;
const TASKS: u32 = 100;
const EACH: u32 = 10;

async fn what_many_write_at_once_is_all_there(place: Place) {
    let mut stores = Vec::new();
    for _ in 0..REPLICAS {
        stores.push(place.open().await);
    }
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = stores[(task % REPLICAS) as usize].clone();
        tasks.spawn(async move {
            for at in 0..EACH {
                let mine = session(task * EACH + at);
                let everybodys = SessionRecord {
                    last_use: u64::from(task),
                    ..session(u32::MAX)
                };
                store
                    .save_sessions(vec![everybodys, mine.clone()])
                    .await
                    .unwrap();
                if at % 2 == 0 {
                    store.end_session(mine.uid, mine.expires_at).await.unwrap();
                    // Durable and visible: what ended is ended for whoever looks now.
                    let found = store.load_session(&mine.uid).await.unwrap();
                    assert!(found.unwrap().ended);
                }
            }
        });
    }
    tasks.join_all().await;
    for at in 0..TASKS * EACH {
        let store = &stores[(at % REPLICAS) as usize];
        let found = store.load_session(&session(at).uid).await.unwrap();
        assert_eq!(
            found.unwrap().ended,
            (at % EACH).is_multiple_of(2),
            "session {at}"
        );
    }
    let shared = stores[0].load_session(&session(u32::MAX).uid).await;
    let latest = u64::from(TASKS - 1);
    assert_eq!(shared.unwrap().unwrap().last_use, latest);
}

async fn an_end_beats_every_save_around_it(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let mut tasks = JoinSet::new();
    for at in 0..200 {
        let (one, other) = (one.clone(), other.clone());
        tasks.spawn(async move {
            let mine = session(at);
            let (saved, ended, late) = tokio::join!(
                other.save_sessions(vec![mine.clone()]),
                one.end_session(mine.uid, mine.expires_at),
                one.save_sessions(vec![mine.clone()]),
            );
            saved.and(ended).and(late).unwrap();
            let found = other.load_session(&mine.uid).await.unwrap();
            assert!(found.unwrap().ended);
        });
    }
    tasks.join_all().await;
}
