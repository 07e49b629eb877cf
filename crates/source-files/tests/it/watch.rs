//! Changes are noticed, however they are made.

use std::path::{Path, PathBuf};
use std::time::Duration;

use source_files::Watch;
use tokio::time::timeout;

use crate::{TOOLSET, bearer, folder, load, write};

/// Far above what a change takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

fn started(path: &Path) -> Watch {
    let mut watch = Watch::start(&[PathBuf::from(path)]);
    watch.follow(&load(path));
    watch
}

/// Waits for changes until the folder gives this bearer.
async fn until(watch: &mut Watch, path: &Path, expected: &str) {
    let becomes = async {
        loop {
            watch.changed().await;
            let loaded = load(path);
            watch.follow(&loaded);
            if loaded.set.is_some() && bearer(&loaded) == expected {
                return;
            }
        }
    };
    timeout(PATIENCE, becomes)
        .await
        .unwrap_or_else(|_| panic!("never became {expected}"));
}

#[tokio::test]
async fn a_written_file_is_noticed() {
    let folder = folder(&[("t.yaml", TOOLSET), ("token", "one"), ("other", "two")]);
    let mut watch = started(folder.path());
    write(
        folder.path(),
        "t.yaml",
        &TOOLSET.replace("file:token", "file:other"),
    );
    until(&mut watch, folder.path(), "two").await;
    write(folder.path(), "sub/new.yaml", "[");
    timeout(PATIENCE, watch.changed()).await.unwrap();
    assert!(
        load(folder.path()).set.is_none(),
        "a new folder is part of the old one"
    );
}

#[tokio::test]
async fn an_editor_that_replaces_the_file_is_noticed() {
    let folder = folder(&[
        ("t.yaml", TOOLSET),
        ("token", "one"),
        ("other", "two"),
        ("third", "three"),
    ]);
    let file = folder.path().join("t.yaml");
    let mut watch = started(&file);
    // Twice: after the first replacement the watched file is another one.
    for (name, value) in [("other", "two"), ("third", "three")] {
        write(
            folder.path(),
            "t.yaml.new",
            &TOOLSET.replace("file:token", &format!("file:{name}")),
        );
        std::fs::rename(folder.path().join("t.yaml.new"), &file).unwrap();
        until(&mut watch, &file, value).await;
    }
}

#[tokio::test]
async fn a_file_source_elsewhere_is_noticed() {
    let secrets = folder(&[("token", "one")]);
    let token = secrets.path().join("token");
    let resources = folder(&[(
        "t.yaml",
        &TOOLSET.replace("file:token", &format!("file:{}", token.display())),
    )]);
    let mut watch = started(resources.path());
    write(secrets.path(), "token", "two");
    until(&mut watch, resources.path(), "two").await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_mounted_secret_that_kubernetes_swaps_is_noticed() {
    use std::os::unix::fs::symlink;
    let mount = folder(&[
        ("..one/token", "one"),
        ("..two/token", "two"),
        ("..three/token", "three"),
    ]);
    symlink("..one", mount.path().join("..data")).unwrap();
    symlink("..data/token", mount.path().join("token")).unwrap();
    let token = mount.path().join("token");
    let resources = folder(&[(
        "t.yaml",
        &TOOLSET.replace("file:token", &format!("file:{}", token.display())),
    )]);
    let mut watch = started(resources.path());
    for next in ["two", "three"] {
        symlink(format!("..{next}"), mount.path().join("..data_tmp")).unwrap();
        std::fs::rename(mount.path().join("..data_tmp"), mount.path().join("..data")).unwrap();
        until(&mut watch, resources.path(), next).await;
    }
}

#[tokio::test]
async fn a_folder_that_is_replaced_as_a_whole_is_noticed() {
    let above = folder(&[
        ("now/t.yaml", TOOLSET),
        ("now/token", "one"),
        ("next/t.yaml", TOOLSET),
        ("next/token", "two"),
    ]);
    let now = above.path().join("now");
    let mut watch = started(&now);
    std::fs::rename(&now, above.path().join("old")).unwrap();
    std::fs::rename(above.path().join("next"), &now).unwrap();
    until(&mut watch, &now, "two").await;
    write(&now, "token", "three");
    until(&mut watch, &now, "three").await;
}

#[tokio::test]
async fn a_change_before_following_is_told() {
    let secrets = folder(&[("token", "one")]);
    let token = secrets.path().join("token");
    let resources = folder(&[(
        "t.yaml",
        &TOOLSET.replace("file:token", &format!("file:{}", token.display())),
    )]);
    let mut watch = Watch::start(&[resources.path().to_path_buf()]);
    let loaded = load(resources.path());
    write(secrets.path(), "token", "longer");
    watch.follow(&loaded);
    until(&mut watch, resources.path(), "longer").await;
}

#[tokio::test]
async fn other_files_beside_a_named_file_do_not_matter() {
    let folder = folder(&[("t.yaml", &TOOLSET.replace("file:token", "env:TOKEN"))]);
    let mut watch = started(&folder.path().join("t.yaml"));
    write(folder.path(), "other.yaml", "x");
    assert!(
        timeout(Duration::from_millis(600), watch.changed())
            .await
            .is_err()
    );
    // A given-up wait loses nothing.
    write(folder.path(), "t.yaml", TOOLSET);
    timeout(PATIENCE, watch.changed()).await.unwrap();
}
