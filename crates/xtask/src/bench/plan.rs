//! What is measured: the hops, the scenarios, and what we aim at.

/// The two ways of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Era {
    /// Up to 2025-11-25, with a session.
    Legacy,
    /// From 2026-07-28, stateless.
    Modern,
}

impl Era {
    /// As the load generator and the tables say it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

/// What stands between load and backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hop {
    /// Nothing: the backend itself.
    None,
    /// nginx as a reverse proxy.
    Nginx,
    /// The minimal hop that reads method and tool and cuts the prefix out.
    Peek,
    /// Marque with one backend.
    MarqueOne,
    /// Marque with ten.
    MarqueTen,
}

/// How many tools each backend has, and what it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Backend {
    /// Ten, in both eras.
    Small,
    /// One hundred, in both eras.
    Large,
    /// Ten, up to 2025-11-25 only.
    Legacy,
    /// Ten, in 2026-07-28 only.
    Modern,
}

impl Backend {
    /// The number of tools.
    pub(crate) fn tools(self) -> &'static str {
        match self {
            Self::Small | Self::Legacy | Self::Modern => "10",
            Self::Large => "100",
        }
    }

    /// The eras that it answers in.
    pub(crate) fn eras(self) -> &'static [Era] {
        match self {
            Self::Small | Self::Large => BOTH,
            Self::Legacy => &[Era::Legacy],
            Self::Modern => &[Era::Modern],
        }
    }
}

/// A hop with what is called through it.
#[derive(Debug)]
pub(crate) struct Target {
    /// In the output and the tables.
    pub(crate) name: &'static str,
    /// What stands between.
    pub(crate) hop: Hop,
    /// What stands behind.
    pub(crate) backend: Backend,
    /// Names of tools, called in turn.
    pub(crate) tools: &'static str,
}

const fn target(name: &'static str, hop: Hop, backend: Backend, tools: &'static str) -> Target {
    Target {
        name,
        hop,
        backend,
        tools,
    }
}

const ALL_TEN: &str =
    "b1_echo,b2_echo,b3_echo,b4_echo,b5_echo,b6_echo,b7_echo,b8_echo,b9_echo,b10_echo";

const DIRECT: Target = target("direct", Hop::None, Backend::Small, "echo");
const NGINX: Target = target("nginx", Hop::Nginx, Backend::Small, "echo");
const PEEK: Target = target("peek", Hop::Peek, Backend::Small, "b1_echo");
const MARQUE_1: Target = target("marque-1", Hop::MarqueOne, Backend::Small, "b1_echo");
const MARQUE_10: Target = target("marque-10", Hop::MarqueTen, Backend::Small, ALL_TEN);
/// Ten configured, one called: what the nine others cost.
const MARQUE_10_OF_1: Target = target(
    "marque-10-call-1",
    Hop::MarqueTen,
    Backend::Small,
    "b1_echo",
);

const DIRECT_LIST: Target = target("direct", Hop::None, Backend::Large, "echo");
const NGINX_LIST: Target = target("nginx", Hop::Nginx, Backend::Large, "echo");
const PEEK_LIST: Target = target("peek", Hop::Peek, Backend::Large, "b1_echo");
const MARQUE_1_LIST: Target = target("marque-1", Hop::MarqueOne, Backend::Large, "b1_echo");
const MARQUE_10_LIST: Target = target("marque-10", Hop::MarqueTen, Backend::Large, "b1_echo");

/// Marque turns what is called in one era into the other.
const TO_LEGACY: Target = target("marque-1", Hop::MarqueOne, Backend::Legacy, "b1_echo");
const TO_MODERN: Target = target("marque-1", Hop::MarqueOne, Backend::Modern, "b1_echo");

/// One thing to measure.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// In the output and on the command line.
    pub(crate) name: &'static str,
    /// In the tables.
    pub(crate) title: &'static str,
    /// The load generator's word for it.
    pub(crate) load: &'static str,
    /// Further arguments of the load generator.
    pub(crate) arguments: &'static [&'static str],
    /// The hops, in the order in which each repeat visits them.
    pub(crate) targets: &'static [Target],
    /// The eras in which it makes sense.
    pub(crate) eras: &'static [Era],
    /// Whether every visit needs a process that has done nothing else.
    pub(crate) fresh: bool,
    repeats_max: usize,
}

