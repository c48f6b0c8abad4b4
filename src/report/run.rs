//! report.json: the facts of one run or replay. Its keys are a contract; further ones may follow them.

use super::books::LedgerReport;
use super::control::{ControlReport, GapReport, gaps};
use super::exit::Exit;
use super::processing::{ProcessingReport, RoutingReport};
use super::recovery::FeedRecoveryReport;
use super::streams::{NamedStream, StreamReport};
use crate::event::Class;
use crate::feed::{Notice, TableFacts};
use crate::ledger::{LatencyRecorder, Ledger, Percentiles, RoutingBook};
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// The latencies of a run, merged over all agents, ns.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    /// From the wire to the shard.
    pub wire_to_receive: LatencyRecorder,
    /// From the shard to the end of processing.
    pub receive_to_processed: LatencyRecorder,
    /// From the wire to the end of processing.
    pub wire_to_processed: LatencyRecorder,
}

impl Latencies {
    /// The stages with the names of their keys.
    pub fn stages(&self) -> [(&'static str, &LatencyRecorder); 3] {
        [
            ("wire_to_receive", &self.wire_to_receive),
            ("receive_to_processed", &self.receive_to_processed),
            ("wire_to_processed", &self.wire_to_processed),
        ]
    }
}

/// What the threads of the hot path did between boot and shutdown that they should not; `None` (`null`) was
/// not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HotPath {
    /// System calls.
    pub syscalls: Option<u64>,
    /// Allocations.
    pub allocations: Option<u64>,
    /// Minor page faults.
    pub minor_faults: Option<u64>,
    /// Times that a thread gave up its core.
    pub voluntary_switches: Option<u64>,
}

/// What a report is built from.
#[derive(Clone, Debug, Default)]
pub struct ReportInput {
    /// The books of all agents, summed.
    pub ledger: Ledger,
    /// The streams of all shards.
    pub streams: Vec<NamedStream>,
    /// What happened to streams and lines: the place of the stream in `streams`, and what.
    pub notices: Vec<(usize, Notice)>,
    /// How many notices there were.
    pub control: ControlReport,
    /// Whether every gap is listed.
    pub explain_gaps: bool,
    /// How full the tables of streams and destinations were.
    pub tables: TableFacts,
    /// Latencies.
    pub latencies: Latencies,
    /// Cost counters.
    pub hot_path: HotPath,
    /// From the start of the threads to the end of the last one, idle time included.
    pub elapsed: Duration,
    /// Places of the queues, indexed by [`Class`]; `None` where there were no queues.
    pub queue_capacities: Option<[usize; Class::ALL.len()]>,
    /// What came of asking for lost messages, by feed.
    pub recovery: Vec<FeedRecoveryReport>,
    /// Facts about the machine.
    pub machine: Value,
    /// [`crate::config::Settings::config_hash`].
    pub config_hash: String,
    /// What processors and the control plane did, where there were any.
    pub processing: Option<ProcessingReport>,
    /// What senders asked for, and what they got.
    pub routing: RoutingBook,
    /// Further keys, behind the contract's: memory, capture, sources, threads, pacing … None of the
    /// contract's own.
    pub further: Map<String, Value>,
}

/// One queue in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct QueueReport {
    /// Tickets pushed.
    pub pushed: u64,
    /// Tickets popped.
    pub popped: u64,

    /// Most tickets seen waiting at once.
    pub high_water: u64,
    /// Tickets that were taken out again, to make room.
    pub given_up: u64,
    /// Its places.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<usize>,
}

/// The queues by class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct QueuesReport {
    /// The realtime queue.
    pub realtime: QueueReport,
    /// The transactional queue.
    pub transactional: QueueReport,
    /// The batch queue.
    pub batch: QueueReport,
}

/// Percentiles of the three stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LatencyReport {
    /// From the wire to the shard.
    pub wire_to_receive: Percentiles,
    /// From the shard to the end of processing.
    pub receive_to_processed: Percentiles,
    /// From the wire to the end of processing.
    pub wire_to_processed: Percentiles,
}

