//! The measurements as Markdown, put between the markers of docs/performance.md.

use std::fmt::Write as _;

use anyhow::Context;

use super::Results;
use super::load::Measured;
use super::plan::{AIMS, Aim, Era, Figure, Limit, SCENARIOS, Scenario};
use super::tools::Tools;
use crate::workspace;

const FILE: &str = "docs/performance.md";
const BEGIN: &str = "<!-- measured by cargo xtask bench: begin -->";
const END: &str = "<!-- measured by cargo xtask bench: end -->";
const ERAS: [Era; 2] = [Era::Legacy, Era::Modern];

/// Where it was measured, in words.
pub(crate) struct Machine {
    day: String,
    cpu: String,
    cpus: usize,
    kernel: String,
    system: String,
    rustc: String,
    nginx: String,
    /// The one-minute load before the first run, by which other work on the machine can be judged.
    load: String,
}

impl Machine {
    /// Asks the machine what it is, and nothing that names it.
    pub(crate) fn look(tools: &Tools) -> anyhow::Result<Self> {
        let asked = |name: &str, arguments: &[&str]| {
            workspace::output_of(workspace::program(name).args(arguments))
                .map(|said| said.trim().to_owned())
        };
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let nginx = workspace::program(tools.nginx).arg("-v").output()?;
        Ok(Self {
            day: asked("date", &["-u", "+%F"])?,
            cpu: value_of(&cpuinfo, "model name", ':')
                .unwrap_or("CPU of unknown make")
                .to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: asked("uname", &["-r"])?
                .split('-')
                .next()
                .unwrap_or_default()
                .to_owned(),
            system: value_of(&release, "PRETTY_NAME", '=')
                .unwrap_or("Linux")
                .trim_matches('"')
                .to_owned(),
            rustc: asked("rustc", &["--version"])?
                .split(' ')
                .nth(1)
                .unwrap_or_default()
                .to_owned(),
            nginx: String::from_utf8_lossy(&nginx.stderr)
                .trim()
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned(),
            load: std::fs::read_to_string("/proc/loadavg")
                .ok()
                .and_then(|text| text.split(' ').next().map(str::to_owned))
                .unwrap_or_default(),
        })
    }
}

fn value_of<'a>(text: &'a str, key: &str, between: char) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_once(between).map(|(_, value)| value.trim())
}

/// Replaces what stands between the markers.
pub(crate) fn write(results: &Results, machine: &Machine, repeats: usize) -> anyhow::Result<()> {
    let path = workspace::root().join(FILE);
    let document = std::fs::read_to_string(&path).context(FILE)?;
    let (before, rest) = document
        .split_once(BEGIN)
        .with_context(|| format!("{FILE}: no line {BEGIN}"))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("{FILE}: no line {END}"))?;
    let told = tell(results, machine, repeats);
    std::fs::write(&path, format!("{before}{BEGIN}\n\n{told}\n{END}{after}"))?;
    println!("wrote {FILE}");
    Ok(())
}

fn tell(results: &Results, machine: &Machine, repeats: usize) -> String {
    let Machine {
        day,
        cpu,
        cpus,
        kernel,
        system,
        rustc,
        nginx,
        load,
    } = machine;
    [
        format!(
            "Measured {day} on a shared virtual machine with {cpus} CPUs ({cpu}), {system}, kernel {kernel}, \
             rustc {rustc}, nginx {nginx}; medians of up to {repeats} repeats; load average before the first run {load}.\n"
        ),
        aims(results),
        small_calls(results),
        other_work(results),
        latency(results),
        memory(results),
        start(results),
        failures(results),
    ]
    .join("\n")
}

fn aims(results: &Results) -> String {
    let mut text =
        String::from("### Aims\n\n| aim | at most | legacy | modern | |\n|---|---|---|---|---|\n");
    for aim in AIMS {
        let at_most = match aim.limit {
            Limit::Absolute(limit) => number(limit),
            Limit::Times(factor, other) => format!("{factor} × {other}"),
        };
        let held = ERAS.map(|era| hold(results, aim, era));
        let [legacy, modern] = held.each_ref().map(|held| {
            held.as_ref()
                .map_or_else(|| "–".to_owned(), |(shown, _)| shown.clone())
        });
        let missed = held.iter().flatten().any(|(_, over)| *over > 1.0);
        let worst = held
            .iter()
            .flatten()
            .map(|(_, over)| *over)
            .fold(0.0, f64::max);
        let verdict = match (held.iter().flatten().count(), missed) {
            (0, _) => "not measured".to_owned(),
            (_, false) => "met".to_owned(),
            (_, true) => format!("missed by {:.0} %", (worst - 1.0) * 100.0),
        };
        writeln!(
            text,
            "| {} | {at_most} | {legacy} | {modern} | {verdict} |",
            aim.text
        )
        .expect("a string takes every text");
    }
    text
}

