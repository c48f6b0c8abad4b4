//! Hot path: counters that agents publish in housekeeping and others read while the appliance runs.

use crate::event::Class;
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
    /// Realtime events that wait now: in the queues of a shard; with the helpers of a processor.
    WaitingRealtime,
    /// Transactional ones.
    WaitingTransactional,
    /// Batch ones.
    WaitingBatch,
    /// Events that came: accepted by a shard, whatever became of them, what was shed included.
    Offered,
    /// Events lost for want of room, as they came (shed by a shard) or later (dead letters of an overflow). What was
    /// shed because the pressure level says so is not among them: the level would hold itself up by it.
    Dropped,
    /// The 99th percentile of the latency, ns, of a processor's events since it last published; 0 without any.
    P99Ns,
    /// Events that a processor keeps for another attempt now.
    Parked,
    /// 1 once the agent has seen the end of its input.
    Done,
}

impl Counter {
    /// What waits, indexed by [`Class`].
    pub const WAITING: [Counter; Class::ALL.len()] =
        [Counter::WaitingRealtime, Counter::WaitingTransactional, Counter::WaitingBatch];
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

    /// The events of all classes that wait.
    pub fn waiting(&self) -> u64 {
        Counter::WAITING.iter().map(|counter| self.read(*counter)).sum()
    }
}

/// The boards of an appliance's agents. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Boards {
    /// One per shard.
    pub shards: Vec<Board>,
    /// One per processor.
    pub processors: Vec<Board>,
}

impl Boards {
    /// The boards of all agents.
    pub fn all(&self) -> impl Iterator<Item = &Board> + '_ {
        self.shards.iter().chain(&self.processors)
    }

    /// A counter, summed over all agents.
    pub fn sum(&self, counter: Counter) -> u64 {
        self.all().map(|board| board.read(counter)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_has_a_place_of_its_own() {
        let shards = vec![Board::default(), Board::default()];
        let boards = Boards { shards, processors: vec![Board::default()] };
        for (value, counter) in (1..).zip(Counter::WAITING) {
            boards.shards[0].publish(counter, value);
            boards.processors[0].publish(counter, 10 * value);
        }
        boards.shards[1].publish(Counter::Offered, 7);
        boards.processors[0].publish(Counter::Offered, 1);
        assert_eq!(boards.shards[0].waiting(), 6);
        assert_eq!((boards.sum(Counter::WaitingBatch), boards.sum(Counter::Offered)), (33, 8));
        assert_eq!(boards.sum(Counter::Done), 0);
    }
}
