//! The supervisor: a small process between us and a child, that outlives us just long enough to end the child.
//!
//! It is a subreaper: whatever the child starts, however it detaches, becomes the supervisor's own child when its parent
//! ends. So "no child is left" is exact, and only children of its own are ever killed: no process id can be mistaken.
//! It leads the process group the child starts in, away from the terminal's.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_current_process_group, wait};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::family::{self, Parent};

/// The first argument that makes our binary a supervisor; the others are for [`supervise`].
pub const SUPERVISE: &str = "__supervise";
/// What the supervisor is called in lists of processes: not as this program, so that `pkill -9` of this program spares it.
pub(super) const NAME: &str = "mcp-supervisor";
/// Asks the supervisor to kill at once.
pub(super) const END_NOW: Signal = Signal::USR1;

/// From asking everything to end to killing what has not.
const GRACE: Duration = Duration::from_secs(3);
/// How often killing is repeated, for processes that appear while it goes on.
const KILL_INTERVAL: Duration = Duration::from_millis(20);

const USAGE_WRONG: u8 = 125;
const NOT_STARTED: u8 = 126;
const NOT_FOUND: u8 = 127;
const BY_SIGNAL: i32 = 128;

/// Runs a program until it ends, or until our parent does, and then ends all that it started.
/// Arguments: optionally `--`, the process id of the parent, the program, the program's arguments.
/// To be called first thing in `main`, before there are threads.
pub fn supervise(args: Vec<OsString>) -> ExitCode {
    let Some(order) = Order::read(args) else {
        return refuse(USAGE_WRONG, "a supervisor is started by this program only");
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build();
    match runtime.map(|runtime| runtime.block_on(run(order))) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) | Err(error) => refuse(NOT_STARTED, &format!("supervisor failed: {error}")),
    }
}

struct Order {
    parent: Pid,
    program: OsString,
    args: Vec<OsString>,
}

impl Order {
    fn read(args: Vec<OsString>) -> Option<Self> {
        let mut args = args.into_iter().peekable();
        args.next_if(|first| first == "--");
        Some(Self {
            parent: Pid::from_raw(args.next()?.to_str()?.parse().ok()?)?,
            program: args.next()?,
            args: args.collect(),
        })
    }
}

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    /// Everything has been asked to end.
    Asked {
        until: Instant,
    },
    Killing,
}

async fn run(order: Order) -> io::Result<ExitCode> {
    // First the signals: one that comes before is deadly, and there is nothing to leave behind yet.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut end_now = signal(SignalKind::user_defined1())?;
    let mut child_ended = signal(SignalKind::child())?;
    family::be_named(NAME);
    family::adopt_orphans();
    let mut parent = Parent::watch(order.parent);
    let program = match start(&order) {
        Ok(program) => program,
        Err(error) => return Ok(not_started(&order, &error)),
    };
    release_pipes();

    let mut status = None;
    let mut stage = Stage::Running;
    while reap(program, &mut status) {
        let now = Instant::now();
        match stage {
            Stage::Running if status.is_some() => stage = ask(now),
            Stage::Asked { until } if until <= now => stage = Stage::Killing,
            Stage::Running | Stage::Asked { .. } | Stage::Killing => {}
        }
        if stage == Stage::Killing {
            family::kill_children();
        }
        let look_again = match stage {
            Stage::Running => None,
            Stage::Asked { until } => Some(until),
            Stage::Killing => Some(now + KILL_INTERVAL),
        };
        tokio::select! {
            _ = child_ended.recv() => {}
            () = parent.gone(), if stage == Stage::Running => stage = ask(now),
            _ = terminate.recv(), if stage == Stage::Running => stage = ask(now),
            _ = interrupt.recv(), if stage == Stage::Running => stage = ask(now),
            _ = hangup.recv(), if stage == Stage::Running => stage = ask(now),
            _ = end_now.recv() => stage = Stage::Killing,
            () = sleep_until(look_again.unwrap_or(now)), if look_again.is_some() => {}
        }
    }
    Ok(ExitCode::from(status.unwrap_or(NOT_STARTED)))
}

#[expect(clippy::disallowed_methods, reason = "the supervisor's one child")]
fn start(order: &Order) -> io::Result<Pid> {
    let child = std::process::Command::new(&order.program)
        .args(&order.args)
        .spawn()?;
    // From here on `wait` speaks of it.
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    id.ok_or_else(|| io::Error::other("the child has no process id"))
}

/// Leaves stdin and stdout to the child alone: when it closes them, our parent must see that.
fn release_pipes() {
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null");
    if let Ok(null) = null {
        // Without this, the parent sees the end only when we end; no more is lost.
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}

/// Notes who has ended. False when no child is left, orphans that became ours included.
fn reap(program: Pid, status: &mut Option<u8>) -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((id, ended))) if id == program => *status = Some(code(ended)),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// Asks the whole group, and orphans that left it, to end. We are of the group too, and deaf to it from now on.
fn ask(now: Instant) -> Stage {
    let _ = kill_current_process_group(Signal::TERM);
    family::ask_strays();
    Stage::Asked { until: now + GRACE }
}

/// The exit code that stands for how a process ended, as shells have it.
fn code(ended: WaitStatus) -> u8 {
    let code = ended
        .exit_status()
        .or_else(|| ended.terminating_signal().map(|signal| BY_SIGNAL + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}

/// What an exit code of the supervisor says, for people.
pub(super) fn exit_text(code: i32) -> String {
    let signal = match code - BY_SIGNAL {
        2 => "SIGINT",
        6 => "SIGABRT",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        other if (1..=64).contains(&other) => return format!("ended by signal {other}"),
        _ => return format!("exited with status {code}"),
    };
    format!("ended by signal {} ({signal})", code - BY_SIGNAL)
}

fn not_started(order: &Order, error: &io::Error) -> ExitCode {
    let code = match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_STARTED,
    };
    refuse(
        code,
        &format!("cannot start {}: {error}", order.program.display()),
    )
}

/// Says why on stderr, which our parent logs.
fn refuse(code: u8, reason: &str) -> ExitCode {
    drop(writeln!(io::stderr(), "{reason}"));
    ExitCode::from(code)
}
