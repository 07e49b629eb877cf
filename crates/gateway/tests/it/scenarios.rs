//! Every scenario file of the gateway, in every way it is told.

use std::path::{Path, PathBuf};

use tokio::task::JoinSet;

use crate::story::Story;

/// Stories told at the same time.
const AT_ONCE: usize = 8;
/// Names the one story to tell, while it is being written.
const ONLY: &str = "STORY";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_story_of_the_gateway_is_true() {
    tell_all("gateway").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_story_of_reload_is_true() {
    tell_all("reload").await;
}

async fn tell_all(folder: &str) {
    let only = std::env::var(ONLY).ok();
    let (mut told, mut wrong) = (0, Vec::new());
    let mut tasks = JoinSet::new();
    for path in files(folder) {
        let story = match Story::read(&path) {
            Ok(story) => std::sync::Arc::new(story),
            Err(error) => {
                wrong.push(format!("{error:#}"));
                continue;
            }
        };
        if only.as_ref().is_some_and(|only| *only != story.name) {
            continue;
        }
        for (word, way) in story.ways.clone() {
            told += 1;
            let story = story.clone();
            tasks.spawn(async move {
                let outcome = Box::pin(story.play(word, way)).await;
                outcome
                    .err()
                    .map(|error| format!("{} ({word}): {error:#}", story.name))
            });
            if tasks.len() >= AT_ONCE {
                wrong.extend(tasks.join_next().await.unwrap().unwrap());
            }
        }
    }
    for outcome in tasks.join_all().await {
        wrong.extend(outcome);
    }
    wrong.sort();
    assert!(
        wrong.is_empty(),
        "{} of {told} tellings went wrong:\n\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
    assert!(told > 0 || only.is_some(), "no story in {folder}");
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../scenarios")
        .join(folder);
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    files.sort();
    files
}
