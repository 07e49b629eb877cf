//! API keys.

use store::{KeyRecord, Store, StoreError};

use crate::place::{Place, on_both};

on_both!(
    keys_are_listed_as_they_were_added,
    a_name_belongs_to_one_living_key,
    an_expired_key_gives_up_its_name,
    a_key_is_revoked_once_by_name_or_id,
    of_many_with_one_name_one_is_added,
);

fn key(id: &str, name: &str, expires: Option<u64>) -> KeyRecord {
    let mut hash = [0; 32];
    hash[..id.len()].copy_from_slice(id.as_bytes());
    KeyRecord {
        id: id.to_owned(),
        name: name.to_owned(),
        hash,
        created: 100,
        expires,
        revoked: None,
    }
}

async fn keys_are_listed_as_they_were_added(place: Place) {
    let store = place.open().await;
    assert_eq!(store.keys().await.unwrap(), []);
    let all = [key("1", "ada", None), key("2", "grace", Some(500))];
    for key in &all {
        store.add_key(key.clone(), 100).await.unwrap();
    }
    assert_eq!(place.open().await.keys().await.unwrap(), all);
}

async fn a_name_belongs_to_one_living_key(place: Place) {
    let store = place.open().await;
    store.add_key(key("1", "ada", None), 100).await.unwrap();
    let again = store.add_key(key("2", "ada", None), 100).await;
    assert_eq!(again, Err(StoreError::NameTaken("ada".to_owned())));
    store.revoke_key("ada", 110).await.unwrap();
    store.add_key(key("2", "ada", None), 120).await.unwrap();
    assert_eq!(store.keys().await.unwrap().len(), 2);
}

async fn an_expired_key_gives_up_its_name(place: Place) {
    let store = place.open().await;
    let first = key("1", "ada", Some(200));
    store.add_key(first, 100).await.unwrap();
    let second = key("2", "ada", None);
    let early = store.add_key(second.clone(), 199).await;
    assert_eq!(early, Err(StoreError::NameTaken("ada".to_owned())));
    store.add_key(second, 200).await.unwrap();
    assert_eq!(store.keys().await.unwrap()[0].revoked, Some(200));
}

async fn a_key_is_revoked_once_by_name_or_id(place: Place) {
    let store = place.open().await;
    store.add_key(key("1", "ada", None), 100).await.unwrap();
    store.add_key(key("2", "grace", None), 100).await.unwrap();
    let revoked = store.revoke_key("ada", 150).await.unwrap();
    assert_eq!((revoked.id.as_str(), revoked.revoked), ("1", Some(150)));
    store.revoke_key("2", 160).await.unwrap();
    let times: Vec<_> = store
        .keys()
        .await
        .unwrap()
        .iter()
        .map(|key| key.revoked)
        .collect();
    assert_eq!(times, [Some(150), Some(160)]);
    for gone in ["1", "ada"] {
        let again = store.revoke_key(gone, 170).await;
        assert_eq!(again, Err(StoreError::AlreadyRevoked(gone.to_owned())));
    }
    let unknown = store.revoke_key("alan", 170).await;
    assert_eq!(unknown, Err(StoreError::NoSuchKey("alan".to_owned())));
}

async fn of_many_with_one_name_one_is_added(place: Place) {
    let store = place.open().await;
    let mut adding = tokio::task::JoinSet::new();
    for at in 0..20 {
        let store: Store = store.clone();
        adding.spawn(async move {
            let key = key(&at.to_string(), "ada", None);
            store.add_key(key, 100).await
        });
    }
    let outcomes = adding.join_all().await;
    let added = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(added, 1, "{outcomes:?}");
    assert_eq!(store.keys().await.unwrap().len(), 1);
}
