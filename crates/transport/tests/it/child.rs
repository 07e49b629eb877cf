//! Child processes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use transport::child::{Child, ChildFailure, ChildSpec, LINE_BYTES_MAX};

use crate::fixture::{DEADLINE, soon};

/// Ignores SIGTERM, tells its process id, and stays.
const STUBBORN: &str = r#"trap "" TERM; echo $$; exec sleep 1000"#;

/// The example that can supervise and own; `cargo test` builds it beside the tests.
fn supervised() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests
        .ancestors()
        .nth(2)
        .unwrap()
        .join("examples/supervised");
    assert!(
        path.is_file(),
        "{} is missing: run `cargo test -p transport` or `cargo build --examples`",
        path.display()
    );
    path
}

fn spec(program: &str, args: &[&str]) -> ChildSpec {
    ChildSpec {
        label: "test".to_owned(),
        program: program.into(),
        args: args.iter().map(OsString::from).collect(),
        env: vec![("PATH".into(), std::env::var_os("PATH").unwrap())],
        working_directory: None,
        supervisor: supervised(),
    }
}

async fn shell(script: &str) -> Child {
    Child::start(&spec("sh", &["-c", script])).await.unwrap()
}

async fn line(child: &mut Child) -> String {
    let line = soon(child.reader.next()).await.unwrap().unwrap();
    String::from_utf8(line.to_vec()).unwrap()
}

/// False also for a process that has ended and is not reaped yet.
fn lives(id: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.trim_start().starts_with('Z'));
    state == Some(false)
}

