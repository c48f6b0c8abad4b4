//! Pools, queues, shards and processors, made and wired from the settings.

use super::ApplianceError;
use super::processors::{inlet_places, processor_agents};
use super::stages::{StageEnds, Stages};
use crate::agents::{
    NoticeReader, OutletParts, Overflows, Processor, ProcessorAgent, Shard, Stage, notice_way,
};
use crate::config::{
    Admission, DeliveryWish, HugeWish as ConfigHuge, Integrity, OnKill, OverflowWishes, RecoverySource,
    Settings,
};
use crate::event::{Class, Destination, Nanos, Overflow, ShardId};
use crate::feed::{Delivery, FeedLine, FeedPolicy, IntakeSettings};
use crate::ledger::Knobs;
use crate::limits::{ENDPOINTS_MAX, HANDED_OVER_MAX, HELD_MAX, STREAMS_MAX};
use crate::os::{Clock, HugeWish, MemoryWish};
use crate::pool::{Bill, Demand, Pool, PoolReport};
use crate::process::{ClassTable, Router, TopicPattern};
use crate::queue::{QueueConsumer, QueuePlan, QueueProducer, make_queue};
use crate::sink::dead_letters::{LetterPort, LetterReader, letter_way};
use crate::source::FrameSource;
use std::net::SocketAddr;
use std::time::Duration;

/// Tickets that a processor pops in one turn, for the pool's bill.
const PROCESSOR_BATCH: u32 = 256;

/// Largest packet expected on an interface without jumbo frames, for the pool's bill.
const PACKET_BYTES: u32 = 1_500;

/// All agents of an appliance, wired and not yet started: shards of sources `S`, and a processor `P` for each class.
pub struct Assembly<S, P = Stage> {
    /// One per list of sources.
    pub shards: Vec<Shard<S>>,
    /// Those of each class, in the order of [`Class::ALL`], with their helpers.
    pub processors: Vec<ProcessorAgent<P>>,
    /// What the control plane tells all of them.
    pub knobs: Knobs,
    /// What each shard's pool was made of.
    pub pools: Vec<PoolReport>,
    /// The itemised bill that every pool was sized by.
    pub bill: Bill,
    /// Where shards tell of streams and lines.
    pub notices: Vec<NoticeReader>,
    /// Where shards and processors put events that were not processed.
    pub letters: Vec<LetterReader>,
    /// The other ends of what the appliance's own processors tell.
    pub ends: StageEnds,
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

fn router(settings: &Settings) -> Result<Router, ApplianceError> {
    let mut router = Router::new(class_table(settings)?);
    for topic in &settings.topics {
        let wrong = |problem: &dyn std::fmt::Display| {
            ApplianceError::Usage(format!("{}: [[topic]] \"{}\": {problem}", settings.origin, topic.pattern))
        };
        let pattern = TopicPattern::parse(&topic.pattern).map_err(|error| wrong(&error))?;
        router.add_topic(&pattern, topic.class).map_err(|error| wrong(&error))?;
    }
    Ok(router)
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
        processors: partitions(settings) as u32,
        batch: PROCESSOR_BATCH,
        retained: retained(settings),
        loopback: 0,
    });
    bill.share("held back", held_max(settings), "behind gaps of feeds that are delivered in order");
    bill
}

/// Events that transactional processors may keep for another attempt.
fn retained(settings: &Settings) -> u32 {
    (settings.transactional.parked_max * settings.workers.partitions_of(Class::Transactional)) as u32
}

/// Partitions of all classes.
fn partitions(settings: &Settings) -> usize {
    Class::ALL.iter().map(|class| settings.workers.partitions_of(*class)).sum()
}

/// What happens to events of a source whose queue is full: as its own table says, or the one for all sources, or by what
/// the source can.
fn overflows(settings: &Settings, own: &OverflowWishes, can_wait: bool) -> Overflows {
    let usual = if can_wait { Overflow::Block } else { Overflow::DropOldest };
    let wish = |class: Class| match own[class as usize].or(settings.overflow[class as usize]) {
        // For all sources it means: as far as they can.
        Some(Overflow::Block) | None => usual,
        Some(wish) => wish,
    };
    Class::ALL.map(wish)
}

/// The same for the inlets of a shard, in the order of its port.
fn inlet_overflows(settings: &Settings, shard: usize) -> Vec<Overflows> {
    let listeners = settings.listeners.iter().filter(|listener| listener.shard == shard);
    let of = |listener: &crate::config::Listener| {
        overflows(settings, &listener.overflow, listener.connections_max > 0)
    };
    let mut all: Vec<Overflows> = listeners.map(of).collect();
    // Connectors, the host's figures and recoveries are connections, too, but for requesters, whose answers replace what
    // was lost already.
    all.resize(all.len() + settings.connectors.len() + 1, overflows(settings, &[None; 3], true));
    all
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
    let mut stages = Stages::plan(settings, sources.len())?;
    let mut assembly = assemble_with(settings, intake, sources, node, clock, |class, partition, knobs| {
        stages.make(class, partition, knobs)
    })?;
    assembly.ends = stages.into_ends()?;
    Ok(assembly)
}

