//! The end of a run: what the agents brought home, put together into one outcome.

use crate::agents::{ProcessorReport, ShardReport, Tally};
use crate::event::ShardId;
use crate::feed::{FlowsReport, NoticeLog, RecoveryReport, StreamSnapshot, TableFacts};
use crate::ledger::{LatencyRecorder, Ledger, RoutingBook};
use crate::runtime::ThreadReport;

/// A stream with what became of its events.
#[derive(Clone, Debug)]
pub struct StreamOutcome {
    /// The stream's counters and names.
    pub stream: StreamSnapshot,
    /// The shard that has it, and its place in that shard's table.
    pub place: (ShardId, u32),
    /// Its events that processors finished with.
    pub processed: u64,
}

impl StreamOutcome {
    /// A stream of a decode, where acceptance is the end.
    pub fn of_decode(index: usize, stream: StreamSnapshot) -> StreamOutcome {
        StreamOutcome { place: (ShardId(0), index as u32), processed: stream.book.accepted, stream }
    }
}

/// All that is known when every agent has ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// All books.
    pub ledger: Ledger,
    /// What senders asked for, and what they got.
    pub routing: RoutingBook,
    /// All streams of all shards.
    pub streams: Vec<StreamOutcome>,
    /// From the wire to the shard, ns.
    pub wire_to_receive: LatencyRecorder,
    /// From the shard to the processor, ns.
    pub receive_to_processed: LatencyRecorder,
    /// From the wire to the processor, ns.
    pub wire_to_processed: LatencyRecorder,
    /// What is told of a capture's TCP flows, where there were any.
    pub flows: Option<FlowsReport>,
    /// What happened to streams and lines, by shard.
    pub notices: Vec<NoticeLog>,
    /// What came of asking for lost messages, by feed.
    pub recoveries: Vec<RecoveryReport>,
    /// How full the shards' tables are.
    pub tables: TableFacts,
    /// The threads.
    pub threads: Vec<ThreadReport>,
}

impl Outcome {
    /// Puts the agents' reports together.
    pub fn of<S>(
        shards: &[ShardReport<S>],
        processors: Vec<ProcessorReport<Tally>>,
        threads: Vec<ThreadReport>,
        notices: Vec<NoticeLog>,
    ) -> Outcome {
        let mut outcome = Outcome { threads, notices, ..Outcome::default() };
        for (index, shard) in shards.iter().enumerate() {
            outcome.ledger.absorb(&shard.ledger);
            outcome.routing.absorb(&shard.routing);
            outcome.wire_to_receive.absorb(&shard.wire_to_receive);
            // A capture is replayed into one shard.
            outcome.flows = outcome.flows.or_else(|| shard.flows.clone());
            outcome.recoveries.extend(shard.recoveries.iter().cloned());
            outcome.tables.absorb(&shard.tables);
            let shard_id = ShardId(index as u8);
            for (stream, snapshot) in shard.streams.iter().enumerate() {
                let partitions = processors.iter().flat_map(|agent| &agent.partitions);
                let counts = partitions.filter_map(|p| p.processor.stream(shard_id, stream));
                let processed = counts.map(|counts| counts.total()).sum();
                let place = (shard_id, stream as u32);
                outcome.streams.push(StreamOutcome { place, stream: snapshot.clone(), processed });
            }
        }
        for processor in processors.into_iter().flat_map(|agent| agent.partitions) {
            outcome.ledger.events.absorb(&processor.events);
            outcome.ledger.queues[processor.class as usize].absorb(&processor.queue);
            outcome.receive_to_processed.absorb(&processor.receive_to_processed);
            outcome.wire_to_processed.absorb(&processor.wire_to_processed);
        }
        outcome
    }
}
