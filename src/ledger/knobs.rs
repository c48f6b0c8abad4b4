//! Hot path: what the control plane tells all agents: the pressure level, and whether the kill switch is set.
//!
//! Invariant: agents read, and obey within a turn; a knob carries one value, and orders nothing else.

use crate::event::Nanos;
use crossbeam::utils::CachePadded;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// How hard the appliance is pressed, as the ancestor names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Level {
    /// All is well.
    #[default]
    Healthy = 0,
    /// Processors work in larger bursts, and helpers join them.
    Elevated = 1,
    /// Sources that can wait send nothing transactional.
    Degraded = 2,
    /// Batch events are shed.
    Critical = 3,
    /// Everything but realtime events is shed.
    Emergency = 4,
}

impl Level {
    /// All levels, rising.
    pub const ALL: [Level; 5] =
        [Level::Healthy, Level::Elevated, Level::Degraded, Level::Critical, Level::Emergency];

    /// The name used in logs, reports and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Healthy => "healthy",
            Level::Elevated => "elevated",
            Level::Degraded => "degraded",
            Level::Critical => "critical",
            Level::Emergency => "emergency",
        }
    }

    /// The level with this number; the highest for larger ones.
    pub const fn from_u8(value: u8) -> Level {
        match value {
            0 => Level::Healthy,
            1 => Level::Elevated,
            2 => Level::Degraded,
            3 => Level::Critical,
            _ => Level::Emergency,
        }
    }
}

/// Who set or cleared the kill switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KilledBy {
    /// The alert rule of this number.
    Rule(u32),
    /// A signal to the process.
    Signal,
    /// The configuration, from the beginning on.
    Config,
    /// Some other part of the program.
    Program,
}

/// The low half of a kill word is a rule's number, the high half says who.
const RULE: u64 = 1 << 32;
const SIGNAL: u64 = 2 << 32;
const CONFIG: u64 = 3 << 32;
const PROGRAM: u64 = 4 << 32;

impl KilledBy {
    /// The name used in logs and reports.
    pub const fn name(self) -> &'static str {
        match self {
            KilledBy::Rule(_) => "rule",
            KilledBy::Signal => "signal",
            KilledBy::Config => "config",
            KilledBy::Program => "program",
        }
    }

    /// The rule's number, if it was a rule.
    pub const fn rule(self) -> Option<u32> {
        match self {
            KilledBy::Rule(rule) => Some(rule),
            _ => None,
        }
    }

    const fn word(self) -> u64 {
        match self {
            KilledBy::Rule(rule) => RULE | rule as u64,
            KilledBy::Signal => SIGNAL,
            KilledBy::Config => CONFIG,
            KilledBy::Program => PROGRAM,
        }
    }

    const fn from_word(word: u64) -> KilledBy {
        match word & !(RULE - 1) {
            RULE => KilledBy::Rule(word as u32),
            SIGNAL => KilledBy::Signal,
            CONFIG => KilledBy::Config,
            _ => KilledBy::Program,
        }
    }
}

/// The kill switch as it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Who set it.
    pub by: KilledBy,
    /// When, ns of the monotonic clock, by the clock of whoever did. In the instant after it was set, this may still be
    /// the time of an earlier kill, or 0.
    pub at_ns: Nanos,
}

#[derive(Debug, Default)]
struct Shared {
    level: AtomicU8,
    /// 0, or [`KilledBy::word`] of who set the switch.
    killed_by: AtomicU64,
    killed_at: AtomicU64,
}

/// The knobs of an appliance. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Knobs {
    shared: Arc<CachePadded<Shared>>,
}

impl Knobs {
    /// The pressure level. Relaxed, as everywhere here: a knob orders nothing.
    #[inline]
    pub fn level(&self) -> Level {
        Level::from_u8(self.shared.level.load(Ordering::Relaxed))
    }

    /// Sets the pressure level. Only the control plane does.
    pub fn set_level(&self, level: Level) {
        self.shared.level.store(level as u8, Ordering::Relaxed);
    }

    /// Whether the kill switch is set.
    #[inline]
    pub fn is_killed(&self) -> bool {
        self.shared.killed_by.load(Ordering::Relaxed) != 0
    }

    /// The kill switch, if it is set.
    pub fn killed(&self) -> Option<Kill> {
        let word = self.shared.killed_by.load(Ordering::Relaxed);
        let at_ns = self.shared.killed_at.load(Ordering::Relaxed);
        (word != 0).then(|| Kill { by: KilledBy::from_word(word), at_ns })
    }

    /// Sets the kill switch, at `now`; says whether it was not set before. The first of several stays on record.
    #[inline]
    pub fn kill(&self, by: KilledBy, now: Nanos) -> bool {
        let word = &self.shared.killed_by;
        let is_first = word.compare_exchange(0, by.word(), Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_first {
            // By the one that was first only: one writer at a time.
            self.shared.killed_at.store(now, Ordering::Relaxed);
        }
        is_first
    }

    /// Takes the kill switch back; says whether it was set. Only the control plane does, so that it is on record.
    pub fn revive(&self) -> bool {
        self.shared.killed_by.swap(0, Ordering::Relaxed) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_rise_and_have_numbers() {
        for (number, level) in Level::ALL.into_iter().enumerate() {
            assert_eq!(Level::from_u8(number as u8), level);
        }
        assert_eq!(Level::from_u8(200), Level::Emergency);
        assert!(Level::Healthy < Level::Emergency);
    }

    #[test]
    fn knobs_are_shared() {
        let knobs = Knobs::default();
        let seen = knobs.clone();
        knobs.set_level(Level::Critical);
        assert!(knobs.kill(KilledBy::Rule(7), 5) && !knobs.kill(KilledBy::Signal, 6));
        assert_eq!((seen.level(), seen.is_killed()), (Level::Critical, true));
        assert_eq!(
            seen.killed(),
            Some(Kill { by: KilledBy::Rule(7), at_ns: 5 }),
            "the first stays on record"
        );
        assert!(seen.revive() && !knobs.is_killed() && !seen.revive());
        assert_eq!(knobs.killed(), None);
    }

    #[test]
    fn whoever_kills_is_known() {
        let rules = [0, 1, u32::MAX].map(KilledBy::Rule);
        for by in rules.into_iter().chain([KilledBy::Signal, KilledBy::Config, KilledBy::Program]) {
            let knobs = Knobs::default();
            assert!(knobs.kill(by, 1) && knobs.is_killed());
            assert_eq!(knobs.killed().map(|kill| kill.by), Some(by));
        }
    }
}
