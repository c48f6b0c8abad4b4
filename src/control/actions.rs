//! Hot path: what a pressure level asks of everybody. Invariant: a higher level asks for all that a lower one does.

use crate::ledger::Level;

/// How much larger bursts are from [`Level::Elevated`] on: a processor's 256 tickets become 1,024, which are 8 KiB and
/// still in L1.
const BURST_FACTOR: usize = 4;

/// What is to be done at a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actions {
    /// By how much processors' bursts grow, 1 for not at all.
    pub burst_factor: usize,
    /// Helpers join the processors, where cores allow.
    pub helpers: bool,
    /// Sources that can wait are not asked for anything that is transactional.
    pub pause_transactional: bool,
    /// Batch events are shed as they come.
    pub shed_batch: bool,
    /// Transactional events, too.
    pub shed_transactional: bool,
}

/// What is to be done at this level.
#[inline]
pub const fn actions(level: Level) -> Actions {
    let number = level as u8;
    let elevated = number >= Level::Elevated as u8;
    Actions {
        burst_factor: if elevated { BURST_FACTOR } else { 1 },
        helpers: elevated,
        pause_transactional: number >= Level::Degraded as u8,
        shed_batch: number >= Level::Critical as u8,
        shed_transactional: number >= Level::Emergency as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_adds_its_own() {
        let table = [
            (Level::Healthy, 1, [false, false, false, false]),
            (Level::Elevated, 4, [true, false, false, false]),
            (Level::Degraded, 4, [true, true, false, false]),
            (Level::Critical, 4, [true, true, true, false]),
            (Level::Emergency, 4, [true, true, true, true]),
        ];
        for (level, burst_factor, [helpers, pause_transactional, shed_batch, shed_transactional]) in table {
            let expected =
                Actions { burst_factor, helpers, pause_transactional, shed_batch, shed_transactional };
            assert_eq!(actions(level), expected, "{}", level.name());
        }
    }
}
