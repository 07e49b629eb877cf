//! The smallest program that owns a child: `supervised own PROGRAM ARGS…` prints what the child says until it is killed.
//! The tests kill it in every way they can think of.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use transport::child::{Child, ChildSpec, SUPERVISE, supervise};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(first) if first == SUPERVISE => supervise(args.collect()),
        Some(first) if first == "own" => own(args.collect()),
        _ => ExitCode::FAILURE,
    }
}

fn own(mut command: Vec<OsString>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be had");
    let spec = ChildSpec {
        label: "owned".to_owned(),
        program: command.remove(0),
        args: command,
        env: vec![("PATH".into(), std::env::var_os("PATH").unwrap_or_default())],
        working_directory: None,
        supervisor: std::env::current_exe().expect("this program has a path"),
    };
    runtime.block_on(async {
        let Ok(mut child) = Child::start(&spec).await else {
            return ExitCode::FAILURE;
        };
        while let Some(Ok(line)) = child.reader.next().await {
            let mut out = std::io::stdout().lock();
            let told = out.write_all(&line).and_then(|()| out.write_all(b"\n"));
            if told.and_then(|()| out.flush()).is_err() {
                break;
            }
        }
        ExitCode::SUCCESS
    })
}
