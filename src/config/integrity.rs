//! `integrity`: how gaps of a feed's streams are treated, as it is written and as it is meant.
//!
//! Invariant: what is checked here is checked again by nobody.

use super::validate as check;
use garde::Validate;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// In which order messages are handed on while numbers in front of them are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryWish {
    /// At once, marked.
    #[default]
    AsArrived,
    /// Held back until the gap is closed or given up.
    InOrder,
}

/// `integrity` of a `[[feed]]` or a `[[listen]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub(super) struct IntegrityTable {
    #[garde(skip)]
    delivery: DeliveryWish,
    #[garde(custom(check::power_of_two(check::WINDOW_MIN, check::WINDOW_MAX)))]
    window: u32,
    #[garde(custom(check::within(1, 60_000_000, "microseconds")))]
    reorder_us: u32,
    #[garde(custom(check::within(1, 1_000_000, "packets")))]
    reorder_packets: u32,
    #[garde(custom(check::within(10, 86_400_000, "milliseconds")))]
    line_silent_ms: u32,
    #[garde(custom(check::within(10, 86_400_000, "milliseconds")))]
    line_dead_ms: u32,
    #[garde(custom(check::units))]
    units: Vec<u32>,
}

impl Default for IntegrityTable {
    fn default() -> IntegrityTable {
        IntegrityTable {
            delivery: DeliveryWish::AsArrived,
            window: 4_096,
            reorder_us: 5_000,
            reorder_packets: 1_024,
            line_silent_ms: 1_000,
            line_dead_ms: 60_000,
            units: Vec::new(),
        }
    }
}

/// How gaps of a feed's streams are treated, and how its lines are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integrity {
    /// The order of delivery.
    pub delivery: DeliveryWish,
    /// Numbers that a stream remembers, and the most that an open gap holds back; a power of two.
    pub window: u64,
    /// How long other lines may take to bring what is missing.
    pub reorder: Duration,
    /// The same in packets of the stream.
    pub reorder_packets: u64,
    /// A line is silent when another one goes on for this long without it.
    pub line_silent: Duration,
    /// A line is dead when nothing has come on it for this long.
    pub line_dead: Duration,
    /// The feed's units; empty to admit all.
    pub units: Vec<u32>,
}

impl From<&IntegrityTable> for Integrity {
    fn from(table: &IntegrityTable) -> Integrity {
        Integrity {
            delivery: table.delivery,
            window: table.window.into(),
            reorder: Duration::from_micros(table.reorder_us.into()),
            reorder_packets: table.reorder_packets.into(),
            line_silent: Duration::from_millis(table.line_silent_ms.into()),
            line_dead: Duration::from_millis(table.line_dead_ms.into()),
            units: table.units.clone(),
        }
    }
}
