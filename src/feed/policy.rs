//! How a feed's streams treat gaps, and how its lines are watched.
//!
//! Invariant: plain values, checked by the configuration; every time is in nanoseconds of the feed's own clock, which is
//! the shard's for what arrives live and the capture's for what is replayed flat out.

use crate::event::Nanos;
use crate::limits::SEQUENCE_WINDOW;

/// In which order messages are handed on while numbers in front of them are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// At once, marked.
    #[default]
    AsArrived,
    /// Held back until the gap is closed or given up.
    InOrder,
}

/// A feed's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedPolicy {
    /// The order of delivery.
    pub delivery: Delivery,
    /// Numbers behind the newest one that are remembered, and the most that an open gap holds back; a power of two.
    pub window: u64,
    /// How long other lines may take to bring what is missing, before it is lost or asked for.
    pub reorder_ns: Nanos,
    /// The same in packets of the stream.
    pub reorder_packets: u64,
    /// How long a recovery may take; `None` where there is none.
    pub give_up_ns: Option<Nanos>,
    /// How long a recovery's servers may be silent before no more is waited for than a window, or the places for what is
    /// held back, allow.
    pub answer_ns: Nanos,
    /// Whether a recovery begins with the session's first number.
    pub backfill: bool,
    /// A line is silent when another one goes on for this long without it.
    pub silent_ns: Nanos,
    /// A line is dead when nothing has come on it for this long.
    pub dead_ns: Nanos,
    /// The feed whose streams this one has snapshots of, by its index.
    pub snapshot_of: Option<u32>,
    /// The feed's units; empty to admit all.
    pub units: Vec<u32>,
}

impl Default for FeedPolicy {
    fn default() -> FeedPolicy {
        FeedPolicy {
            delivery: Delivery::AsArrived,
            window: SEQUENCE_WINDOW,
            reorder_ns: 5_000_000,
            reorder_packets: 1_024,
            give_up_ns: None,
            answer_ns: 500_000_000,
            backfill: false,
            silent_ns: 1_000_000_000,
            dead_ns: 60_000_000_000,
            snapshot_of: None,
            units: Vec::new(),
        }
    }
}

impl FeedPolicy {
    /// Whether messages are held back behind gaps.
    pub fn is_in_order(&self) -> bool {
        self.delivery == Delivery::InOrder
    }

    /// Whether missing numbers are asked for.
    pub fn recovers(&self) -> bool {
        self.give_up_ns.is_some()
    }

    /// When a gap that opened at `opened_ns` is lost for good.
    pub(super) fn lost_ns(&self, opened_ns: Nanos) -> Nanos {
        opened_ns.saturating_add(self.reorder_ns).saturating_add(self.give_up_ns.unwrap_or(0))
    }
}
