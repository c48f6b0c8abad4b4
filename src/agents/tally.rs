//! Hot path: counts events by stream and type. Invariant: every event is in one count of its stream.

use super::partition::Processor;
use crate::event::{Nanos, ShardId};
use crate::ledger::TypeCounts;
use crate::process::{Fate, Subject};

/// The simplest honest processor: counts events by stream and type.
pub struct Tally {
    // Indexed by shard, then by stream.
    counts: Vec<Vec<TypeCounts>>,
}

impl Tally {
    /// Allocates counters for the streams of so many shards.
    pub fn allocate(shards: usize, streams_max: usize) -> Tally {
        let stream_counts = || (0..streams_max).map(|_| TypeCounts::default()).collect();
        Tally { counts: (0..shards).map(|_| stream_counts()).collect() }
    }

    /// What was counted of a stream.
    pub fn stream(&self, shard: ShardId, stream: usize) -> Option<&TypeCounts> {
        self.counts.get(usize::from(shard.0))?.get(stream)
    }

    /// Counts one event.
    #[inline]
    pub fn count(&mut self, subject: &Subject<'_>) {
        let counts = self.counts.get_mut(usize::from(subject.shard.0));
        if let Some(stream) = counts.and_then(|streams| streams.get_mut(subject.header.stream as usize)) {
            stream.add(subject.header.kind);
        }
    }
}

impl Processor for Tally {
    #[inline]
    fn process(&mut self, subject: &Subject<'_>, _now: Nanos) -> Fate {
        self.count(subject);
        Fate::Delivered
    }
}
