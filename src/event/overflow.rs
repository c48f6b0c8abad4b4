//! What happens to an event whose queue is full.

use serde::{Deserialize, Serialize};

/// What happens to an event whose queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// Its source waits; only for sources that can.
    Block,
    /// The oldest event that waits becomes a dead letter, and the new one takes its place.
    DropOldest,
    /// The new one is shed.
    DropNewest,
    /// The newest event of the same symbol or topic that waits becomes a dead letter, and the new one is queued; without
    /// one, the oldest goes.
    Conflate,
}

impl Overflow {
    /// The name used in configuration and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Overflow::Block => "block",
            Overflow::DropOldest => "drop-oldest",
            Overflow::DropNewest => "drop-newest",
            Overflow::Conflate => "conflate",
        }
    }
}
