//! Pools, queues, shards and processors, made and wired from the settings.

use super::ApplianceError;
use crate::agents::{OutletParts, ProcessorAgent, ProcessorParts, Shard, Tally};
use crate::config::{Admission, HugeWish as ConfigHuge, Settings};
use crate::event::{Class, Destination, ShardId};
use crate::feed::{FeedLine, IntakeSettings};
use crate::limits::{ENDPOINTS_MAX, STREAMS_MAX};
use crate::os::{Clock, HugeWish, MemoryWish};
use crate::pool::{Bill, Demand, Pool, PoolReport, ReturnPort, SlotReader};
use crate::process::ClassTable;
use crate::queue::{QueueConsumer, QueueProducer, queue};
use crate::source::FrameSource;
use std::net::SocketAddr;

/// Tickets that a processor pops in one turn, for the pool's bill.
const PROCESSOR_BATCH: u32 = 256;

/// Largest packet expected on an interface without jumbo frames, for the pool's bill.
const PACKET_BYTES: u32 = 1_500;

/// All agents of an appliance, wired and not yet started.
pub struct Assembly<S> {
    /// One per list of sources.
    pub shards: Vec<Shard<S>>,
    /// One per class, in the order of [`Class::ALL`].
    pub processors: Vec<ProcessorAgent<Tally>>,
    /// What each shard's pool was made of.
    pub pools: Vec<PoolReport>,
    /// The itemised bill that every pool was sized by.
    pub bill: Bill,
}

/// The feed logic's part of the settings, for frames of a NIC.
pub fn intake_settings(settings: &Settings) -> IntakeSettings {
    let lines = settings.feeds.iter().enumerate().flat_map(|(feed, record)| {
        record.lines.iter().enumerate().map(move |(line, line_record)| FeedLine {
            feed: feed as u32,
            feed_name: record.name.clone(),
            line_name: line_record.name.clone(),
            line: line as u8,
            destination: line_record.destination,
            // In the form that addresses have in packets, which is a destination's.
            source: line_record.source.map(|source| Destination::from(SocketAddr::new(source, 0)).address),
            protocol: record.protocol,
        })
    });
    let (admit_unknown, protocol) = match settings.admission {
        Admission::FeedsOnly => (false, None),
        Admission::Everything { protocol } => (true, protocol),
    };
    IntakeSettings {
        lines: lines.collect(),
        admit_unknown,
        protocol,
        streams_max: STREAMS_MAX,
        endpoints_max: ENDPOINTS_MAX,
        tcp_flows: false,
    }
}

/// The feed logic's part of the settings, for frames of captures: of their TCP flows nobody else takes care.
pub fn capture_intake_settings(settings: &Settings) -> IntakeSettings {
    IntakeSettings { tcp_flows: true, ..intake_settings(settings) }
}

fn class_table(settings: &Settings) -> Result<ClassTable, ApplianceError> {
    let mut table = ClassTable::default();
    for wish in &settings.class_overrides {
        let full = |_| {
            ApplianceError::Usage(format!(
                "{}: [classes.{}] gives too many message types above 255 a class of their own; leave some out",
                settings.origin, wish.protocol
            ))
        };
        table.override_kind(wish.protocol, wish.kind, wish.class).map_err(full)?;
    }
    Ok(table)
}

fn memory_wish(settings: &Settings, node: Option<u32>) -> MemoryWish {
    let huge = match settings.pool.hugepages {
        ConfigHuge::TwoMiB => HugeWish::TwoMiB,
        ConfigHuge::OneGiB => HugeWish::OneGiB,
        ConfigHuge::Never => HugeWish::Never,
    };
    MemoryWish { huge, lock: settings.pool.lock_memory, ..Pool::memory_wish(node) }
}

/// The bill for one shard's pool.
fn bill(settings: &Settings) -> Bill {
    Bill::for_queues(&Demand {
        queue_capacity: settings.queue_capacities.map(|places| places as u32),
        burst_frames: settings.threads.burst as u32,
        packet_bytes: PACKET_BYTES,
        processors: Class::ALL.len() as u32,
        batch: PROCESSOR_BATCH,
        retained: 0,
        loopback: 0,
    })
}

/// One shard's ends: its pool, a way home from each processor, a view for each of them.
struct ShardParts {
    pool: Pool,
    ports: Vec<ReturnPort>,
    readers: Vec<SlotReader>,
}

/// Makes and wires everything: a shard for each list of `sources`, on `node`, whose feed logic is `intake`.
///
/// # Errors
/// A pool can't be made.
pub fn assemble<S: FrameSource + Send + 'static>(
    settings: &Settings,
    intake: &IntakeSettings,
    sources: Vec<Vec<S>>,
    node: Option<u32>,
    clock: Clock,
) -> Result<Assembly<S>, ApplianceError> {
    let bill = bill(settings);
    let mut plan = bill.plan();
    for (slots, wish) in plan.slots.iter_mut().zip(settings.pool.slots) {
        *slots = wish.unwrap_or(*slots);
    }
    let mut pools = Vec::new();
    let mut parts = Vec::new();
    for shard in 0..sources.len() {
        let (mut pool, report) = Pool::create(&plan, ShardId(shard as u8), &memory_wish(settings, node))?;
        let ports = Class::ALL.iter().map(|_| pool.attach()).collect();
        let readers = Class::ALL.iter().map(|_| pool.reader()).collect();
        parts.push(ShardParts { pool, ports, readers });
        pools.push(report);
    }
    let (producers, consumers) = queues(settings, sources.len());
    let processors = processors(consumers, &mut parts, clock);
    let classes = class_table(settings)?;
    let shards = sources.into_iter().zip(parts).zip(producers).enumerate();
    let shards = shards
        .map(|(index, ((sources, parts), producers))| {
            let can_wait = sources.iter().all(FrameSource::can_wait);
            let outlet =
                OutletParts { pool: parts.pool, classes: classes.clone(), producers, clock, can_wait };
            Shard::new(ShardId(index as u8), sources, intake, outlet, settings.threads.burst)
        })
        .collect();
    Ok(Assembly { shards, processors, pools, bill })
}

/// The three queues: producers by shard and class, consumers by class.
fn queues(settings: &Settings, shards: usize) -> (Vec<[QueueProducer; 3]>, Vec<QueueConsumer>) {
    let made = Class::ALL.map(|class| queue(class, settings.queue_capacities[class as usize], shards));
    let [realtime, transactional, batch] = made;
    let producers = realtime.0.into_iter().zip(transactional.0).zip(batch.0).map(|((r, t), b)| [r, t, b]);
    (producers.collect(), vec![realtime.1, transactional.1, batch.1])
}

fn processors(
    consumers: Vec<QueueConsumer>,
    parts: &mut [ShardParts],
    clock: Clock,
) -> Vec<ProcessorAgent<Tally>> {
    let shards = parts.len();
    consumers
        .into_iter()
        .zip(Class::ALL)
        .map(|(consumer, class)| {
            let take = |part: &mut ShardParts| (part.readers.pop(), part.ports.pop());
            let (readers, ports): (Vec<_>, Vec<_>) = parts.iter_mut().map(take).unzip();
            let parts = ProcessorParts {
                class,
                processor: Tally::allocate(shards, STREAMS_MAX),
                consumer,
                // Each shard made one of each for every class.
                readers: readers.into_iter().flatten().collect(),
                ports: ports.into_iter().flatten().collect(),
            };
            ProcessorAgent::new(parts, clock)
        })
        .collect()
}
