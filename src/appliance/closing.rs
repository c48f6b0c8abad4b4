//! The end of a run: what the agents brought home, put together into one outcome.

use super::desk::{DeskOutcome, RulesOutcome};
use crate::agents::{ProcessorReport, RuleDesk, ShardReport, Stage, Work};
use crate::control::ControlOutcome;
use crate::event::ShardId;
use crate::feed::{FlowsReport, NoticeLog, RecoveryReport, StreamSnapshot, TableFacts};
use crate::ledger::{LatencyRecorder, Ledger, RoutingBook};
use crate::process::TransactionBook;
use crate::process::rules::RuleCounts;
use crate::process::windows::WindowBook;
use crate::runtime::ThreadReport;
use crate::sink::dead_letters::LetterOffice;

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
#[derive(Default)]
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
    /// What processors and the control plane did, where there were any.
    pub processing: Option<Processing>,
}

/// What processors and the control plane did.
pub struct Processing {
    /// The control plane's record.
    pub control: ControlOutcome,
    /// The office of dead letters.
    pub letters: LetterOffice,
    /// The transactional processors.
    pub transactions: TransactionBook,
    /// The batch processors' windows.
    pub windows: WindowBook,
    /// Closed windows that found no place on their way out.
    pub windows_dropped: u64,
    /// Copies of realtime events that found no place on their way to the windows.
    pub copies_dropped: u64,
    /// Rules, what each of them counted, and what became of their alerts.
    pub rules: Option<(RulesOutcome, Vec<(String, RuleCounts)>)>,
    /// How often a worker lent a partition to its helper.
    pub lent: u64,
}

impl Processing {
    fn new(desk: DeskOutcome) -> (Processing, Option<RuleDesk>) {
        let (rule_desk, rules) = desk.rules.unzip();
        let processing = Processing {
            control: desk.control,
            letters: desk.letters,
            transactions: TransactionBook::default(),
            windows: WindowBook::default(),
            windows_dropped: desk.windows_dropped,
            copies_dropped: 0,
            rules: rules.map(|rules| (rules, Vec::new())),
            lent: 0,
        };
        (processing, rule_desk)
    }

    fn absorb(&mut self, work: Work, desk: &mut Option<RuleDesk>) {
        match work {
            Work::Realtime { rules: Some(stage), .. } => {
                if let (Some(desk), Some((_, counts))) = (desk, &mut self.rules) {
                    *counts = desk.totals(stage.engine.program());
                }
            }
            Work::Realtime { rules: None, .. } => {}
            Work::Transactional(transactions) => self.transactions.add(&transactions.book()),
            Work::Batch(stage) => {
                self.windows.merge(&stage.engine.book());
                self.copies_dropped += stage.tap.as_ref().map_or(0, |tap| tap.dropped());
            }
        }
    }
}

impl Outcome {
    /// Puts the agents' reports together.
    pub(super) fn of<S>(
        shards: &[ShardReport<S>],
        processors: Vec<ProcessorReport<Stage>>,
        threads: Vec<ThreadReport>,
        notices: Vec<NoticeLog>,
        desk: Option<DeskOutcome>,
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
                let counts = partitions.filter_map(|p| p.processor.tally().stream(shard_id, stream));
                let processed = counts.map(|counts| counts.total()).sum();
                let place = (shard_id, stream as u32);
                outcome.streams.push(StreamOutcome { place, stream: snapshot.clone(), processed });
            }
        }
        let (mut processing, mut rule_desk) = desk.map(Processing::new).unzip();
        let lent = processors.iter().map(|agent| agent.lent).sum();
        for processor in processors.into_iter().flat_map(|agent| agent.partitions) {
            outcome.ledger.events.absorb(&processor.events);
            outcome.ledger.queues[processor.class as usize].absorb(&processor.queue);
            outcome.receive_to_processed.absorb(&processor.receive_to_processed);
            outcome.wire_to_processed.absorb(&processor.wire_to_processed);
            if let (Some(processing), Some(rule_desk)) = (&mut processing, &mut rule_desk) {
                processing.absorb(processor.processor.into_work(), rule_desk);
            }
        }
        outcome.processing = processing.map(|processing| Processing { lent, ..processing });
        outcome
    }
}