async fn all_end(ids: &[String]) {
    assert!(!ids.is_empty());
    let gone = async {
        while ids.iter().any(|id| lives(id)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ended = tokio::time::timeout(DEADLINE, gone).await;
    assert!(
        ended.is_ok(),
        "still alive: {:?}",
        ids.iter().filter(|id| lives(id)).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn lines_go_in_and_out() {
    let mut child = Child::start(&spec("cat", &[])).await.unwrap();
    for message in ["{\"a\":1}", "", "two", "three"] {
        soon(child.writer.send(message.as_bytes())).await.unwrap();
    }
    for expected in ["{\"a\":1}", "two", "three"] {
        assert_eq!(line(&mut child).await, expected);
    }
    let ended = soon(child.guard.stop(Duration::from_secs(10))).await;
    assert_eq!(ended, "exited with status 0");
    assert!(soon(child.reader.next()).await.is_none());
    let failure = child.writer.send(b"late").await.unwrap_err();
    assert!(matches!(failure, ChildFailure::Closed { .. }), "{failure}");
}

#[tokio::test]
async fn large_lines_go_whole_and_too_large_ones_are_passed_over() {
    let mut child = Child::start(&spec("cat", &[])).await.unwrap();
    let large = vec![b'x'; 1 << 20];
    let (sent, read) = tokio::join!(child.writer.send(&large), soon(child.reader.next()));
    sent.unwrap();
    assert_eq!(read.unwrap().unwrap(), large);
    let script = format!(
        "head -c {} /dev/zero | tr '\\0' y; echo; echo next",
        LINE_BYTES_MAX + 1
    );
    let mut child = shell(&script).await;
    let failure = soon(child.reader.next()).await.unwrap().unwrap_err();
    assert!(
        matches!(failure, ChildFailure::LineTooLong { .. }),
        "{failure}"
    );
    assert_eq!(line(&mut child).await, "next");
}

#[tokio::test]
async fn environment_and_directory_are_what_was_given() {
    let mut spec = spec("sh", &["-c", "pwd; env | grep -c '^CARGO'; echo $GIVEN"]);
    spec.env.push(("GIVEN".into(), "this".into()));
    spec.working_directory = Some("/".into());
    let mut child = Child::start(&spec).await.unwrap();
    for expected in ["/", "0", "this"] {
        assert_eq!(line(&mut child).await, expected);
    }
}

#[tokio::test]
async fn way_of_ending_and_last_words_are_told() {
    let cases = [
        ("echo why >&2; exit 3", "exited with status 3"),
        ("echo why >&2; kill -9 $$", "ended by signal 9 (SIGKILL)"),
    ];
    for (script, expected) in cases {
        let mut child = shell(script).await;
        assert_eq!(soon(child.guard.exited()).await, expected);
        assert_eq!(child.guard.last_words(), ["why"]);
    }
}

#[tokio::test]
async fn flood_on_stderr_blocks_nobody() {
    let mut child =
        shell("i=0; while [ $i -lt 20000 ]; do echo noise $i >&2; i=$((i+1)); done; echo done")
            .await;
    assert_eq!(line(&mut child).await, "done");
    soon(child.guard.exited()).await;
    let words = child.guard.last_words();
    assert_eq!(words.len(), 20);
    assert_eq!(words[19], "noise 19999");
}

#[tokio::test]
async fn missing_things_are_named() {
    let missing = Child::start(&spec("no-such-program-here", &[]))
        .await
        .unwrap_err();
    assert!(matches!(missing, ChildFailure::NotFound { .. }));
    assert!(
        missing.to_string().contains("no-such-program-here"),
        "{missing}"
    );
    let missing = Child::start(&spec("./no-such-file", &[]))
        .await
        .unwrap_err();
    assert!(
        matches!(missing, ChildFailure::NotFound { .. }),
        "{missing}"
    );
    let mut without_path = spec("sh", &[]);
    without_path.env.clear();
    let missing = Child::start(&without_path).await.unwrap_err();
    assert!(missing.to_string().contains("PATH"), "{missing}");
    let mut elsewhere = spec("sh", &[]);
    elsewhere.working_directory = Some("/no/such/place".into());
    let missing = Child::start(&elsewhere).await.unwrap_err();
    assert!(
        matches!(missing, ChildFailure::NoDirectory { .. }),
        "{missing}"
    );
}

#[tokio::test]
async fn stop_is_gentle_first() {
    // Ends by itself when its stdin ends.
    let mut child = shell("echo up; cat; echo bye >&2; exit 4").await;
    line(&mut child).await;
    assert_eq!(
        soon(child.guard.stop(Duration::from_secs(10))).await,
        "exited with status 4"
    );
    // Ends when asked.
    let mut child = shell("trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done").await;
    line(&mut child).await;
    assert_eq!(
        soon(child.guard.stop(Duration::from_millis(400))).await,
        "exited with status 5"
    );
}

#[tokio::test]
async fn stop_kills_what_does_not_listen() {
    let mut child = shell(&format!(
        "trap '' TERM; (sh -c '{STUBBORN}') & setsid sh -c '{STUBBORN}' & while :; do sleep 1; done"
    ))
    .await;
    let ids = [line(&mut child).await, line(&mut child).await];
    let ended = soon(child.guard.stop(Duration::from_millis(200))).await;
    assert_eq!(ended, "ended by signal 9 (SIGKILL)");
    assert!(
        !ids.iter().any(|id| lives(id)),
        "nothing is left when stop returns"
    );
}

#[tokio::test]
async fn drop_ends_everything() {
    let mut child = shell(&format!(
        "trap '' TERM; setsid sh -c '{STUBBORN}' & echo $$; while :; do sleep 1; done"
    ))
    .await;
    let ids = [line(&mut child).await, line(&mut child).await];
    drop(child);
    all_end(&ids).await;
}

#[tokio::test]
async fn end_of_the_program_ends_what_it_left_behind() {
    let mut child = shell(&format!("setsid sh -c '{STUBBORN}' & read line; exit 0")).await;
    let id = line(&mut child).await;
    child.writer.send(b"go").await.unwrap();
    assert_eq!(soon(child.guard.exited()).await, "exited with status 0");
    assert!(!lives(&id));
}

#[tokio::test]
async fn killed_supervisor_takes_its_group_along() {
    let mut child = shell("trap '' TERM; echo $$; echo $PPID; while :; do sleep 1; done").await;
    let ids = [line(&mut child).await, line(&mut child).await];
    let name = std::fs::read_to_string(format!("/proc/{}/comm", ids[1])).unwrap();
    assert_eq!(name.trim(), "mcp-supervisor");
    let supervisor = rustix::process::Pid::from_raw(ids[1].parse().unwrap()).unwrap();
    rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).unwrap();
    let ended = soon(child.guard.exited()).await;
    assert!(ended.contains("signal 9"), "{ended}");
    all_end(&ids).await;
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "the owner that is killed is not one of ours"
)]
async fn killed_owner_leaves_nobody_behind() {
    // As `sh -c 'npx …'` does it: a shell, a grandchild that ignores SIGTERM, one that has left the session, and one
    // that has left both session and parent.
    let script = format!(
        "trap '' TERM; S='{STUBBORN}'; export S; sh -c \"$S\" & setsid sh -c \"$S\" & sh -c 'setsid sh -c \"$S\" & exit 0' & echo $$; cat; while :; do sleep 1; done"
    );
    let mut owner = tokio::process::Command::new(supervised())
        .args(["own", "sh", "-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(soon(lines.next_line()).await.unwrap().unwrap());
    }
    assert!(ids.iter().all(|id| lives(id)), "{ids:?}");
    // SIGKILL: the owner can do nothing any more.
    owner.start_kill().unwrap();
    all_end(&ids).await;
}
