//! One run of the load generator, and the median of several.

use std::fmt;

use anyhow::Context;
use serde::Deserialize;

use super::plan::{Era, Scenario, Target};
use super::stage::Place;
use super::tools::Tools;
use super::{Pace, stage};
use crate::workspace;

/// What one run told, as far as it is used here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Sample {
    fatal: Option<String>,
    errors: u64,
    first_error: Option<String>,
    target_cpu_us_per_req: Option<f64>,
    target_user_us_per_req: Option<f64>,
    rps: Option<f64>,
    p50_us: Option<f64>,
    kib_each: Option<f64>,
    fds_each: Option<f64>,
    rss_kib: Option<f64>,
    first_answer_ms: Option<f64>,
    last_error: String,
}

/// Loads one hop once.
pub(crate) fn run(
    tools: &Tools,
    pace: &Pace,
    scenario: &Scenario,
    target: &Target,
    era: Era,
    place: &Place,
) -> anyhow::Result<Sample> {
    let mut command = generator(tools, scenario.load, target, era, &place.url);
    command
        .args(["--warmup", pace.warmup, "--duration", pace.duration])
        .args(["--pid", &place.pid.to_string()])
        .args(scenario.arguments);
    read(&workspace::output_of(&mut command)?)
}

/// Starts a hop under the load generator's watch, asks once, and ends it.
pub(crate) fn startup(
    tools: &Tools,
    target: &Target,
    era: Era,
    url: &str,
    started: &[String],
) -> anyhow::Result<Sample> {
    let mut command = generator(tools, "startup", target, era, url);
    command.args(["--settle", "1", "--"]).args(started);
    let sample = read(&workspace::output_of(&mut command)?)?;
    if sample.first_answer_ms.is_none() {
        return Ok(Sample::failed(sample.last_error));
    }
    Ok(sample)
}

/// Whether a hop answers a call in this era; what it says when it does not.
pub(crate) fn answers(tools: &Tools, target: &Target, era: Era, url: &str) -> Result<(), String> {
    let mut command = generator(tools, "call", target, era, url);
    command.args(["--conns", "1", "--warmup", "0", "--duration", "0.05"]);
    let sample = workspace::output_of(&mut command)
        .and_then(|told| read(&told))
        .map_err(|error| format!("{error:#}"))?;
    match sample.trouble() {
        None => Ok(()),
        Some(trouble) => Err(trouble.to_owned()),
    }
}

fn generator(
    tools: &Tools,
    load: &str,
    target: &Target,
    era: Era,
    url: &str,
) -> std::process::Command {
    let mut command = workspace::program("taskset");
    command
        .args(["-c", stage::LOAD_CPU])
        .arg(&tools.load)
        .args([
            load,
            "--url",
            url,
            "--era",
            era.word(),
            "--tool",
            target.tools,
        ]);
    command
}

fn read(told: &str) -> anyhow::Result<Sample> {
    serde_json::from_str(told).with_context(|| format!("the load generator said: {told}"))
}

impl Sample {
    /// A run that could not begin.
    pub(crate) fn failed(fatal: String) -> Self {
        Self {
            fatal: Some(fatal),
            ..Self::default()
        }
    }

    fn trouble(&self) -> Option<&str> {
        let unsaid = (self.errors > 0).then_some("failed without a word");
        self.fatal
            .as_deref()
            .or(self.first_error.as_deref())
            .or(unsaid)
    }
}

/// Medians over the repeats; what a scenario does not measure is absent.
#[derive(Debug, Default, Clone)]
pub(crate) struct Measured {
    /// CPU microseconds of the hop per request, user and system.
    pub(crate) cpu_us: Option<f64>,
    /// The user part of it.
    pub(crate) user_us: Option<f64>,
    /// Requests answered per second.
    pub(crate) per_second: Option<f64>,
    /// Median latency.
    pub(crate) p50_us: Option<f64>,
    /// Resident memory per session or stream held.
    pub(crate) kib_each: Option<f64>,
    /// File descriptors per session or stream held.
    pub(crate) fds_each: Option<f64>,
    /// Resident memory of a process that has just started.
    pub(crate) rss_kib: Option<f64>,
    /// From start to the first good answer.
    pub(crate) first_answer_ms: Option<f64>,
    /// How many runs failed, and the first failure; their figures are left out.
    pub(crate) trouble: Option<String>,
}

impl Measured {
    /// The median of every figure over all runs that had no failure.
    pub(crate) fn median(samples: &[Sample]) -> Self {
        let (failed, sound): (Vec<&Sample>, Vec<&Sample>) = samples
            .iter()
            .partition(|sample| sample.trouble().is_some());
        let of = |figure: fn(&Sample) -> Option<f64>| {
            middle(sound.iter().filter_map(|sample| figure(sample)))
        };
        Self {
            cpu_us: of(|sample| sample.target_cpu_us_per_req),
            user_us: of(|sample| sample.target_user_us_per_req),
            per_second: of(|sample| sample.rps),
            p50_us: of(|sample| sample.p50_us),
            kib_each: of(|sample| sample.kib_each),
            fds_each: of(|sample| sample.fds_each),
            rss_kib: of(|sample| sample.rss_kib),
            first_answer_ms: of(|sample| sample.first_answer_ms),
            trouble: failed
                .iter()
                .find_map(|sample| sample.trouble())
                .map(|first| format!("{} of {} runs failed: {first}", failed.len(), samples.len())),
        }
    }
}

fn middle(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[half]),
        _ => Some(f64::midpoint(values[half - 1], values[half])),
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = [
            ("cpu_us", self.cpu_us),
            ("user_us", self.user_us),
            ("per_second", self.per_second),
            ("p50_us", self.p50_us),
            ("kib_each", self.kib_each),
            ("fds_each", self.fds_each),
            ("rss_kib", self.rss_kib),
            ("first_answer_ms", self.first_answer_ms),
        ];
        for (name, value) in figures {
            if let Some(value) = value {
                write!(f, "{name}={value:.1} ")?;
            }
        }
        if let Some(trouble) = &self.trouble {
            write!(f, "trouble: {trouble}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Measured, Sample, middle};

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        for (values, expected) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![9.0, 1.0, 2.0], Some(2.0)),
            (vec![4.0, 1.0, 2.0, 100.0], Some(3.0)),
        ] {
            assert_eq!(middle(values.into_iter()), expected);
        }
    }

    #[test]
    fn a_failed_run_is_told_and_its_figures_left_out() {
        let sound = Sample {
            target_cpu_us_per_req: Some(10.0),
            ..Sample::default()
        };
        let failed = Sample {
            errors: 1,
            first_error: Some("502".to_owned()),
            target_cpu_us_per_req: Some(90.0),
            ..Sample::default()
        };
        let measured = Measured::median(&[sound, failed]);
        assert_eq!(measured.cpu_us, Some(10.0));
        assert_eq!(measured.trouble.as_deref(), Some("1 of 2 runs failed: 502"));
    }
}