impl Scenario {
    /// How often to visit, of what was asked for: a figure that does not vary need not be taken five times.
    pub(crate) fn repeats(&self, asked: usize) -> usize {
        asked.min(self.repeats_max)
    }
}

const BOTH: &[Era] = &[Era::Legacy, Era::Modern];

const CLOSED_LOOP: Scenario = Scenario {
    name: "",
    title: "",
    load: "call",
    arguments: &["--conns", "16"],
    targets: &[NGINX, PEEK, MARQUE_1],
    eras: BOTH,
    fresh: false,
    repeats_max: usize::MAX,
};

/// Everything that is measured, in the order of the tables.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "call",
        title: "small `tools/call`",
        targets: &[DIRECT, NGINX, PEEK, MARQUE_1, MARQUE_10, MARQUE_10_OF_1],
        ..CLOSED_LOOP
    },
    Scenario {
        name: "bridge-to-modern",
        title: "small `tools/call`, server of 2026-07-28 only",
        targets: &[NGINX, TO_MODERN],
        eras: &[Era::Legacy],
        ..CLOSED_LOOP
    },
    Scenario {
        name: "bridge-to-legacy",
        title: "small `tools/call`, server of 2025-11-25 only",
        targets: &[NGINX, TO_LEGACY],
        eras: &[Era::Modern],
        ..CLOSED_LOOP
    },
    Scenario {
        name: "events",
        title: "call answered by SSE, 5 progress events and the result",
        arguments: &[
            "--conns",
            "16",
            "--arguments",
            r#"{"message":"hello world","progress":5}"#,
        ],
        ..CLOSED_LOOP
    },
    Scenario {
        name: "large",
        title: "1 MiB result",
        arguments: &[
            "--conns",
            "8",
            "--arguments",
            r#"{"message":"x","bytes":1048576}"#,
            "--min-bytes",
            "1048576",
        ],
        ..CLOSED_LOOP
    },
    Scenario {
        name: "list",
        title: "`tools/list`, 100 tools",
        load: "list",
        arguments: &["--conns", "4", "--min-bytes", "35000"],
        targets: &[DIRECT_LIST, NGINX_LIST, PEEK_LIST, MARQUE_1_LIST],
        ..CLOSED_LOOP
    },
    Scenario {
        name: "merged-list",
        title: "merged `tools/list`, 10 × 100 tools",
        load: "list",
        arguments: &["--conns", "4", "--min-bytes", "350000"],
        targets: &[MARQUE_10_LIST],
        ..CLOSED_LOOP
    },
    Scenario {
        name: "churn",
        title: "session churn: initialize, initialized, call, DELETE",
        load: "churn",
        arguments: &["--conns", "8"],
        targets: &[NGINX, PEEK, MARQUE_1, MARQUE_10_OF_1],
        eras: &[Era::Legacy],
        ..CLOSED_LOOP
    },
    Scenario {
        name: "steady",
        title: "small `tools/call` at 1000 per second",
        arguments: &["--conns", "16", "--rate", "1000"],
        targets: &[DIRECT, NGINX, PEEK, MARQUE_1, MARQUE_10],
        repeats_max: 5,
        ..CLOSED_LOOP
    },
    Scenario {
        name: "sessions",
        title: "idle session",
        load: "sessions",
        arguments: &["--count", "2000"],
        targets: &[MARQUE_1, MARQUE_10_OF_1],
        eras: &[Era::Legacy],
        fresh: true,
        repeats_max: 2,
    },
    Scenario {
        name: "streams",
        title: "idle stream",
        load: "streams",
        arguments: &["--count", "1000"],
        targets: &[NGINX, PEEK, MARQUE_1, MARQUE_10_OF_1],
        fresh: true,
        repeats_max: 2,
        ..CLOSED_LOOP
    },
    Scenario {
        name: "startup",
        title: "start",
        load: "startup",
        arguments: &[],
        targets: &[PEEK, MARQUE_1, MARQUE_10_OF_1],
        repeats_max: 5,
        ..CLOSED_LOOP
    },
];

