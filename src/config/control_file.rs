//! `[control]`: how hard the appliance may be pressed, and what is done about it, as it is written and as it is meant.
//!
//! Invariant: shares are typed as whole parts in a million, so that a value at a threshold is exactly there.

use super::validate as check;
use garde::Validate;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Parts in a million of one percent.
const PPM_PER_PERCENT: f64 = 10_000.0;

/// What is done while the kill switch is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnKill {
    /// It is told and shown, and everything goes on.
    #[default]
    Tell,
    /// Sources that can wait are not read.
    Pause,
}

impl OnKill {
    /// The name used in configuration and reports.
    pub const fn name(self) -> &'static str {
        match self {
            OnKill::Tell => "tell",
            OnKill::Pause => "pause",
        }
    }
}

/// `[control]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ControlTable {
    #[garde(skip)]
    enabled: bool,
    #[garde(custom(check::within(1, 1_000, "milliseconds")))]
    interval_ms: u32,
    #[garde(custom(check::within(1, 100_000_000, "events")))]
    max_queue_depth: u32,
    #[garde(custom(share(0.0001, 100.0, "percent")))]
    max_drop_rate_pct: f64,
    #[garde(custom(check::within(1, 1_000_000_000, "events")))]
    min_events_for_evaluation: u32,
    #[garde(custom(share(0.01, 1.0, "of a threshold")))]
    recovery_factor: f64,
    #[garde(custom(check::within(1, 3_600_000, "milliseconds")))]
    dwell_ms: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(check::within(1, 60_000_000, "microseconds"))))]
    max_latency_us: Option<u32>,
    #[garde(custom(check::within(10, 3_600_000, "milliseconds")))]
    stall_ms: u32,
    #[garde(skip)]
    on_kill: OnKill,
    #[garde(skip)]
    start_killed: bool,
}

impl Default for ControlTable {
    fn default() -> ControlTable {
        ControlTable {
            enabled: true,
            interval_ms: 10,
            max_queue_depth: 5_000,
            max_drop_rate_pct: 2.0,
            min_events_for_evaluation: 1_000,
            recovery_factor: 0.8,
            dwell_ms: 1_000,
            max_latency_us: None,
            stall_ms: 1_000,
            on_kill: OnKill::Tell,
            start_killed: false,
        }
    }
}

/// Checks for a number in `min..=max`.
fn share(min: f64, max: f64, unit: &'static str) -> impl Fn(&f64, &()) -> garde::Result {
    move |value, ()| match (min..=max).contains(value) {
        true => Ok(()),
        false => Err(garde::Error::new(format!("is {value}; allowed: {min} to {max} {unit}"))),
    }
}

/// The control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlSettings {
    /// Whether the pressure level follows the counters; stalls and the kill switch are minded all the same.
    pub enabled: bool,
    /// Time between two looks at the counters.
    pub interval: Duration,
    /// Events that may wait in the queues of one shard.
    pub max_queue_depth: u64,
    /// Events that may be dropped, in a million offered.
    pub max_drop_ppm: u64,
    /// Offered events over which the drop rate is taken, at least.
    pub min_events: u64,
    /// Below this part of its threshold, in a million, a level is left.
    pub recovery_ppm: u64,
    /// How long it takes to be left.
    pub dwell: Duration,
    /// The 99th percentile of the latency that may be; `None` not to look at it.
    pub max_latency: Option<Duration>,
    /// A thread whose loop has not turned for this long stands still.
    pub stall: Duration,
    /// What is done while the kill switch is set.
    pub on_kill: OnKill,
    /// Whether it is set from the beginning.
    pub start_killed: bool,
}

impl From<&ControlTable> for ControlSettings {
    fn from(table: &ControlTable) -> ControlSettings {
        let milliseconds = |ms: u32| Duration::from_millis(ms.into());
        ControlSettings {
            enabled: table.enabled,
            interval: milliseconds(table.interval_ms),
            max_queue_depth: table.max_queue_depth.into(),
            max_drop_ppm: (table.max_drop_rate_pct * PPM_PER_PERCENT).round() as u64,
            min_events: table.min_events_for_evaluation.into(),
            recovery_ppm: (table.recovery_factor * 100.0 * PPM_PER_PERCENT).round() as u64,
            dwell: milliseconds(table.dwell_ms),
            max_latency: table.max_latency_us.map(|us| Duration::from_micros(us.into())),
            stall: milliseconds(table.stall_ms),
            on_kill: table.on_kill,
            start_killed: table.start_killed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_ancestors() {
        let settings = ControlSettings::from(&ControlTable::default());
        assert_eq!(
            (settings.max_queue_depth, settings.max_drop_ppm, settings.min_events),
            (5_000, 20_000, 1_000)
        );
        assert_eq!((settings.recovery_ppm, settings.max_latency), (800_000, None));
        assert!(settings.enabled && !settings.start_killed);
    }

    #[test]
    fn shares_become_whole_parts_in_a_million() {
        for (pct, ppm) in [(0.0001, 1), (0.29, 2_900), (2.0, 20_000), (100.0, 1_000_000)] {
            let table = ControlTable { max_drop_rate_pct: pct, ..ControlTable::default() };
            assert_eq!(ControlSettings::from(&table).max_drop_ppm, ppm, "{pct}");
        }
    }
}