/// The figure as shown, and its share of the limit.
fn hold(results: &Results, aim: &Aim, era: Era) -> Option<(String, f64)> {
    let figure = |target: &'static str| {
        let measured = results.get(&(aim.scenario, target, era))?;
        match aim.figure {
            Figure::Cpu => measured.cpu_us,
            Figure::KibEach => measured.kib_each,
            Figure::FirstAnswer => measured.first_answer_ms,
            Figure::FreshMib => measured.rss_kib.map(|kib| kib / 1024.0),
        }
    };
    let own = figure(aim.target)?;
    match aim.limit {
        Limit::Absolute(limit) => Some((number(own), own / limit)),
        Limit::Times(factor, other) => {
            let times = own / figure(other)?;
            Some((format!("{times:.2} ×"), times / factor))
        }
    }
}

fn small_calls(results: &Results) -> String {
    let mut text = String::from(
        "### Small tools/call, one CPU for the hop\n\nCPU µs per request, user and system; in brackets the user part.\n\n\
         | hop | legacy | modern | × nginx | × peek | requests/s, legacy / modern |\n|---|---|---|---|---|---|\n",
    );
    let scenario = scenario("call");
    for target in scenario.targets {
        let measured = ERAS.map(|era| at(results, scenario, target.name, era));
        let [legacy, modern] =
            measured
                .each_ref()
                .map(|measured| match (measured.cpu_us, measured.user_us) {
                    (Some(cpu), Some(user)) => format!("{} ({})", number(cpu), number(user)),
                    _ => trouble(measured),
                });
        let [times_nginx, times_peek] =
            ["nginx", "peek"].map(|other| times(results, scenario, target.name, other));
        let rate = both(measured.map(|measured| {
            measured
                .per_second
                .map(|rate| format!("{:.1} k", rate / 1000.0))
        }));
        writeln!(
            text,
            "| {} | {legacy} | {modern} | {times_nginx} | {times_peek} | {rate} |",
            said(target.name)
        )
        .expect("a string takes every text");
    }
    text
}

fn other_work(results: &Results) -> String {
    let mut text = String::from(
        "### Other work\n\nCPU µs of the hop per operation, legacy / modern.\n\n\
         | what | backend itself | nginx | peek | marque, 1 backend | marque, 10 backends | × peek |\n|---|---|---|---|---|---|---|\n",
    );
    for scenario in SCENARIOS.iter().filter(|scenario| {
        [
            "bridge-to-modern",
            "bridge-to-legacy",
            "events",
            "large",
            "list",
            "merged-list",
            "churn",
        ]
        .contains(&scenario.name)
    }) {
        let columns = ["direct", "nginx", "peek", "marque-1", "marque-10"].map(|column| {
            let name = scenario
                .targets
                .iter()
                .map(|target| target.name)
                .find(|name| name.starts_with(column) && (column != "marque-1" || *name == column));
            name.map_or_else(String::new, |name| {
                both(ERAS.map(|era| at(results, scenario, name, era).cpu_us.map(number)))
            })
        });
        let factor = times(results, scenario, "marque-1", "peek");
        writeln!(
            text,
            "| {} | {} | {factor} |",
            scenario.title,
            columns.join(" | ")
        )
        .expect("a string takes every text");
    }
    text
}

fn latency(results: &Results) -> String {
    let mut text = String::from(
        "### Latency at 1000 requests per second\n\nOpen loop, counted from the time a request fell due; median in µs, legacy / modern.\n\n\
         | hop | p50 |\n|---|---|\n",
    );
    let scenario = scenario("steady");
    for target in scenario.targets {
        let p50 = both(ERAS.map(|era| at(results, scenario, target.name, era).p50_us.map(number)));
        writeln!(text, "| {} | {p50} |", said(target.name)).expect("a string takes every text");
    }
    text
}

