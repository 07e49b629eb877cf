//! The whole gateway between simulated clients and simulated servers: one thread, a network in memory, paused time, and
//! everything by chance drawn from a seed.
//!
//! Two things are not the seed's: handles are sealed with real randomness, which decides nothing, and when several things
//! are ready at the same instant, tokio picks. So a failure shows again with its seed nearly always, within a few tries.
//!
//! `cargo xtask simulate` runs many seeds, `cargo test` some. Start reading at [`world`]; what must always hold is
//! checked there, in [`server`] and in [`client`].

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and a simulation tells what it did"
)]

mod world;

mod client;
mod server;

mod keys;
mod plan;

mod dice;
mod http;
mod story;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Seeds of a plain `cargo test`.
const SEEDS: u64 = 60;
/// Real time that one seed may take: more means that something turns in circles while time stands still.
const SEED_WAIT: Duration = Duration::from_secs(120);
/// Failing seeds after which no more are tried.
const FAILURES_MAX: usize = 5;

fn asked(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn every_seed_holds() {
    let (first, count) = match asked("SIMULATE_SEED") {
        Some(seed) => (seed, 1),
        None => (
            asked("SIMULATE_FIRST").unwrap_or(1),
            asked("SIMULATE_SEEDS").unwrap_or(SEEDS),
        ),
    };
    let tells_all = std::env::var_os("SIMULATE_TELL").is_some();
    let began = Instant::now();
    let (next, stop) = (AtomicU64::new(first), AtomicBool::new(false));
    let (failed, tally) = (Mutex::new(Vec::new()), Mutex::new(BTreeMap::new()));
    let (under_way, watched) = channel();
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..threads.min(usize::try_from(count).unwrap_or(usize::MAX)) {
            let under_way = under_way.clone();
            let (next, stop, failed, tally) = (&next, &stop, &failed, &tally);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    under_way.send((seed, true)).unwrap();
                    let told = world::play(seed);
                    under_way.send((seed, false)).unwrap();
                    for (what, times) in &told.tally {
                        *tally.lock().unwrap().entry(*what).or_insert(0) += times;
                    }
                    if tells_all {
                        println!("{}", told.events.join("\n"));
                    }
                    if !told.faults.is_empty() {
                        let mut failed = failed.lock().unwrap();
                        failed.push((seed, told));
                        stop.fetch_or(failed.len() >= FAILURES_MAX, Ordering::Relaxed);
                    }
                }
            });
        }
        drop(under_way);
        watch(&watched);
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_by_key(|(seed, _)| *seed);
    println!(
        "{count} seeds from {first} in {:.1} s",
        began.elapsed().as_secs_f32()
    );
    let tally: BTreeMap<&str, u64> = tally.into_inner().unwrap();
    for (what, times) in &tally {
        println!("{times:>9} {what}");
    }
    for (seed, told) in &failed {
        println!("\nseed {seed}:\n{}", told.events.join("\n"));
        println!("what does not hold:\n{}", told.faults.join("\n"));
        println!("run it again: cargo xtask simulate --seed {seed}");
    }
    let seeds: Vec<u64> = failed.iter().map(|(seed, _)| *seed).collect();
    assert!(seeds.is_empty(), "seeds that fail: {seeds:?}");
}

/// Ends the program when a seed does not come to an end.
fn watch(watched: &std::sync::mpsc::Receiver<(u64, bool)>) {
    let mut open = BTreeMap::new();
    loop {
        match watched.recv_timeout(Duration::from_secs(1)) {
            Ok((seed, true)) => drop(open.insert(seed, Instant::now())),
            Ok((seed, false)) => drop(open.remove(&seed)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        for (seed, since) in &open {
            if since.elapsed() > SEED_WAIT {
                println!("seed {seed} does not end: cargo xtask simulate --seed {seed}");
                std::process::exit(1);
            }
        }
    }
}
