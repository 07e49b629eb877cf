//! Opening, closing, and the versions of the tables.

use std::os::unix::fs::PermissionsExt as _;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use store::{Store, StoreError};

use crate::place::{Place, on_both};
use crate::sessions::session;

on_both!(
    many_may_open_an_empty_store_at_once,
    the_clock_is_the_databases,
    a_closed_store_says_so,
    closing_writes_what_was_handed_over,
    tables_of_a_newer_program_are_left_alone,
);

async fn many_may_open_an_empty_store_at_once(place: Place) {
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let url = place.url.clone();
        opening.spawn(async move { Store::open(&url).await });
    }
    for opened in opening.join_all().await {
        assert_eq!(opened.unwrap().keys().await.unwrap(), []);
    }
}

async fn the_clock_is_the_databases(place: Place) {
    let store = place.open().await;
    let (first, second) = (store.now().await.unwrap(), store.now().await.unwrap());
    assert!(first > 1_700_000_000, "{first}");
    assert!(second >= first && second - first < 5);
}

async fn a_closed_store_says_so(place: Place) {
    let store = place.open().await;
    let clone = store.clone();
    store.close().await;
    store.close().await;
    assert_eq!(clone.keys().await, Err(StoreError::Closed));
    let saved = clone.save_sessions(vec![session(1)]).await;
    assert_eq!(saved, Err(StoreError::Closed));
}

async fn closing_writes_what_was_handed_over(place: Place) {
    let store = place.open().await;
    // The call is given up right after it handed the record over.
    let save = store.save_sessions(vec![session(1)]);
    let given_up = tokio::time::timeout(std::time::Duration::ZERO, save).await;
    drop(given_up);
    store.close().await;
    let again = place.open().await;
    let found = again.load_session(&session(1).uid).await.unwrap();
    assert_eq!(found, Some(session(1)));
}

async fn tables_of_a_newer_program_are_left_alone(place: Place) {
    place.open().await.close().await;
    let newer = "INSERT INTO marque_schema (version, migrated) VALUES (99, 0)";
    if let Some(path) = place.url.strip_prefix("sqlite:") {
        let options = SqliteConnectOptions::new().filename(path);
        let mut direct = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(newer).execute(&mut direct).await.unwrap();
    } else {
        let mut direct = PgConnection::connect(&place.url).await.unwrap();
        sqlx::raw_sql(newer).execute(&mut direct).await.unwrap();
    }
    let error = Store::open(&place.url).await.unwrap_err();
    let refused = matches!(error, StoreError::Newer { found: 99, .. });
    assert!(refused, "{error:?}");
}

/// Three replicas that start at once find no store yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_store_can_be_opened_by_many_at_once() {
    for _ in 0..10 {
        let place = crate::place::sqlite();
        let opening = (0..6).map(|_| Store::open(&place.url));
        for opened in futures_util::future::join_all(opening).await {
            opened.unwrap().close().await;
        }
    }
}

#[tokio::test]
async fn lost_connections_are_replaced() {
    if !testkit::postgres::Postgres::is_here() {
        return;
    }
    let place = crate::place::postgres();
    let store = place.open().await;
    store.save_sessions(vec![session(1)]).await.unwrap();
    let mut direct = PgConnection::connect(&place.url).await.unwrap();
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    sqlx::raw_sql(others).execute(&mut direct).await.unwrap();
    let end = store.end_session(session(1).uid, 1_000).await;
    end.unwrap();
    let found = store.load_session(&session(1).uid).await.unwrap();
    assert!(found.unwrap().ended);
}

/// What a process leaves behind that is killed at this moment.
#[tokio::test]
async fn what_was_reported_as_done_is_in_the_files() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = |folder: &tempfile::TempDir| {
        let path = folder.path().join("store.db");
        format!("sqlite:{}", path.display())
    };
    let store = Store::open(&url(&folder)).await.unwrap();
    for at in 0..100 {
        store.end_session(session(at).uid, 1_000).await.unwrap();
    }
    for file in ["store.db", "store.db-wal"] {
        std::fs::copy(folder.path().join(file), copy.path().join(file)).unwrap();
    }
    let after = Store::open(&url(&copy)).await.unwrap();
    for at in 0..100 {
        let found = after.load_session(&session(at).uid).await.unwrap();
        assert!(found.unwrap().ended, "session {at}");
    }
}

#[tokio::test]
async fn a_new_file_is_its_owners_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = Store::open(&format!("sqlite:{}", path.display()))
        .await
        .unwrap();
    store.save_sessions(vec![session(1)]).await.unwrap();
    let mut seen = 0;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?} {mode:o}", file.path());
        seen += 1;
    }
    assert_eq!(seen, 3, "the database, its log, and the log's index");
}

#[tokio::test]
async fn a_store_in_memory_is_one_store() {
    let store = Store::open("sqlite::memory:").await.unwrap();
    store.save_sessions(vec![session(1)]).await.unwrap();
    let clone = store.clone();
    assert!(clone.load_session(&session(1).uid).await.unwrap().is_some());
    let other = Store::open("sqlite::memory:").await.unwrap();
    assert_eq!(other.load_session(&session(1).uid).await.unwrap(), None);
}

#[tokio::test]
async fn what_cannot_be_opened_is_named() {
    for (url, name) in [
        (
            "sqlite:/nonexistent/store.db",
            "sqlite:/nonexistent/store.db",
        ),
        (
            "postgres://ada:sesame@127.0.0.1:1/marque",
            "postgres://127.0.0.1:1/marque",
        ),
    ] {
        let error = Store::open(url).await.unwrap_err();
        assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(name) && !text.contains("sesame"), "{text}");
    }
}
