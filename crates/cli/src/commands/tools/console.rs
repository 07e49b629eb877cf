//! What the user sees while a call is under way: progress and messages of the server, on stderr.

use std::{
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::text;

const TICK: Duration = Duration::from_millis(120);

/// The user's stderr.
#[derive(Debug)]
pub(super) struct Console {
    /// The least severe messages of the server to show.
    pub(super) log_level: String,
    on_terminal: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Console {
    pub(super) fn new(log_level: &str) -> Self {
        Self {
            log_level: log_level.to_owned(),
            on_terminal: std::io::stderr().is_terminal(),
            bar: Mutex::new(None),
        }
    }

    /// Whether somebody is there to be asked.
    pub(super) fn can_ask(&self) -> bool {
        self.on_terminal && std::io::stdin().is_terminal()
    }

    /// Shows how far the call has come: as a bar on a terminal, as lines elsewhere.
    pub(super) fn progress(&self, params: &Value) {
        let (done, total) = (&params["progress"], &params["total"]);
        let message = text::one_line(params["message"].as_str().unwrap_or_default());
        if !self.on_terminal {
            let of = match total {
                Value::Null => String::new(),
                total => format!("/{total}"),
            };
            anstream::eprintln!("progress: {done}{of} {message}");
            return;
        }
        let (Some(done), total) = (whole(done), whole(total)) else {
            return;
        };
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bar.get_or_insert_with(|| new_bar(total));
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(done);
        bar.set_message(message);
    }

    /// Shows a log message of the server.
    pub(super) fn log(&self, params: &Value) {
        let level = params["level"].as_str().unwrap_or("message");
        let logger = params["logger"].as_str().map(|name| format!(" {name}"));
        let data = match &params["data"] {
            Value::String(text) => text.clone(),
            data => data.to_string(),
        };
        let line = format!("{level}{}: {data}", logger.unwrap_or_default());
        self.say(&format!("server {}", text::one_line(&line)));
    }

    /// Writes a line without spoiling the bar.
    pub(super) fn say(&self, line: &str) {
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        match &*bar {
            Some(bar) => bar.suspend(|| anstream::eprintln!("{line}")),
            None => anstream::eprintln!("{line}"),
        }
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Progress may be a fraction; a bar has whole steps.
fn whole(number: &Value) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the conversion saturates, and a bar need not be exact"
    )]
    let whole = |number: f64| number.max(0.0) as u64;
    number.as_u64().or_else(|| number.as_f64().map(whole))
}

fn new_bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{bar:30} {pos}/{len} {wide_msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {pos} {wide_msg}"),
    };
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(TICK);
    bar
}
