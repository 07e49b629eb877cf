//! The program under test.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Output, Stdio},
};

/// Starts the program with nothing in its environment but what is given.
pub(crate) fn start(arguments: &[&str], env: &[(&str, &str)]) -> Child {
    #[expect(clippy::disallowed_methods, reason = "the program under test")]
    Command::new(env!("CARGO_BIN_EXE_marque"))
        .args(arguments)
        .env_clear()
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the program said and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Ran {
    run_with(arguments, &[])
}

/// Runs the program to its end, with an environment.
pub(crate) fn run_with(arguments: &[&str], env: &[(&str, &str)]) -> Ran {
    finish(start(arguments, env))
}

/// Waits for the end.
pub(crate) fn finish(mut child: Child) -> Ran {
    drop(child.stdin.take());
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    Ran {
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// Reads the first line of stdout and closes it, as `head -1` does.
pub(crate) fn head(mut child: Child) -> (String, Ran) {
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    (line, finish(child))
}
