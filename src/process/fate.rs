//! Hot path: what becomes of an event that a processor was shown.
//!
//! Invariant: each event gets exactly one fate that is not `Parked`, and that is its last.

use crate::event::DeadReason;

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was processed.
    Delivered,
    /// It had been processed before.
    Deduplicated,
    /// It waits for another attempt at the place that the processor has named.
    Parked(u32),
    /// It will not be processed.
    Dead(DeadReason),
}
