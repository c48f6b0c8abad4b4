//! Hot path: what a transactional processor counts.
//!
//! Invariant: every event that was processed is delivered, deduplicated, dead for one reason, or parked.

/// A transactional processor's counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionBook {
    /// Events that came.
    pub processed: u64,
    /// Those that the handler took, and none before.
    pub delivered: u64,
    /// Those that it had taken before: copies.
    pub deduplicated: u64,
    /// Those that it failed on as often as they may be tried.
    pub failed: u64,
    /// Those that it refused for good.
    pub refused: u64,
    /// Those that it panicked on.
    pub panicked: u64,
    /// Those that should have been parked when all places were taken.
    pub retry_full: u64,
    /// Those that were parked when the processor stopped.
    pub stopped: u64,
    /// Times that the handler was shown an event.
    pub attempts: u64,
    /// Those of them that were not an event's first.
    pub retried: u64,
    /// Delivered events that took more than one.
    pub succeeded_after_retry: u64,
    /// Events that are parked.
    pub parked: u64,
    /// The most that were at a time.
    pub parked_high_water: u64,
    /// Ids in the window.
    pub window_entries: u64,
    /// Ids that were forgotten when their time was over.
    pub ids_expired: u64,
    /// Ids that were forgotten before, for want of room: copies of theirs are processed again.
    pub ids_evicted_early: u64,
}

impl TransactionBook {
    /// Adds another processor's counts; high waters are those of one processor each, so the higher is kept.
    pub fn add(&mut self, other: &TransactionBook) {
        self.processed += other.processed;
        self.delivered += other.delivered;
        self.deduplicated += other.deduplicated;
        self.failed += other.failed;
        self.refused += other.refused;
        self.panicked += other.panicked;
        self.retry_full += other.retry_full;
        self.stopped += other.stopped;
        self.attempts += other.attempts;
        self.retried += other.retried;
        self.succeeded_after_retry += other.succeeded_after_retry;
        self.parked += other.parked;
        self.parked_high_water = self.parked_high_water.max(other.parked_high_water);
        self.window_entries += other.window_entries;
        self.ids_expired += other.ids_expired;
        self.ids_evicted_early += other.ids_evicted_early;
    }

    /// Events that died, for whatever reason.
    pub fn dead(&self) -> u64 {
        self.failed + self.refused + self.panicked + self.retry_full + self.stopped
    }

    /// Whether each event is accounted for.
    pub fn is_balanced(&self) -> bool {
        self.processed == self.delivered + self.deduplicated + self.dead() + self.parked
    }
}