/// As [`assemble`], with processors of the caller's own: `processor` makes that of each class' partition.
///
/// # Errors
/// A pool can't be made.
pub fn assemble_with<S: FrameSource + Send + 'static, P: Processor>(
    settings: &Settings,
    intake: &IntakeSettings,
    sources: Vec<Vec<S>>,
    node: Option<u32>,
    clock: Clock,
    processor: impl FnMut(Class, usize, &Knobs) -> P,
) -> Result<Assembly<S, P>, ApplianceError> {
    let bill = bill(settings);
    let mut plan = bill.plan();
    for (slots, wish) in plan.slots.iter_mut().zip(settings.pool.slots) {
        *slots = wish.unwrap_or(*slots);
    }
    let knobs = Knobs::default();
    let router = router(settings)?;
    let held_max = held_max(settings) as usize;
    let (producers, consumers) = queues(settings, sources.len());
    let mut letters = Vec::new();
    let (mut shards, mut pools, mut notices, mut views) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (index, (sources, producers)) in sources.into_iter().zip(producers).enumerate() {
        let id = ShardId(index as u8);
        let (mut pool, report) = Pool::create(&plan, id, &memory_wish(settings, node))?;
        pools.push(report);
        let ends: Vec<_> = (0..partitions(settings)).map(|_| (pool.reader(), pool.attach())).collect();
        let outlet = OutletParts {
            pool,
            router: router.clone(),
            producers,
            held_max,
            clock,
            overflows: sources.iter().map(|source| lane_overflows(settings, source)).collect(),
            inlet_overflows: inlet_overflows(settings, index),
            knobs: knobs.clone(),
            pause_when_killed: settings.control.on_kill == OnKill::Pause,
            letters: letter_port(settings, &mut letters),
        };
        let mut shard = Shard::new(id, sources, intake, outlet, settings.threads.burst);
        let (port, reader) = notice_way(id);
        shard.tell_to(port);
        notices.push(reader);
        views.push((ends, shard.stream_feeds(), inlet_places(settings, intake, index)));
        shards.push(shard);
    }
    let processors = processor_agents(settings, consumers, views, &knobs, clock, processor, &mut letters);
    let ends = StageEnds::default();
    Ok(Assembly { shards, processors, knobs, pools, bill, notices, letters, ends })
}

/// An end for an agent that puts letters in; the other end goes to the list.
pub(super) fn letter_port(settings: &Settings, readers: &mut Vec<LetterReader>) -> LetterPort {
    let (port, reader) = letter_way(&settings.dead_letters);
    readers.push(reader);
    port
}

fn lane_overflows(settings: &Settings, source: &impl FrameSource) -> Overflows {
    let interface = source.interface();
    let own = settings.interfaces.iter().find(|known| Some(known.name.as_str()) == interface);
    overflows(settings, own.map_or(&[None; 3], |interface| &interface.overflow), source.can_wait())
}

/// The ends of a shard: by class, one for each partition.
type ShardEnds = [Vec<QueueProducer>; 3];

/// The queues: producers by shard, class and partition, consumers by class and partition.
fn queues(settings: &Settings, shards: usize) -> (Vec<ShardEnds>, [Vec<QueueConsumer>; 3]) {
    let mut producers: Vec<ShardEnds> = (0..shards).map(|_| ShardEnds::default()).collect();
    let all_places: usize = settings.queue_capacities.iter().sum();
    let conflates = |class: Class| {
        let wishes = settings.interfaces.iter().map(|interface| &interface.overflow);
        let wishes = wishes.chain(settings.listeners.iter().map(|listener| &listener.overflow));
        let mut wishes = wishes.chain([&settings.overflow]);
        wishes.any(|wishes| wishes[class as usize] == Some(Overflow::Conflate))
    };
    let consumers = Class::ALL.map(|class| {
        let partitions = settings.workers.partitions_of(class);
        let capacity = settings.queue_capacities[class as usize].div_ceil(partitions);
        // A quarter at most, so that most of what waits can be taken back.
        let ring_places = HANDED_OVER_MAX.min(capacity.div_ceil(4));
        let made = (0..partitions).map(|_| {
            let (ends, consumer) = make_queue(&QueuePlan {
                class,
                capacity,
                ring_places,
                // Realtime events may take the places of all others; and what came while the ring was not filled up
                // from behind has places of its own.
                beyond: if class == Class::Realtime { all_places - capacity + ring_places } else { 0 },
                producers: shards,
                by_key: conflates(class),
            });
            let of_class = producers.iter_mut().map(|ends| &mut ends[class as usize]);
            of_class.zip(ends).for_each(|(of_class, end)| of_class.push(end));
            consumer
        });
        made.collect()
    });
    (producers, consumers)
}
