//! Keys: where they come from, and the one that is made when nobody gives any.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use auth::KeyRing;
use gateway::Handles;

use super::UpArgs;
use super::stop::Stop;

/// The file of the key that is made here.
const KEY_FILE: &str = "handle-keys";
/// Who may read it.
const OWNER_ONLY_FILE: u32 = 0o600;
/// What others may do with a file.
const OTHERS: u32 = 0o077;

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeysFrom {
    /// A variable of the environment.
    Env(String),
    /// A file.
    File(PathBuf),
}

impl FromStr for KeysFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(_) | None => {
                Err("expected env:NAME or file:PATH; a key itself would be seen by everybody on this machine".to_owned())
            }
        }
    }
}

impl KeysFrom {
    /// Reads them.
    pub(super) fn ring(&self, flag: &str) -> Result<KeyRing, Stop> {
        let (place, text) = match self {
            Self::Env(name) => (format!("env:{name}"), std::env::var(name).ok()),
            Self::File(path) => {
                let text = fs::read_to_string(path);
                let text = text.map_err(|error| cannot("read", path, &error))?;
                (path.display().to_string(), Some(text))
            }
        };
        let text = text.ok_or_else(|| format!("{flag}: {place} is not set, or is no text"))?;
        KeyRing::parse(&text).map_err(|wrong| format!("{flag}: {place}: {wrong}").into())
    }
}

/// The keys of session ids and other handles: as given, or those of the state directory, or else some that end with the process.
pub(super) fn of_handles(args: &UpArgs) -> Result<KeyRing, Stop> {
    if let Some(keys) = &args.handle_keys {
        return keys.ring("--handle-keys");
    }
    if !args.peers.is_empty() {
        let reason = "--peers needs --handle-keys env:NAME or file:PATH: replicas that have different keys do not know each other's sessions";
        return Err(reason.to_owned().into());
    }
    let kept = match args.state.directory() {
        Ok(directory) => kept(&directory),
        Err(error) => Err(Stop::Reason(error.to_string())),
    };
    kept.or_else(|stop| match stop {
        // A guessed place that cannot be used is no reason not to start.
        Stop::Reason(reason) if args.state.state_dir.is_none() => {
            tracing::debug!(%reason, "no key is kept: sessions end with this process");
            fleeting()
        }
        stop => Err(stop),
    })
}

fn fleeting() -> Result<KeyRing, Stop> {
    KeyRing::parse(&Handles::fresh_key()).map_err(|wrong| wrong.to_string().into())
}

/// The key in the state directory, made if there is none yet.
fn kept(directory: &Path) -> Result<KeyRing, Stop> {
    let path = directory.join(KEY_FILE);
    if !path.exists() {
        make(directory, &path).map_err(|error| cannot("make a key in", directory, &error))?;
    }
    let read = |path: &Path| -> io::Result<(u32, String)> {
        let mode = fs::metadata(path)?.permissions().mode();
        Ok((mode, fs::read_to_string(path)?))
    };
    let (mode, text) = read(&path).map_err(|error| cannot("read", &path, &error))?;
    let place = path.display();
    if mode & OTHERS != 0 {
        let reason = format!(
            "{place}: others can read this key; run `chmod 600 {place}`, or remove it, and a new one is made"
        );
        return Err(reason.into());
    }
    KeyRing::parse(&text).map_err(|wrong| format!("{place}: {wrong}").into())
}

/// Of several processes that start at once, one makes it; none ever sees half of it.
fn make(directory: &Path, path: &Path) -> io::Result<()> {
    let draft = directory.join(format!("{KEY_FILE}.{}", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(OWNER_ONLY_FILE)
        .open(&draft)?;
    file.write_all(format!("{}\n", Handles::fresh_key()).as_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Stop {
    Stop::Reason(format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        assert!(kept(directory).is_ok());
        let path = directory.join(KEY_FILE);
        let first = fs::read_to_string(&path).unwrap();
        assert!(kept(directory).is_ok());
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), OWNER_ONLY_FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(kept(directory).is_err(), "others can read it");
    }

    #[test]
    fn a_key_is_never_an_argument() {
        let key = Handles::fresh_key();
        assert!(key.parse::<KeysFrom>().is_err());
        assert_eq!("env:A".parse(), Ok(KeysFrom::Env("A".to_owned())));
        assert_eq!("file:/k:1".parse(), Ok(KeysFrom::File("/k:1".into())));
    }
}
