//! What happened in one seed, and what did not hold.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;

use tokio::time::Instant;

/// Events and faults of one seed.
#[derive(Debug, Clone)]
pub(crate) struct Story(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    told: RefCell<Told>,
}

/// A story that is over.
#[derive(Debug, Default, Clone)]
pub(crate) struct Told {
    pub(crate) events: Vec<String>,
    pub(crate) faults: Vec<String>,
    /// How often what happened.
    pub(crate) tally: BTreeMap<&'static str, u64>,
}

impl Story {
    pub(crate) fn begin() -> Self {
        Self(Rc::new(Inner {
            began: Instant::now(),
            told: RefCell::default(),
        }))
    }

    fn line(&self, who: impl Display, what: impl Display) -> String {
        let now = self.0.began.elapsed().as_secs_f64();
        format!("{now:>10.3} {who:<10} {what}")
    }

    pub(crate) fn note(&self, who: impl Display, what: impl Display) {
        let line = self.line(who, what);
        self.0.told.borrow_mut().events.push(line);
    }

    /// Something that must not be.
    pub(crate) fn fault(&self, who: impl Display, what: impl Display) {
        let line = self.line(who, what);
        let mut told = self.0.told.borrow_mut();
        told.events.push(format!("{line}   <<<<<<<<"));
        told.faults.push(line);
    }

    pub(crate) fn count(&self, what: &'static str) {
        *self.0.told.borrow_mut().tally.entry(what).or_insert(0) += 1;
    }

    pub(crate) fn told(&self) -> Told {
        self.0.told.borrow().clone()
    }

    /// Sees that nothing of another conversation stands in a text.
    pub(crate) fn only(&self, who: impl Display, text: &str, is_own: impl Fn(&str) -> bool) {
        for mark in marks(text) {
            if !is_own(mark) {
                self.fault(&who, format!("got data of {mark}: {text}"));
            }
        }
    }
}

/// The marks of conversations in a text.
pub(crate) fn marks(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("mark-").filter_map(|(at, _)| {
        let rest = &text[at..];
        rest.find(".end").map(|end| &rest[..end + 4])
    })
}
