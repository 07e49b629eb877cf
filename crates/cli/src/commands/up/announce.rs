//! What is said at the start: one URL per endpoint at once, then what is served in a few lines.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use gateway::{EraReport, Gateway, Report, ServerReport};
use indicatif::{ProgressBar, ProgressStyle};

use super::listeners::Endpoint;

/// What is not known by then is said as it is.
const SETTLE_WAIT: Duration = Duration::from_millis(4500);
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// One full URL per endpoint on stdout.
pub(super) fn urls(endpoints: &[Endpoint]) {
    for endpoint in endpoints {
        anstream::println!("{}", endpoint.url);
    }
}

/// Waits for the servers, showing progress on a terminal, then says what is served.
pub(super) async fn what_is_served(gateway: &Gateway, endpoints: &[Endpoint]) {
    let end = Instant::now() + SETTLE_WAIT;
    let spinner = spinner();
    let mut report = gateway.report();
    while !report.settled && Instant::now() < end {
        let waiting = report.servers.iter().filter(|server| is_waiting(server));
        let names: Vec<&str> = waiting.map(|server| server.id.as_str()).collect();
        spinner.set_message(format!("waiting for {}", names.join(", ")));
        tokio::time::sleep(LOOK_AGAIN).await;
        report = gateway.report();
    }
    spinner.finish_and_clear();
    // What servers have said by now is counted, even if the merge that follows it is still due.
    gateway.refresh();
    report = gateway.report();
    anstream::print!("{}", summary(&report, endpoints));
}

fn spinner() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let spinner = ProgressBar::new_spinner().with_style(style);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

fn summary(report: &Report, endpoints: &[Endpoint]) -> String {
    let mut out = String::new();
    for toolset in &report.toolsets {
        let count = toolset.tools[0].max(toolset.tools[1]);
        let servers = plural(toolset.servers.len(), "server");
        let hidden = if endpoints
            .iter()
            .any(|endpoint| endpoint.toolset == toolset.name)
        {
            ""
        } else {
            " (no listener serves it)"
        };
        line(
            &mut out,
            format_args!(
                "\n{}: {} from {servers}{hidden}",
                toolset.name,
                plural(count, "tool")
            ),
        );
        let shown: Vec<&ServerReport> = toolset
            .servers
            .iter()
            .filter_map(|id| report.servers.iter().find(|server| server.id == *id))
            .collect();
        let width = shown
            .iter()
            .map(|server| server.id.len())
            .max()
            .unwrap_or(0);
        for server in shown {
            line(
                &mut out,
                format_args!("  {:width$}  {}", server.id, describe(server)),
            );
        }
        for problem in &toolset.problems {
            line(
                &mut out,
                format_args!("  \x1b[33mnot shown\x1b[0m  {problem}"),
            );
        }
    }
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("writing to a string cannot fail");
}

fn describe(server: &ServerReport) -> String {
    match (&server.modern, &server.legacy) {
        (EraReport::Ready { version, .. }, EraReport::Ready { version: older, .. }) => {
            format!(
                "\x1b[32mready\x1b[0m  {}  {version} and {older}",
                counts(&server.modern)
            )
        }
        (ready @ EraReport::Ready { version, .. }, _) => {
            format!(
                "\x1b[32mready\x1b[0m  {}  {version}, bridged for legacy clients",
                counts(ready)
            )
        }
        (_, ready @ EraReport::Ready { version, .. }) => {
            format!(
                "\x1b[32mready\x1b[0m  {}  {version}, bridged for modern clients",
                counts(ready)
            )
        }
        (EraReport::Starting, _) | (_, EraReport::Starting) => {
            "\x1b[33mstarting\x1b[0m  shown as soon as it answers".to_owned()
        }
        (EraReport::Down { reason, .. }, _) | (_, EraReport::Down { reason, .. }) => {
            format!("\x1b[31mdown\x1b[0m  {reason}; it is tried again")
        }
        (EraReport::NotSpoken { reason }, EraReport::NotSpoken { .. }) => {
            format!("\x1b[31mno MCP\x1b[0m  {reason}")
        }
    }
}

fn counts(era: &EraReport) -> String {
    let EraReport::Ready {
        tools,
        prompts,
        resources,
        ..
    } = era
    else {
        return String::new();
    };
    let all = [
        (*tools, "tool"),
        (*prompts, "prompt"),
        (*resources, "resource"),
    ];
    let parts: Vec<String> = all
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| plural(*count, word))
        .collect();
    if parts.is_empty() {
        "nothing listed".to_owned()
    } else {
        parts.join(", ")
    }
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 {
        format!("1 {word}")
    } else {
        format!("{count} {word}s")
    }
}

const fn is_waiting(server: &ServerReport) -> bool {
    matches!(server.modern, EraReport::Starting) || matches!(server.legacy, EraReport::Starting)
}
