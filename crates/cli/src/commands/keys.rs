//! `marque keys`: API keys, by which callers prove who they are.

use std::str::FromStr;
use std::time::Duration;

use auth::{API_KEY_PREFIX, ApiKey};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use store::{KeyRecord, Store, StoreError};

use crate::exit::Exit;
use crate::state::{StateArgs, StateError};

mod show;

/// What to do with API keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key, and print it: the one time that it is shown
    Add(AddArgs),
    /// Show which keys there are, without the keys themselves
    List(ListArgs),
    /// End a key at once
    Revoke(RevokeArgs),
}

/// The arguments of `add`.
#[derive(Debug, Args)]
#[command(after_help = ADD_EXAMPLES)]
pub(crate) struct AddArgs {
    /// Who will use it; one living key has the name
    #[arg(value_name = "NAME")]
    name: String,

    /// How long it is valid: 90d, 12h, 30m; without it, until it is revoked
    #[arg(long, value_name = "TIME")]
    expires: Option<Lifetime>,

    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: AddFormat,

    #[command(flatten)]
    state: StateArgs,
}

/// The arguments of `list`.
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(crate) struct ListArgs {
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: ListFormat,

    #[command(flatten)]
    state: StateArgs,
}

/// The arguments of `revoke`.
#[derive(Debug, Args)]
#[command(after_help = REVOKE_EXAMPLES)]
pub(crate) struct RevokeArgs {
    /// The name of a living key, or the id of any
    #[arg(value_name = "NAME")]
    name: String,

    #[command(flatten)]
    state: StateArgs,
}

const ADD_EXAMPLES: &str = "\
Examples:
  marque keys add ci --expires 90d
  KEY=$(marque keys add ada)                      only the key is on stdout
  marque keys add ada --format json | jq -r .key
  marque keys add ci --store postgres://marque@db.internal/marque

A client sends it as `Authorization: Bearer mk_…`; a running marque accepts it within 2 seconds.
Toolsets with `access: Authenticated` let nobody in without one.

Exit codes: 0 made, 1 the name is taken, 2 wrong arguments, 5 the store cannot be reached.";

const LIST_EXAMPLES: &str = "\
Examples:
  marque keys list
  marque keys list --format json | jq -r '.[] | select(.state == \"active\") | .name'

Exit codes: 0 listed, 2 wrong arguments, 5 the store cannot be reached.";

const REVOKE_EXAMPLES: &str = "\
Examples:
  marque keys revoke ci
  marque keys revoke 5f0c3ab2d4e6a798             by its id

Every running marque on the store refuses it within 2 seconds.

Exit codes: 0 revoked, also if it was before, 2 wrong arguments or no such key, 5 the store cannot be reached.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AddFormat {
    /// The key alone on stdout, what there is to say about it on stderr.
    Text,
    /// One JSON object.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ListFormat {
    /// For people.
    Table,
    /// A JSON array.
    Json,
}

/// Random bytes of a key's id.
const ID_BYTES: usize = 8;
/// The longest name of a key, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// The longest that a key with an end may live.
const LIFETIME_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// The name of a key. Not read by the parser of arguments, which repeats what is wrong: it may be a key.
#[derive(Clone, Debug)]
struct KeyName(String);

impl FromStr for KeyName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(API_KEY_PREFIX) {
            return Err("this is a key, or looks like one: say the name it was made with, which `marque keys list` shows".to_owned());
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
        let first = text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        if first && text.len() <= NAME_BYTES_MAX && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "a name has up to {NAME_BYTES_MAX} letters, digits and `.`, `_`, `-`, `@`, and begins with a letter or digit"
            ))
        }
    }
}

/// How long a key is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lifetime(Duration);

impl FromStr for Lifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const DAY: u64 = 24 * 3600;
        let days = text
            .strip_suffix('d')
            .and_then(|days| days.parse::<u32>().ok());
        let time = match days {
            Some(days) => Some(Duration::from_secs(u64::from(days) * DAY)),
            None => text
                .parse::<resources::Duration>()
                .ok()
                .map(resources::Duration::as_std),
        };
        let time = time.ok_or("expected a time such as 90d, 12h or 30m")?;
        if time < Duration::from_secs(1) || time > LIFETIME_MAX {
            return Err("a key lives between a second and 100 years".to_owned());
        }
        Ok(Self(time))
    }
}

/// Does what is asked for, and says how it went.
pub(crate) async fn run(command: KeysCommand) -> Exit {
    let named = |name: &str| {
        name.parse::<KeyName>().map_err(|reason| {
            anstream::eprintln!("error: NAME: {reason}");
            Exit::Usage
        })
    };
    let done = match &command {
        KeysCommand::List(args) => list(args).await,
        KeysCommand::Add(args) => match named(&args.name) {
            Ok(name) => add(args, name).await,
            Err(exit) => return exit,
        },
        KeysCommand::Revoke(args) => match named(&args.name) {
            Ok(name) => revoke(args, name).await,
            Err(exit) => return exit,
        },
    };
    done.unwrap_or_else(|error| {
        anstream::eprintln!("error: {error}");
        exit(&error)
    })
}

