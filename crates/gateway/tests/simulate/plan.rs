//! What a server does in one call. The client draws it and puts it into the arguments, so that it does not depend on who comes first.

use std::time::Duration;

use serde_json::{Value, json};

use crate::dice::Dice;

/// The questions there are.
pub(crate) const KINDS: [&str; 3] = ["elicitation/create", "sampling/createMessage", "roots/list"];

/// How a call ends at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Answer,
    Error,
    /// The answer comes twice.
    Twice,
    /// First an answer to another request.
    WrongIdFirst,
    /// Only an answer to another request; then the stream ends.
    WrongId,
    /// The connection breaks.
    Break,
    /// Nothing comes any more.
    Silence,
}

const ENDS: [End; 7] = [
    End::Answer,
    End::Error,
    End::Twice,
    End::WrongIdFirst,
    End::WrongId,
    End::Break,
    End::Silence,
];

/// One round of questions.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    pub(crate) kinds: Vec<&'static str>,
    pub(crate) pause: Duration,
    /// Between two questions.
    pub(crate) gap: Duration,
    /// A question is withdrawn after this time.
    pub(crate) withdraw: Option<Duration>,
    /// Asked on the session's own stream, not on that of the call.
    pub(crate) aside: bool,
}

/// What a server does in one call.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) rounds: Vec<Round>,
    pub(crate) end: End,
    pub(crate) pause: Duration,
    /// How long a legacy server waits for an answer.
    pub(crate) patience: Duration,
    /// Progress and log messages before each step.
    pub(crate) noise: u64,
    /// An answer without a stream, where nothing precedes it.
    pub(crate) plain: bool,
}

impl Plan {
    pub(crate) fn draw(dice: &Dice, tame: bool) -> Self {
        let rounds = dice.pick(&[0, 0, 1, 1, 2, 3]);
        let rounds = (0..rounds).map(|_| Round::draw(dice, tame)).collect();
        let end = if tame || dice.percent(60) {
            End::Answer
        } else {
            dice.pick(&ENDS)
        };
        let patience = if tame {
            Duration::from_secs(3000)
        } else {
            Duration::from_secs(dice.pick(&[1, 20, 700, 3000]))
        };
        Self {
            rounds,
            end,
            pause: dice.wait(Duration::from_secs(12)),
            patience,
            noise: dice.pick(&[0, 0, 0, 1, 2]),
            plain: dice.percent(50),
        }
    }

    /// Whether the server does what it should.
    pub(crate) fn is_honest(&self) -> bool {
        self.end == End::Answer && self.rounds.iter().all(|round| round.withdraw.is_none())
    }

    pub(crate) fn write(&self) -> Value {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap();
        let round = |round: &Round| {
            json!({
                "kinds": round.kinds,
                "pause": millis(round.pause),
                "gap": millis(round.gap),
                "withdraw": round.withdraw.map(millis),
                "aside": round.aside,
            })
        };
        json!({
            "rounds": self.rounds.iter().map(round).collect::<Vec<_>>(),
            "end": ENDS.iter().position(|end| *end == self.end),
            "pause": millis(self.pause),
            "patience": millis(self.patience),
            "noise": self.noise,
            "plain": self.plain,
        })
    }

    pub(crate) fn read(value: &Value) -> Option<Self> {
        let millis = |value: &Value| Some(Duration::from_millis(value.as_u64()?));
        let kind = |value: &Value| KINDS.iter().copied().find(|kind| *kind == value);
        let round = |value: &Value| {
            Some(Round {
                kinds: value["kinds"].as_array()?.iter().filter_map(kind).collect(),
                pause: millis(&value["pause"])?,
                gap: millis(&value["gap"])?,
                withdraw: millis(&value["withdraw"]),
                aside: value["aside"].as_bool()?,
            })
        };
        Some(Self {
            rounds: value["rounds"]
                .as_array()?
                .iter()
                .filter_map(round)
                .collect(),
            end: ENDS[usize::try_from(value["end"].as_u64()?).ok()?],
            pause: millis(&value["pause"])?,
            patience: millis(&value["patience"])?,
            noise: value["noise"].as_u64()?,
            plain: value["plain"].as_bool()?,
        })
    }
}

impl Round {
    fn draw(dice: &Dice, tame: bool) -> Self {
        let count = dice.pick(&[0, 1, 1, 1, 2, 3]);
        Self {
            kinds: (0..count).map(|_| dice.pick(&KINDS)).collect(),
            pause: dice.wait(Duration::from_secs(3)),
            gap: dice.pick(&[0, 0, 0, 20, 59, 60, 61, 100, 400].map(Duration::from_millis)),
            withdraw: (!tame && dice.percent(12)).then(|| dice.wait(Duration::from_secs(20))),
            aside: dice.percent(15),
        }
    }
}
