//! Hot path: what the control plane tells all agents: the pressure level, and whether the kill switch is set.
//!
//! Invariant: agents read, and obey within a turn; a knob carries one value, and orders nothing else.

use crossbeam::utils::CachePadded;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

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

#[derive(Debug, Default)]
struct Shared {
    level: AtomicU8,
    kill_switch: AtomicBool,
    pause: AtomicBool,
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
        self.shared.kill_switch.load(Ordering::Relaxed)
    }

    /// Whether sources that can wait are to wait.
    #[inline]
    pub fn pauses(&self) -> bool {
        self.shared.pause.load(Ordering::Relaxed)
    }

    /// Makes sources that can wait wait, or lets them go on.
    pub fn set_pause(&self, pause: bool) {
        self.shared.pause.store(pause, Ordering::Relaxed);
    }

    /// Sets the kill switch; says whether it was not set before.
    #[inline]
    pub fn kill(&self) -> bool {
        !self.shared.kill_switch.swap(true, Ordering::Relaxed)
    }

    /// Takes the kill switch back; says whether it was set.
    pub fn revive(&self) -> bool {
        self.shared.kill_switch.swap(false, Ordering::Relaxed)
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
        assert!(knobs.kill() && !knobs.kill());
        assert_eq!((seen.level(), seen.is_killed()), (Level::Critical, true));
        assert!(seen.revive() && !knobs.is_killed());
    }
}