fn memory(results: &Results) -> String {
    let mut text = String::from(
        "### Memory held\n\nResident KiB of the hop for each, legacy / modern; file descriptors in brackets.\n\n\
         | what | nginx | peek | marque, 1 backend | marque, 10 backends |\n|---|---|---|---|---|\n",
    );
    for name in ["sessions", "streams"] {
        let scenario = scenario(name);
        let columns = ["nginx", "peek", "marque-1", "marque-10-call-1"].map(|column| {
            both(ERAS.map(|era| {
                let measured = at(results, scenario, column, era);
                measured.kib_each.map(|kib| {
                    format!(
                        "{} ({})",
                        number(kib),
                        number(measured.fds_each.unwrap_or_default())
                    )
                })
            }))
        });
        writeln!(text, "| {} | {} |", scenario.title, columns.join(" | "))
            .expect("a string takes every text");
    }
    text
}

fn start(results: &Results) -> String {
    let mut text = String::from(
        "### Start\n\n| hop | first good answer, ms, legacy / modern | resident MiB, fresh |\n|---|---|---|\n",
    );
    let scenario = scenario("startup");
    for target in scenario.targets {
        let measured = ERAS.map(|era| at(results, scenario, target.name, era));
        let fresh = measured[0]
            .rss_kib
            .map_or_else(|| "–".to_owned(), |kib| number(kib / 1024.0));
        let answer = both(measured.map(|measured| measured.first_answer_ms.map(number)));
        writeln!(text, "| {} | {answer} | {fresh} |", said(target.name))
            .expect("a string takes every text");
    }
    text
}

fn failures(results: &Results) -> String {
    const SHOWN_CHARS: usize = 200;
    let mut text = String::new();
    for ((scenario, target, era), measured) in results {
        if let Some(trouble) = &measured.trouble {
            if text.is_empty() {
                text.push_str("### Failures\n\n");
            }
            let line = trouble.split_whitespace().collect::<Vec<_>>().join(" ");
            let trouble: String = line.chars().take(SHOWN_CHARS).collect();
            writeln!(
                text,
                "- {scenario}, {}, {}: {trouble}",
                said(target),
                era.word()
            )
            .expect("a string takes every text");
        }
    }
    text
}

fn scenario(name: &str) -> &'static Scenario {
    SCENARIOS
        .iter()
        .find(|scenario| scenario.name == name)
        .expect("the tables name scenarios of the plan")
}

fn at(results: &Results, scenario: &Scenario, target: &'static str, era: Era) -> Measured {
    results
        .get(&(scenario.name, target, era))
        .cloned()
        .unwrap_or_default()
}

fn times(
    results: &Results,
    scenario: &Scenario,
    target: &'static str,
    other: &'static str,
) -> String {
    both(ERAS.map(|era| {
        let own = at(results, scenario, target, era).cpu_us?;
        Some(format!(
            "{:.2}",
            own / at(results, scenario, other, era).cpu_us?
        ))
    }))
}

fn both(values: [Option<String>; 2]) -> String {
    match values {
        [Some(legacy), Some(modern)] => format!("{legacy} / {modern}"),
        [Some(only), None] | [None, Some(only)] => only,
        [None, None] => "–".to_owned(),
    }
}

fn trouble(measured: &Measured) -> String {
    if measured.trouble.is_some() {
        "failed".to_owned()
    } else {
        "–".to_owned()
    }
}

fn said(target: &str) -> &str {
    match target {
        "direct" => "the backend itself, no hop",
        "nginx" => "nginx, connections kept on both sides",
        "peek" => "minimal hop, reads method and tool, cuts the prefix",
        "marque-1" => "marque, 1 backend",
        "marque-10" => "marque, 10 backends, all called",
        "marque-10-call-1" => "marque, 10 backends, one called",
        other => other,
    }
}

fn number(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::{Era, Measured, Results, aims};

    fn verdict(marque: f64) -> String {
        let mut results = Results::new();
        let cpu = |cpu| Measured {
            cpu_us: Some(cpu),
            ..Measured::default()
        };
        results.insert(("call", "nginx", Era::Legacy), cpu(10.0));
        results.insert(("call", "marque-1", Era::Legacy), cpu(marque));
        let told = aims(&results);
        told.lines()
            .find(|line| line.contains("small call, 1 backend"))
            .expect("the aim has a row")
            .to_owned()
    }

    #[test]
    fn an_aim_is_met_up_to_its_limit_and_a_miss_says_by_how_much() {
        assert_eq!(
            verdict(16.0),
            "| small call, 1 backend | 1.6 × nginx | 1.60 × | – | met |"
        );
        assert_eq!(
            verdict(20.0),
            "| small call, 1 backend | 1.6 × nginx | 2.00 × | – | missed by 25 % |"
        );
    }

    #[test]
    fn what_was_not_measured_is_said_so() {
        assert!(
            aims(&Results::new())
                .lines()
                .skip(4)
                .all(|line| line.ends_with("| not measured |"))
        );
    }
}
