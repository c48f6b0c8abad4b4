//! Pools, queues, shards and processors, made and wired from the settings.

use super::ApplianceError;
use crate::agents::{
    NoticeReader, OutletParts, Processor, ProcessorAgent, ProcessorParts, Shard, Tally, notice_way,
};
use crate::config::{Admission, DeliveryWish, HugeWish as ConfigHuge, Integrity, RecoverySource, Settings};
use crate::event::{Class, Destination, Nanos, ShardId};
use crate::feed::{Delivery, FeedLine, FeedPolicy, IntakeSettings};
use crate::limits::{ENDPOINTS_MAX, HELD_MAX, STREAMS_MAX};
use crate::os::{Clock, HugeWish, MemoryWish};
use crate::pool::{Bill, Demand, Pool, PoolReport, ReturnPort, SlotReader};
use crate::process::ClassTable;
use crate::queue::{QueueConsumer, QueueProducer, queue};
use crate::source::FrameSource;
use std::net::SocketAddr;
use std::time::Duration;

/// Tickets that a processor pops in one turn, for the pool's bill.
const PROCESSOR_BATCH: u32 = 256;

/// Largest packet expected on an interface without jumbo frames, for the pool's bill.
const PACKET_BYTES: u32 = 1_500;

/// All agents of an appliance, wired and not yet started: shards of sources `S`, and a processor `P` for each class.
pub struct Assembly<S, P = Tally> {
    /// One per list of sources.
    pub shards: Vec<Shard<S>>,
    /// One per class, in the order of [`Class::ALL`].
    pub processors: Vec<ProcessorAgent<P>>,
    /// What each shard's pool was made of.
    pub pools: Vec<PoolReport>,
    /// The itemised bill that every pool was sized by.
    pub bill: Bill,
    /// Where shards tell of streams and lines.
    pub notices: Vec<NoticeReader>,
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
    let mut policies: Vec<_> =
        settings.feeds.iter().map(|feed| policy(&feed.integrity, feed.recovery.as_deref())).collect();
    for (rules, feed) in policies.iter_mut().zip(&settings.feeds) {
        rules.snapshot_of = feed.snapshot_of.map(|live| live as u32);
    }
    // The last one is for feeds that nobody configured.
    policies.push(FeedPolicy::default());
    IntakeSettings {
        lines: lines.collect(),
        policies,
        admit_unknown,
        protocol,
        streams_max: STREAMS_MAX,
        endpoints_max: ENDPOINTS_MAX,
        tcp_flows: false,
    }
}

/// A feed's rules, as its configuration has them.
pub(super) fn policy(integrity: &Integrity, recovery: Option<&RecoverySource>) -> FeedPolicy {
    let nanos = |time: Duration| time.as_nanos() as Nanos;
    FeedPolicy {
        delivery: match integrity.delivery {
            DeliveryWish::AsArrived => Delivery::AsArrived,
            DeliveryWish::InOrder => Delivery::InOrder,
        },
        window: integrity.window,
        reorder_ns: nanos(integrity.reorder),
        reorder_packets: integrity.reorder_packets,
        give_up_ns: recovery.map(|recovery| nanos(recovery.give_up)),
        answer_ns: recovery.map_or(FeedPolicy::default().answer_ns, |recovery| nanos(recovery.answer_time())),
        backfill: recovery.is_some_and(|recovery| recovery.backfill),
        silent_ns: nanos(integrity.line_silent),
        dead_ns: nanos(integrity.line_dead),
        snapshot_of: None,
        units: integrity.units.clone(),
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

/// Events that a shard may hold back behind gaps: as many as half of its smallest queue takes when they are released.
fn held_max(settings: &Settings) -> u32 {
    let feeds = settings.feeds.iter().map(|feed| &feed.integrity);
    let listeners = settings.listeners.iter().map(|listener| &listener.integrity);
    if !feeds.chain(listeners).any(|integrity| integrity.delivery == DeliveryWish::InOrder) {
        return 0;
    }
    let places = settings.queue_capacities.iter().min().map_or(0, |places| places / 2);
    places.min(HELD_MAX) as u32
}

/// The bill for one shard's pool.
fn bill(settings: &Settings) -> Bill {
    let mut bill = Bill::for_queues(&Demand {
        queue_capacity: settings.queue_capacities.map(|places| places as u32),
        burst_frames: settings.threads.burst as u32,
        packet_bytes: PACKET_BYTES,
        processors: Class::ALL.len() as u32,
        batch: PROCESSOR_BATCH,
        retained: 0,
        loopback: 0,
    });
    bill.share("held back", held_max(settings), "behind gaps of feeds that are delivered in order");
    bill
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
    let shards = sources.len();
    assemble_with(settings, intake, sources, node, clock, |_| Tally::allocate(shards, STREAMS_MAX))
}

/// As [`assemble`], with processors of the caller's own: `processor` makes that of each class.
///
/// # Errors
/// A pool can't be made.
pub fn assemble_with<S: FrameSource + Send + 'static, P: Processor>(
    settings: &Settings,
    intake: &IntakeSettings,
    sources: Vec<Vec<S>>,
    node: Option<u32>,
    clock: Clock,
    processor: impl FnMut(Class) -> P,
) -> Result<Assembly<S, P>, ApplianceError> {
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
    let processors = processors(consumers, &mut parts, clock, processor);
    let classes = class_table(settings)?;
    let held_max = held_max(settings) as usize;
    let mut notices = Vec::new();
    let shards = sources.into_iter().zip(parts).zip(producers).enumerate();
    let shards = shards
        .map(|(index, ((sources, parts), producers))| {
            let can_wait = sources.iter().all(FrameSource::can_wait);
            let pool = parts.pool;
            let outlet = OutletParts { pool, classes: classes.clone(), producers, held_max, clock, can_wait };
            let id = ShardId(index as u8);
            let mut shard = Shard::new(id, sources, intake, outlet, settings.threads.burst);
            let (port, reader) = notice_way(id);
            shard.tell_to(port);
            notices.push(reader);
            shard
        })
        .collect();
    Ok(Assembly { shards, processors, pools, bill, notices })
}

/// The three queues: producers by shard and class, consumers by class.
fn queues(settings: &Settings, shards: usize) -> (Vec<[QueueProducer; 3]>, Vec<QueueConsumer>) {
    let made = Class::ALL.map(|class| queue(class, settings.queue_capacities[class as usize], shards));
    let [realtime, transactional, batch] = made;
    let producers = realtime.0.into_iter().zip(transactional.0).zip(batch.0).map(|((r, t), b)| [r, t, b]);
    (producers.collect(), vec![realtime.1, transactional.1, batch.1])
}

fn processors<P: Processor>(
    consumers: Vec<QueueConsumer>,
    parts: &mut [ShardParts],
    clock: Clock,
    mut processor: impl FnMut(Class) -> P,
) -> Vec<ProcessorAgent<P>> {
    consumers
        .into_iter()
        .zip(Class::ALL)
        .map(|(consumer, class)| {
            let take = |part: &mut ShardParts| (part.readers.pop(), part.ports.pop());
            let (readers, ports): (Vec<_>, Vec<_>) = parts.iter_mut().map(take).unzip();
            let parts = ProcessorParts {
                class,
                processor: processor(class),
                consumer,
                // Each shard made one of each for every class.
                readers: readers.into_iter().flatten().collect(),
                ports: ports.into_iter().flatten().collect(),
            };
            ProcessorAgent::new(parts, clock)
        })
        .collect()
}
