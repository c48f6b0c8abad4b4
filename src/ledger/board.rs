//! Hot path: counters that agents publish in housekeeping and others read while the appliance runs.

use crossbeam::utils::CachePadded;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What an agent publishes. Each agent has its own board, so every counter has one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// Frames received by a shard.
    Frames,
    /// Frames refused by a shard.
    FramesRejected,
    /// Messages decoded by a shard.
    Messages,
    /// Events accepted by a shard.
    Accepted,
    /// Events shed by a shard.
    Shed,
    /// Events delivered by a processor.
    Delivered,
    /// 1 once the agent has seen the end of its input.
    Done,
}

const COUNTERS: usize = Counter::Done as usize + 1;

/// The published counters of one agent. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Board {
    counters: Arc<[CachePadded<AtomicU64>; COUNTERS]>,
}

impl Board {
    /// Publishes a counter's present value. Only the owning agent calls this.
    #[inline]
    pub fn publish(&self, counter: Counter, value: u64) {
        // Relaxed: counters order nothing; readers take each for itself.
        self.counters[counter as usize].store(value, Ordering::Relaxed);
    }

    /// The value last published.
    pub fn read(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Ordering::Relaxed)
    }
}