/// The percentile curve of a stage that was measured.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    /// The stage.
    pub(super) name: &'static str,
    /// (percentile 0..=100, ns), rising; never empty.
    pub(super) points: Vec<(f64, u64)>,
    /// How many values it is drawn from: the maximum is the percentile 1 - 1 / count.
    pub(super) count: u64,
}

/// A report. It is written in the order of its fields.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The books.
    pub ledger: LedgerReport,
    /// The streams.
    pub streams: Vec<StreamReport>,
    /// What came of asking for lost messages, by feed; left out where none is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recovery: Vec<FeedRecoveryReport>,
    /// The queues.
    pub queues: QueuesReport,
    /// The latencies.
    pub latency_ns: LatencyReport,
    /// What the hot path cost.
    pub hot_path: HotPath,
    /// Seconds that it took.
    pub elapsed_s: f64,
    /// Events delivered per second of that time: of a live run an average over its pauses, too.
    pub events_per_s: f64,
    /// The machine.
    pub machine: Value,
    /// The configuration's hash.
    pub config_hash: String,
    /// How full the tables of streams and destinations were.
    pub stream_table: TableFacts,
    /// What happened to streams and lines, by topic.
    pub control: ControlReport,
    /// Every gap, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaps: Option<Vec<GapReport>>,
    /// What senders asked for, and what they got.
    pub routing: RoutingReport,
    /// What processors and the control plane did.
    #[serde(flatten)]
    pub processing: Option<ProcessingReport>,
    /// Further keys.
    #[serde(flatten)]
    pub further: Map<String, Value>,
    #[serde(skip)]
    pub(super) curves: Vec<Curve>,
}

/// The top-level keys of the contract, which [`ReportInput::further`] must not repeat.
const KEYS: [&str; 21] = [
    "ledger",
    "streams",
    "recovery",
    "queues",
    "latency_ns",
    "hot_path",
    "elapsed_s",
    "events_per_s",
    "machine",
    "config_hash",
    "stream_table",
    "control",
    "gaps",
    "routing",
    "pressure",
    "dead_letters",
    "transactional",
    "windows",
    "copies_dropped",
    "rules",
    "lent",
];

impl Report {
    /// The report of `input`.
    pub fn new(input: ReportInput) -> Report {
        debug_assert!(
            KEYS.iter().all(|key| !input.further.contains_key(*key)),
            "a key would stand there twice"
        );
        let streams: Vec<StreamReport> = input.streams.into_iter().map(StreamReport::from).collect();
        let elapsed_s = input.elapsed.as_secs_f64();
        let delivered = input.ledger.events.delivered;
        let queue = |class: Class| {
            let book = &input.ledger.queues[class as usize];
            QueueReport {
                pushed: book.pushed,
                popped: book.popped,
                high_water: book.high_water,
                given_up: book.given_up,
                capacity: input.queue_capacities.map(|capacities| capacities[class as usize]),
            }
        };
        let curves = input.latencies.stages().into_iter().map(|(name, recorder)| Curve {
            name,
            points: recorder.curve(),
            count: recorder.percentiles().count,
        });
        Report {
            ledger: LedgerReport::new(&input.ledger, &streams),
            stream_table: input.tables,
            control: input.control,
            gaps: input.explain_gaps.then(|| gaps(&input.notices, &streams)),
            streams,
            recovery: input.recovery,
            queues: QueuesReport {
                realtime: queue(Class::Realtime),
                transactional: queue(Class::Transactional),
                batch: queue(Class::Batch),
            },
            latency_ns: LatencyReport {
                wire_to_receive: input.latencies.wire_to_receive.percentiles(),
                receive_to_processed: input.latencies.receive_to_processed.percentiles(),
                wire_to_processed: input.latencies.wire_to_processed.percentiles(),
            },
            hot_path: input.hot_path,
            elapsed_s,
            events_per_s: if elapsed_s > 0.0 { delivered as f64 / elapsed_s } else { 0.0 },
            machine: input.machine,
            config_hash: input.config_hash,
            routing: (&input.routing).into(),
            processing: input.processing,
            further: input.further,
            curves: curves.filter(|curve| curve.count > 0).collect(),
        }
    }

    /// Done, or unbalanced.
    pub fn exit_code(&self) -> Exit {
        Exit::from_balance(self.ledger.balanced)
    }
}
