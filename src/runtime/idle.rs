//! Hot path: what a thread does in a turn without work. Invariant: every system call it makes is counted.

use std::thread;
use std::time::Duration;

/// Turns without work that [`IdleStrategy::Backoff`] spins before it yields: 256 pauses of 25 ns are about as long as
/// the wake-up that they may save.
const BACKOFF_SPINS: u32 = 256;

/// Turns that it yields before it sleeps: 64 × 0.4 µs.
const BACKOFF_YIELDS: u32 = 64;

/// How long it then sleeps each turn; with the default timer slack this takes about 67 µs.
const BACKOFF_SLEEP: Duration = Duration::from_micros(50);

/// How a thread waits for work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdleStrategy {
    /// Never gives the CPU away: lowest latency, a whole CPU. Only with more CPUs than spinning threads.
    BusySpin,
    /// Offers the CPU to others each turn (`sched_yield`): for threads that share a CPU and have work often.
    Yield,
    /// Spins, then yields, then sleeps 50 µs at a time: for machines with few CPUs.
    #[default]
    Backoff,
}

impl IdleStrategy {
    /// The name used in configuration and reports.
    pub const fn name(self) -> &'static str {
        match self {
            IdleStrategy::BusySpin => "busy-spin",
            IdleStrategy::Yield => "yield",
            IdleStrategy::Backoff => "backoff",
        }
    }
}

/// System calls made by idling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdleCounts {
    /// Times slept.
    pub sleeps: u64,
    /// Times yielded.
    pub yields: u64,
}

/// A strategy at work: how long there has been nothing to do, and what that has cost.
#[derive(Clone, Copy, Debug)]
pub struct Idler {
    strategy: IdleStrategy,
    turns: u32,
    counts: IdleCounts,
}

impl Idler {
    /// One that has not idled yet.
    pub const fn new(strategy: IdleStrategy) -> Idler {
        Idler { strategy, turns: 0, counts: IdleCounts { sleeps: 0, yields: 0 } }
    }

    /// A turn had work.
    #[inline]
    pub fn reset(&mut self) {
        self.turns = 0;
    }

    /// A turn had no work: waits as the strategy says.
    #[inline]
    pub fn idle(&mut self) {
        match self.strategy {
            IdleStrategy::BusySpin => std::hint::spin_loop(),
            IdleStrategy::Yield => self.yield_now(),
            IdleStrategy::Backoff => self.back_off(),
        }
    }

    /// What it has cost so far.
    pub const fn counts(&self) -> IdleCounts {
        self.counts
    }

    fn back_off(&mut self) {
        self.turns = self.turns.saturating_add(1);
        if self.turns <= BACKOFF_SPINS {
            std::hint::spin_loop();
        } else if self.turns <= BACKOFF_SPINS + BACKOFF_YIELDS {
            self.yield_now();
        } else {
            self.counts.sleeps += 1;
            thread::sleep(BACKOFF_SLEEP);
        }
    }

    fn yield_now(&mut self) {
        self.counts.yields += 1;
        thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(strategy: IdleStrategy, turns: u32) -> IdleCounts {
        let mut idler = Idler::new(strategy);
        (0..turns).for_each(|_| idler.idle());
        idler.counts()
    }

    #[test]
    fn each_strategy_makes_its_system_calls_and_no_others() {
        let table = [
            (IdleStrategy::BusySpin, 1_000, 0, 0),
            (IdleStrategy::Yield, 100, 100, 0),
            (IdleStrategy::Backoff, BACKOFF_SPINS, 0, 0),
            (IdleStrategy::Backoff, BACKOFF_SPINS + 1, 1, 0),
            (IdleStrategy::Backoff, BACKOFF_SPINS + BACKOFF_YIELDS, 64, 0),
            (IdleStrategy::Backoff, BACKOFF_SPINS + BACKOFF_YIELDS + 3, 64, 3),
        ];
        for (strategy, turns, yields, sleeps) in table {
            assert_eq!(after(strategy, turns), IdleCounts { sleeps, yields }, "{} {turns}", strategy.name());
        }
    }

    #[test]
    fn work_makes_backoff_begin_again() {
        let mut idler = Idler::new(IdleStrategy::Backoff);
        for _ in 0..10 {
            (0..BACKOFF_SPINS).for_each(|_| idler.idle());
            idler.reset();
        }
        assert_eq!(idler.counts(), IdleCounts::default());
    }

    #[test]
    fn names_are_those_of_the_configuration() {
        for strategy in [IdleStrategy::BusySpin, IdleStrategy::Yield, IdleStrategy::Backoff] {
            let quoted = format!("\"{}\"", strategy.name());
            assert_eq!(serde_json::to_string(&strategy).expect("plain"), quoted);
            assert_eq!(serde_json::from_str::<IdleStrategy>(&quoted).expect("known"), strategy);
        }
        assert!(serde_json::from_str::<IdleStrategy>("\"park\"").is_err());
    }
}
