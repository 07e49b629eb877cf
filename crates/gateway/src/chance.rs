//! Chance where it is no secret: how far waits are spread, so that many do not act in step.

#[cfg(feature = "simulated")]
use std::cell::Cell;

#[cfg(feature = "simulated")]
thread_local! {
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Bytes by chance; zeros when the system has no randomness, for then there is no spread, and no harm.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    #[cfg(feature = "simulated")]
    if let Some(bytes) = seeded() {
        return bytes;
    }
    let mut bytes = [0; N];
    let _spread = getrandom::fill(&mut bytes).is_ok();
    bytes
}

/// From now on, chance in this thread comes from a seed.
#[cfg(feature = "simulated")]
pub fn seed(seed: u64) {
    SEED.set(Some(seed));
}

/// The next bytes by chance, if there is a seed (splitmix64).
#[cfg(feature = "simulated")]
fn seeded<const N: usize>() -> Option<[u8; N]> {
    let state = SEED.get()?.wrapping_add(0x9e37_79b9_7f4a_7c15);
    SEED.set(Some(state));
    let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let drawn = (mixed ^ (mixed >> 31)).to_le_bytes();
    Some(std::array::from_fn(|at| drawn[at % drawn.len()]))
}
