//! The retries' timing wheel: a place enters it and is named when it is due, against a heap.
//!
//! Invariant: as many wait all the time as at the start; each that is due enters again.

use crate::common::{Contender, Effort, contender};
use crate::tables::{Book, sample, sample_of_any};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};
use sluice::event::Nanos;
use sluice::process::TimingWheel;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const MS: Nanos = 1_000_000;
/// Operations of a sample: so many that became due, and entered again.
const OPERATIONS: usize = 64;
/// What retries wait: a back-off of 10 ms that doubles twice, with some chance in it.
const DELAYS_MS: [Nanos; 3] = [10, 20, 40];

pub(crate) fn compare(effort: Effort, book: &mut Book) {
    let samples = if effort.short { 100 } else { 2_000 };
    for waiting in [1_000, 100_000] {
        book.table(
            &format!("retry wheel, {waiting} wait: one is due and enters again, blocks of {OPERATIONS}"),
            effort,
            None,
            &mut [wheel(waiting, samples), heap(waiting, samples)],
        );
    }
}

/// Delays as they come.
struct Delays(Xoshiro256PlusPlus);

impl Delays {
    fn new() -> Delays {
        Delays(Xoshiro256PlusPlus::seed_from_u64(5))
    }

    #[inline]
    fn next(&mut self) -> Nanos {
        let chance = self.0.next_u64();
        DELAYS_MS[chance as usize % DELAYS_MS.len()] * MS + (chance >> 32) % (5 * MS)
    }
}

fn wheel<'a>(waiting: u32, count: usize) -> Contender<'a> {
    let mut wheel = TimingWheel::allocate(waiting as usize, MS);
    let mut delays = Delays::new();
    (0..waiting).for_each(|place| wheel.insert(place, delays.next()));
    let mut now: Nanos = 0;
    contender("sluice, insert and poll", move |samples| {
        samples.reserve(count);
        for _ in 0..count {
            sample(samples, OPERATIONS, || {
                let mut named = 0;
                while named < OPERATIONS {
                    match wheel.poll(now) {
                        Some(place) => {
                            wheel.insert(place, now + delays.next());
                            named += 1;
                        }
                        None => now += MS / 4,
                    }
                }
            });
        }
    })
}

fn heap<'a>(waiting: u32, count: usize) -> Contender<'a> {
    let mut delays = Delays::new();
    let mut heap: BinaryHeap<Reverse<(Nanos, u32)>> =
        (0..waiting).map(|place| Reverse((delays.next(), place))).collect();
    let mut now: Nanos = 0;
    contender("std BinaryHeap", move |samples| {
        for _ in 0..count {
            sample_of_any(samples, OPERATIONS, || {
                let mut named = 0;
                while named < OPERATIONS {
                    match heap.peek_mut() {
                        Some(mut first) if first.0.0 <= now => {
                            first.0.0 = now + delays.next();
                            named += 1;
                        }
                        _ => now += MS / 4,
                    }
                }
            });
        }
    })
}
