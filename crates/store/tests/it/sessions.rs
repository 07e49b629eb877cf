//! The records of sessions.

use store::{DETAILS_BYTES_MAX, SessionRecord, StoreError};

use crate::place::{Place, on_both};

on_both!(
    a_session_is_loaded_as_it_was_saved,
    the_last_word_counts_and_time_never_goes_back,
    an_ended_session_stays_ended,
    the_end_of_an_unsaved_session_is_remembered,
    sweeping_removes_what_is_past_its_expiry,
    a_batch_of_any_size_is_saved,
    details_have_a_limit,
);

pub(crate) fn session(at: u32) -> SessionRecord {
    let mut uid = [0; 16];
    uid[..4].copy_from_slice(&at.to_be_bytes());
    SessionRecord {
        uid,
        owner: [7; 8],
        expires_at: 1_000,
        last_use: 100,
        ended: false,
        details: vec![0, 255, 1],
    }
}

async fn a_session_is_loaded_as_it_was_saved(place: Place) {
    let store = place.open().await;
    let one = session(1);
    assert_eq!(store.load_session(&one.uid).await.unwrap(), None);
    store.save_sessions(vec![one.clone()]).await.unwrap();
    let elsewhere = place.open().await;
    assert_eq!(elsewhere.load_session(&one.uid).await.unwrap(), Some(one));
}

async fn the_last_word_counts_and_time_never_goes_back(place: Place) {
    let store = place.open().await;
    let first = SessionRecord {
        last_use: 200,
        ..session(1)
    };
    store.save_sessions(vec![first]).await.unwrap();
    let later = SessionRecord {
        owner: [8; 8],
        expires_at: 900,
        last_use: 150,
        details: vec![],
        ..session(1)
    };
    // Twice in one batch, as when a batch was late.
    let twice = vec![session(1), later.clone()];
    store.save_sessions(twice).await.unwrap();
    let expected = SessionRecord {
        expires_at: 1_000,
        last_use: 200,
        ..later
    };
    let found = store.load_session(&expected.uid).await.unwrap();
    assert_eq!(found, Some(expected));
}

async fn an_ended_session_stays_ended(place: Place) {
    let store = place.open().await;
    let one = session(1);
    store.save_sessions(vec![one.clone()]).await.unwrap();
    store.end_session(one.uid, one.expires_at).await.unwrap();
    store.save_sessions(vec![one.clone()]).await.unwrap();
    store.end_session(one.uid, one.expires_at).await.unwrap();
    let found = place.open().await.load_session(&one.uid).await;
    let found = found.unwrap().unwrap();
    assert!(found.ended);
    assert_eq!((found.expires_at, found.details), (1_000, vec![]));
}

async fn the_end_of_an_unsaved_session_is_remembered(place: Place) {
    let store = place.open().await;
    let one = session(1);
    store.end_session(one.uid, one.expires_at).await.unwrap();
    store.save_sessions(vec![one.clone()]).await.unwrap();
    assert!(store.load_session(&one.uid).await.unwrap().unwrap().ended);
}

async fn sweeping_removes_what_is_past_its_expiry(place: Place) {
    let store = place.open().await;
    let all: Vec<_> = (0..10)
        .map(|at| SessionRecord {
            expires_at: 1_000 + u64::from(at),
            ..session(at)
        })
        .collect();
    store.save_sessions(all.clone()).await.unwrap();
    store.end_session(all[0].uid, 1_000).await.unwrap();
    store.end_session(all[9].uid, 1_009).await.unwrap();
    assert_eq!(store.sweep_sessions(999).await.unwrap(), 0);
    assert_eq!(store.sweep_sessions(1_004).await.unwrap(), 5);
    assert_eq!(store.load_session(&all[4].uid).await.unwrap(), None);
    assert!(store.load_session(&all[5].uid).await.unwrap().is_some());
    assert!(store.load_session(&all[9].uid).await.unwrap().is_some());
}

async fn a_batch_of_any_size_is_saved(place: Place) {
    let store = place.open().await;
    let mut from = 0;
    for size in [1, 7, 8, 9, 300, 2_500] {
        let batch: Vec<_> = (from..from + size).rev().map(session).collect();
        store.save_sessions(batch.clone()).await.unwrap();
        for one in batch.iter().step_by(50) {
            let found = store.load_session(&one.uid).await.unwrap();
            assert_eq!(found.as_ref(), Some(one));
        }
        from += size;
    }
    store.save_sessions(vec![]).await.unwrap();
    assert_eq!(
        store.sweep_sessions(u64::MAX).await.unwrap(),
        u64::from(from)
    );
}

async fn details_have_a_limit(place: Place) {
    let store = place.open().await;
    let of = |bytes| SessionRecord {
        details: vec![1; bytes],
        ..session(1)
    };
    store
        .save_sessions(vec![of(DETAILS_BYTES_MAX)])
        .await
        .unwrap();
    let longer = store.save_sessions(vec![of(DETAILS_BYTES_MAX + 1)]).await;
    let refused = matches!(longer, Err(StoreError::TooLarge { .. }));
    assert!(refused, "{longer:?}");
}