async fn add(args: &AddArgs, KeyName(name): KeyName) -> Result<Exit, StateError> {
    let store = args.state.open().await?;
    let now = store.now().await?;
    let key = ApiKey::new(random());
    let id: String = random::<ID_BYTES>()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let record = KeyRecord {
        id,
        name,
        hash: key.hash().0,
        created: now,
        expires: args
            .expires
            .map(|lifetime| now.saturating_add(lifetime.0.as_secs())),
        revoked: None,
    };
    store.add_key(record.clone(), now).await?;
    match args.format {
        AddFormat::Text => {
            let until = record.expires.map_or_else(
                || "valid until it is revoked".to_owned(),
                |expires| format!("valid until {}", show::time(expires)),
            );
            anstream::println!("{}", key.expose());
            anstream::eprintln!(
                "key `{}` (id {}) in {}, {until}; it is shown this once, so keep it now",
                record.name,
                record.id,
                store.shown()
            );
        }
        AddFormat::Json => {
            let mut shown = show::json(&record, now);
            shown["key"] = json!(key.expose());
            anstream::println!("{shown:#}");
        }
    }
    store.close().await;
    Ok(Exit::Done)
}

async fn list(args: &ListArgs) -> Result<Exit, StateError> {
    let store = args.state.open().await?;
    let (now, keys) = (store.now().await?, store.keys().await?);
    match args.format {
        ListFormat::Json => {
            let all: Vec<_> = keys.iter().map(|key| show::json(key, now)).collect();
            anstream::println!("{:#}", json!(all));
        }
        ListFormat::Table if keys.is_empty() => {
            anstream::eprintln!(
                "there are no keys in {}; `marque keys add NAME` makes one",
                store.shown()
            );
        }
        ListFormat::Table => anstream::println!("{}", show::table(&keys, now)),
    }
    store.close().await;
    Ok(Exit::Done)
}

async fn revoke(args: &RevokeArgs, KeyName(name): KeyName) -> Result<Exit, StateError> {
    let store = args.state.open().await?;
    let now = store.now().await?;
    match store.revoke_key(&name, now).await {
        Ok(key) => anstream::eprintln!("key `{}` (id {}) is revoked", key.name, key.id),
        // What was asked for is so: a script may ask twice.
        Err(already @ StoreError::AlreadyRevoked(_)) => anstream::eprintln!("{already}"),
        Err(StoreError::NoSuchKey(name)) => return Err(unknown(&store, name).await?),
        Err(error) => return Err(error.into()),
    }
    store.close().await;
    Ok(Exit::Done)
}

/// No such key: is there one with nearly that name?
async fn unknown(store: &Store, name: String) -> Result<StateError, StateError> {
    let keys = store.living_keys().await?;
    let names = keys.iter().map(|key| key.name.as_str());
    let near = names
        .map(|known| (strsim::damerau_levenshtein(known, &name), known))
        .filter(|(distance, known)| *distance <= known.len() / 3)
        .min();
    if let Some((_, near)) = near {
        anstream::eprintln!("did you mean `{near}`?");
    }
    Ok(StoreError::NoSuchKey(name).into())
}

const fn exit(error: &StateError) -> Exit {
    match error {
        StateError::Nowhere
        | StateError::Directory { .. }
        | StateError::Store(StoreError::Url { .. } | StoreError::NoSuchKey(_)) => Exit::Usage,
        StateError::Store(
            StoreError::NameTaken(_)
            | StoreError::AlreadyRevoked(_)
            | StoreError::TooManyKeys(_)
            | StoreError::TooLarge { .. }
            | StoreError::Newer { .. }
            | StoreError::Corrupt(_),
        ) => Exit::Failed,
        StateError::Store(
            StoreError::Open { .. }
            | StoreError::Slow
            | StoreError::Closed
            | StoreError::Failed { .. },
        ) => Exit::Unreachable,
    }
}

/// Bytes that nobody can guess.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read_with_days() {
        for (text, seconds) in [("90d", 7_776_000), ("12h", 43_200), ("1m30s", 90)] {
            let expected = Lifetime(Duration::from_secs(seconds));
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for wrong in ["", "d", "0s", "-1d", "90", "4294967296d", "999999d", "1.5d"] {
            assert!(wrong.parse::<Lifetime>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_not_taken_for_a_name() {
        for wrong in ["", "mk_abc", "a b", "-a", "a\n", "ä", &"a".repeat(65)] {
            assert!(wrong.parse::<KeyName>().is_err(), "{wrong}");
        }
        for right in ["ci", "ada@example.com", "build-7", &"a".repeat(64)] {
            assert!(right.parse::<KeyName>().is_ok(), "{right}");
        }
    }
}
