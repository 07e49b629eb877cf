//! Callers who have API keys: looked up as ever, in a store in memory.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth::{ApiKey, KeyDirectory};
use store::{KeyRecord, Store};
use tokio::runtime::{Builder, Runtime};

/// Who calls: nobody by name, or the holder of a key.
pub(crate) const CALLERS: [char; 3] = ['x', 'a', 'b'];
/// What was read is read again after this time: the directory believes it for not much longer, and no seed takes so long.
const BELIEVED: Duration = Duration::from_secs(10);

struct Known {
    runtime: Runtime,
    store: Store,
    read: Instant,
    directory: Arc<KeyDirectory>,
}

thread_local! {
    static KNOWN: RefCell<Option<Known>> = const { RefCell::new(None) };
}

fn key(caller: char) -> ApiKey {
    ApiKey::new([u8::try_from(caller).unwrap(); 32])
}

/// The header that says who calls.
pub(crate) fn header(caller: char) -> String {
    if caller == CALLERS[0] {
        return String::new();
    }
    format!("Authorization: Bearer {}\r\n", key(caller).expose())
}

/// Who has which key. The store has real time and threads of its own, so this is read before a world begins.
pub(crate) fn directory() -> Arc<KeyDirectory> {
    KNOWN.with_borrow_mut(|known| {
        let known = known.get_or_insert_with(open);
        if known.read.elapsed() > BELIEVED {
            known.read = Instant::now();
            let reading = KeyDirectory::open(&known.store);
            known.directory = known.runtime.block_on(reading).unwrap();
        }
        known.directory.clone()
    })
}

fn open() -> Known {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let read = Instant::now();
    let (store, directory) = runtime.block_on(async {
        let store = Store::open("sqlite::memory:").await.unwrap();
        for caller in &CALLERS[1..] {
            let record = KeyRecord {
                id: caller.to_string(),
                name: format!("caller {caller}"),
                hash: key(*caller).hash().0,
                created: 0,
                expires: None,
                revoked: None,
            };
            store.add_key(record, 0).await.unwrap();
        }
        let directory = KeyDirectory::open(&store).await.unwrap();
        (store, directory)
    });
    Known {
        runtime,
        store,
        read,
        directory,
    }
}
