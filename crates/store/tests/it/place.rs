//! Where a test has its store.

use store::Store;
use testkit::postgres::Postgres;

/// An empty store of one test.
pub(crate) struct Place {
    pub(crate) url: String,
    /// Removes the file.
    _folder: Option<tempfile::TempDir>,
}

impl Place {
    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.url).await.unwrap()
    }
}

pub(crate) fn sqlite() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("store.db").display());
    Place {
        url,
        _folder: Some(folder),
    }
}

pub(crate) fn postgres() -> Place {
    let url = Postgres::shared().and_then(Postgres::database);
    Place {
        url: url.unwrap_or_else(|error| panic!("{error:#}")),
        _folder: None,
    }
}

/// One test per rule and engine.
macro_rules! on_both {
    ($($rule:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                super::$rule(crate::place::sqlite()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                if testkit::postgres::Postgres::is_here() {
                    super::$rule(crate::place::postgres()).await;
                }
            })+
        }
    };
}
pub(crate) use on_both;
