//! Seeded chance: one generator for each fault of each line, and the two models of loss.
//!
//! Invariant: what is drawn for the n-th packet of a line depends on the seed, the line, the fault and n alone: neither
//! on other lines, nor on which other faults there are.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use crate::event::Destination;

/// What a generator is for. The numbers are part of what a seed means: a run can be repeated only while they stay.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Purpose {
    Loss = 1,
    Duplicate = 2,
    Reorder = 3,
    Corrupt = 4,
}

/// A generator of random numbers: xoshiro256++, whose crate promises that its values never change.
#[derive(Clone, Debug)]
pub(super) struct Random(Xoshiro256PlusPlus);

impl Random {
    /// The generator of a seed, a line and a purpose.
    pub(super) fn of(seed: u64, line: &Destination, purpose: Purpose) -> Random {
        let mut hash = Fnv::default();
        hash.add(&seed.to_le_bytes());
        hash.add(&line.address);
        hash.add(&line.port.to_le_bytes());
        hash.add(&[purpose as u8]);
        Random::from_seed(hash.0)
    }

    /// The generator of this number.
    pub(super) fn from_seed(seed: u64) -> Random {
        Random(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `limit`, which is over 0. The bias is under one in 2^32 for limits below 2^32.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        debug_assert!(limit > 0);
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// Whether something of this probability (0 to 1) happens.
    pub(super) fn happens(&mut self, probability: f64) -> bool {
        // The upper 53 bits are exactly what a float in [0, 1) holds: 1.0 always happens and 0.0 never.
        ((self.next() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }
}

/// FNV-1a: well spread over few bytes, and the same on every machine.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// How packets of a line are lost.
#[derive(Clone, Debug)]
pub(super) enum Loss {
    /// Each one by itself, with this probability.
    Independent(f64),
    /// In bursts, by Gilbert's model: a line is good or bad, and loses what comes while it is bad.
    Bursty { bad: bool, turns_bad: f64, turns_good: f64 },
}

impl Loss {
    /// Loses `rate` of all packets, in bursts of `burst` packets on average; 1 is independent loss.
    pub(super) fn new(rate: f64, burst: f64, random: &mut Random) -> Loss {
        if burst <= 1.0 || rate <= 0.0 || rate >= 1.0 {
            return Loss::Independent(rate);
        }
        // Bursts last 1 / turns_good on average, and the share of bad time is turns_bad / (turns_bad + turns_good).
        let turns_good = 1.0 / burst;
        let turns_bad = rate * turns_good / (1.0 - rate);
        // It starts as it would be found at any later moment, so that the rate holds from the first packet on.
        Loss::Bursty { bad: random.happens(rate), turns_bad, turns_good }
    }

    /// Whether the next packet is lost.
    pub(super) fn draw(&mut self, random: &mut Random) -> bool {
        match self {
            Loss::Independent(rate) => random.happens(*rate),
            Loss::Bursty { bad, turns_bad, turns_good } => {
                let lost = *bad;
                let turns = random.happens(if lost { *turns_good } else { *turns_bad });
                *bad = lost != turns;
                lost
            }
        }
    }
}