/// A figure we hold ourselves to.
#[derive(Debug)]
pub(crate) struct Aim {
    /// In words.
    pub(crate) text: &'static str,
    /// Where it is measured.
    pub(crate) scenario: &'static str,
    /// On which hop.
    pub(crate) target: &'static str,
    /// Which figure.
    pub(crate) figure: Figure,
    /// What it is held against.
    pub(crate) limit: Limit,
}

/// One of the measured figures.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Figure {
    /// CPU microseconds of the hop per request.
    Cpu,
    /// Resident KiB per held session or stream.
    KibEach,
    /// Milliseconds from start to the first good answer.
    FirstAnswer,
    /// Resident MiB of the process, fresh.
    FreshMib,
}

/// At most.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    /// This much.
    Absolute(f64),
    /// So many times another hop's figure in the same scenario.
    Times(f64, &'static str),
}

const fn aim(
    text: &'static str,
    scenario: &'static str,
    target: &'static str,
    figure: Figure,
    limit: Limit,
) -> Aim {
    Aim {
        text,
        scenario,
        target,
        figure,
        limit,
    }
}

/// All aims, in the order of the table.
pub(crate) const AIMS: &[Aim] = &[
    aim(
        "small call, 1 backend",
        "call",
        "marque-1",
        Figure::Cpu,
        Limit::Times(1.6, "nginx"),
    ),
    aim(
        "small call, 10 backends",
        "call",
        "marque-10",
        Figure::Cpu,
        Limit::Times(1.6, "nginx"),
    ),
    aim(
        "9 more backends, not called",
        "call",
        "marque-10-call-1",
        Figure::Cpu,
        Limit::Times(1.05, "marque-1"),
    ),
    aim(
        "small call, server of 2026-07-28 only",
        "bridge-to-modern",
        "marque-1",
        Figure::Cpu,
        Limit::Times(2.2, "nginx"),
    ),
    aim(
        "small call, server of 2025-11-25 only",
        "bridge-to-legacy",
        "marque-1",
        Figure::Cpu,
        Limit::Times(2.2, "nginx"),
    ),
    aim(
        "session churn, 1 backend",
        "churn",
        "marque-1",
        Figure::Cpu,
        Limit::Times(3.0, "nginx"),
    ),
    aim(
        "session churn, 10 backends, one called",
        "churn",
        "marque-10-call-1",
        Figure::Cpu,
        Limit::Times(6.0, "nginx"),
    ),
    aim(
        "SSE call, 5 events",
        "events",
        "marque-1",
        Figure::Cpu,
        Limit::Times(1.25, "peek"),
    ),
    aim(
        "1 MiB result",
        "large",
        "marque-1",
        Figure::Cpu,
        Limit::Times(1.2, "peek"),
    ),
    aim(
        "merged list, 10 × 100 tools (µs)",
        "merged-list",
        "marque-10",
        Figure::Cpu,
        Limit::Absolute(250.0),
    ),
    aim(
        "idle session, 1 backend (KiB)",
        "sessions",
        "marque-1",
        Figure::KibEach,
        Limit::Absolute(1.0),
    ),
    aim(
        "idle session, 10 backends (KiB)",
        "sessions",
        "marque-10-call-1",
        Figure::KibEach,
        Limit::Absolute(1.0),
    ),
    aim(
        "idle stream, 1 backend (KiB)",
        "streams",
        "marque-1",
        Figure::KibEach,
        Limit::Absolute(32.0),
    ),
    aim(
        "idle stream, 10 backends (KiB)",
        "streams",
        "marque-10-call-1",
        Figure::KibEach,
        Limit::Absolute(32.0),
    ),
    aim(
        "start to first answer (ms)",
        "startup",
        "marque-1",
        Figure::FirstAnswer,
        Limit::Absolute(15.0),
    ),
    aim(
        "memory of a fresh process (MiB)",
        "startup",
        "marque-1",
        Figure::FreshMib,
        Limit::Absolute(10.0),
    ),
];
