//! All chance of one seed.

use std::cell::Cell;
use std::time::Duration;

/// A source of chance that is the same for the same seed (splitmix64).
#[derive(Debug)]
pub(crate) struct Dice(Cell<u64>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Cell::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Dice of their own for one actor: what others throw does not change them.
    pub(crate) fn fork(&self) -> Self {
        Self(Cell::new(self.next()))
    }

    pub(crate) fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `least` to `most`, both possible.
    pub(crate) fn between(&self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    pub(crate) fn percent(&self, chance: u64) -> bool {
        self.next() % 100 < chance
    }

    pub(crate) fn pick<T: Copy>(&self, among: &[T]) -> T {
        among[usize::try_from(self.next() % among.len() as u64).unwrap()]
    }

    /// A wait: often none or short, seldom long.
    pub(crate) fn wait(&self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_millis()).unwrap();
        let most = match self.between(0, 9) {
            0..=2 => return Duration::ZERO,
            3..=6 => most.min(90),
            7..=8 => most.min(2_000),
            _ => most,
        };
        Duration::from_millis(self.between(0, most))
    }
}
