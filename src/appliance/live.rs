//! A live run: interfaces through XDP and AF_XDP, sockets through io_uring, until a signal or a set time ends it.
//!
//! Invariant: whatever ends the run, frames on the way are taken up, queues drained, programs detached, in this order.

use super::crew::{self, Homecoming};
use super::{ApplianceError, Outcome, Told, assemble, intake_settings, network};
use crate::config::{
    AttachWish as ConfigAttach, DriveMode as ConfigDrive, Feed, Interface, QueuesWish, Settings, ZeroCopyWish,
};
use crate::feed::ProducerRecord;
use crate::ledger::{Boards, KernelBook};
use crate::limits::LANES_PER_SHARD_MAX;
use crate::os::{self, Clock, StopFlag};
use crate::runtime::{Drive, ThreadingPlan};
use crate::source::host::{HostCounts, HostMetrics};
use crate::source::members::{self, MemberLimits, Members, MembershipFact};
use crate::source::xdp::{
    AttachWish, CopyMode, DriveMode, LaneSettings, Steering, SteeringSettings, XdpError, XdpSource,
};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often the waiting thread looks at signals and the clock.
const WATCH_INTERVAL: Duration = Duration::from_millis(10);

/// A lane to be opened: which queue of which interface, for which shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedLane {
    /// Index of the interface in the settings.
    pub interface: usize,
    /// Its name.
    pub name: String,
    /// The receive queue.
    pub queue: u32,
    /// The shard that polls it.
    pub shard: usize,
}

/// What a live run is made of, before anything is started.
#[derive(Clone, Debug)]
pub struct LivePlan {
    /// Lanes, by interface and queue.
    pub lanes: Vec<PlannedLane>,
    /// Threads and CPUs.
    pub threads: ThreadingPlan,
    /// Shards.
    pub shards: usize,
    /// NUMA node of the first interface that has one.
    pub node: Option<u32>,
    /// What is not as one would expect.
    pub remarks: Vec<String>,
}

/// What a live run turned out to be made of, once everything is attached.
#[derive(Clone, Debug, Default)]
pub struct LiveParts {
    /// A line per interface, lane and pool: modes, fallbacks, remarks.
    pub lines: Vec<String>,
    /// What the running agents publish.
    pub boards: Boards,
}

/// What a live run gave.
pub struct LiveOutcome {
    /// Books, streams, latencies, threads.
    pub outcome: Outcome,
    /// Seconds from the first turn to the last.
    pub elapsed_s: f64,
    /// System calls made by lanes and ports to wake or drive the kernel.
    pub doorbells: u64,
    /// The producers of acknowledged sessions.
    pub producers: Vec<ProducerRecord>,
    /// What the host metrics counted, where they are collected.
    pub host: Option<HostCounts>,
    /// The multicast groups that were joined.
    pub memberships: Vec<MembershipFact>,
    /// Lines as in [`LiveParts`].
    pub lines: Vec<String>,
}

/// Works out lanes and threads.
///
/// # Errors
/// An interface or a queue that is not there, more queues than the shards can poll, CPUs that may not be used.
pub fn plan_live(settings: &Settings) -> Result<LivePlan, ApplianceError> {
    settings.check_runnable()?;
    let mut lanes = Vec::new();
    let mut node = None;
    for (index, interface) in settings.interfaces.iter().enumerate() {
        let facts = os::Interface::find(&interface.name)?;
        node = node.or(facts.numa_node);
        for queue in queues(interface, facts.rx_queues)? {
            let name = interface.name.clone();
            lanes.push(PlannedLane {
                interface: index,
                name,
                queue,
                shard: lanes.len() % settings.threads.shards,
            });
        }
    }
    let room = settings.threads.shards * LANES_PER_SHARD_MAX;
    if lanes.len() > room {
        return Err(ApplianceError::Usage(format!(
            "the interfaces have {} queues, and threads.shards = {} takes {room} ({LANES_PER_SHARD_MAX} a shard): write \
             shards = {}, or list the queues that the feeds land in",
            lanes.len(),
            settings.threads.shards,
            lanes.len().div_ceil(LANES_PER_SHARD_MAX)
        )));
    }
    let shards = settings.threads.shards.min(lanes.len()).max(network::shards_needed(settings));
    let threads = crew::plan(settings, shards, Drive::Live)?;
    let remarks = lines_apart(settings, &lanes);
    Ok(LivePlan { lanes, threads, shards, node, remarks })
}

/// A remark for each feed whose lines may come to different shards, where nothing arbitrates them.
fn lines_apart(settings: &Settings, lanes: &[PlannedLane]) -> Vec<String> {
    let apart = settings.feeds.iter().filter(|feed| {
        let reached = lanes.iter().filter(|lane| feed.lines.iter().any(|line| line.comes_in_by(&lane.name)));
        let shards: BTreeSet<usize> = reached.map(|lane| lane.shard).collect();
        feed.lines.len() > 1 && shards.len() > 1
    });
    let remark = |feed: &Feed| {
        format!(
            "feed {}: its lines come in by queues of several shards, and lines on different shards are not arbitrated: each \
             is a stream of its own; write threads.shards = 1, or have their packets steered to queues of one shard",
            feed.name
        )
    };
    apart.map(remark).collect()
}

fn queues(interface: &Interface, there: u32) -> Result<Vec<u32>, ApplianceError> {
    match &interface.queues {
        QueuesWish::All => Ok((0..there).collect()),
        QueuesWish::List(list) => match list.iter().find(|queue| **queue >= there) {
            None => Ok(list.clone()),
            Some(missing) => Err(ApplianceError::Usage(format!(
                "interface {}: queues names queue {missing}, but it has queues 0 to {}; `ethtool -L {} combined N` \
                 sets how many",
                interface.name,
                there.saturating_sub(1),
                interface.name
            ))),
        },
    }
}

/// Runs until `stop` is set or `duration` is over. `ready` is told once when frames are being taken; `watch` is told
/// the boards every few milliseconds; `told` what happens to streams and lines.
///
/// # Errors
/// The machine lacks something, the settings do not fit it, or an agent panicked. Programs are detached all the same.
pub fn run_live(
    settings: &Settings,
    duration: Option<Duration>,
    stop: &StopFlag,
    ready: &mut dyn FnMut(&LiveParts),
    watch: &mut dyn FnMut(&Boards),
    told: &mut dyn FnMut(Told<'_>),
) -> Result<LiveOutcome, ApplianceError> {
    let plan = plan_live(settings)?;
    let memberships = members::wanted(settings);
    let limits = MemberLimits::read(Path::new("/"));
    // Before anything is attached: what can't be joined is known from the limits alone.
    members::place(&memberships, &limits)?;
    let mut parts = LiveParts { lines: plan.remarks.clone(), ..LiveParts::default() };
    let steering = attach(settings, &mut parts)?;
    let sources = open_lanes(settings, &plan, &steering, &mut parts)?;
    let clock = Clock::new();
    let host = settings.host.enabled.then(|| HostMetrics::start(&settings.host)).transpose()?;
    let (host, stream) = host.unzip();
    let ports = network::open_ports(settings, stream, plan.node, &mut parts.lines)?;
    parts.lines.extend(ports.iter().map(|port| port.report.to_string()));
    let assembly =
        assemble(settings, &intake_settings(settings), sources, plan.node, clock)?.with_ports(ports);
    parts.lines.extend(assembly.pools.iter().map(ToString::to_string));
    // Last, so that what comes then finds rings that are polled soon.
    let mut members = Members::join(memberships, &limits)?;
    parts.lines.extend(members.lines());
    let started = Instant::now();
    let mut crew = crew::start(assembly, &plan.threads, settings, clock)?;
    parts.boards = crew.boards.clone();
    ready(&parts);
    while !stop.is_set() && !crew.has_ended() && duration.is_none_or(|limit| started.elapsed() < limit) {
        watch(&crew.boards);
        crew.listen(told);
        members.watch(Instant::now());
        std::thread::sleep(WATCH_INTERVAL);
    }
    let memberships = members.facts();
    // The groups are left here; frames on their way are still taken.
    drop(members);
    // First, so that what it has sent is still taken.
    let host = host.map(HostMetrics::stop);
    crew.stop();
    let Homecoming { shards, mut outcome } = crew.join::<XdpSource>(told)?;
    let elapsed_s = started.elapsed().as_secs_f64();
    let port_calls: u64 = shards.iter().map(|shard| shard.port_system_calls).sum();
    let producers = shards.iter().flat_map(|shard| shard.producers.iter().copied()).collect();
    let doorbells: u64 = shards.iter().flat_map(|shard| &shard.sources).map(XdpSource::doorbells).sum();
    if !steering.is_empty() {
        outcome.ledger.kernel = Some(kernel_book(outcome.ledger.kernel.take(), &steering)?);
    }
    drop(shards);
    steering.into_iter().for_each(Steering::detach);
    Ok(LiveOutcome {
        outcome,
        elapsed_s,
        doorbells: doorbells + port_calls,
        producers,
        host,
        memberships,
        lines: parts.lines,
    })
}

/// The kernel's book: what the programs saw on all queues, and what the lanes took and lost.
fn kernel_book(lanes: Option<KernelBook>, steering: &[Steering]) -> Result<KernelBook, XdpError> {
    let lanes = lanes.unwrap_or_default();
    let mut book = KernelBook::default();
    for program in steering {
        // Its notes are about redirected frames, and the lanes have them already.
        book.absorb(&KernelBook { notes: Vec::new(), ..program.program_book()? });
    }
    book.absorb(&KernelBook {
        received: lanes.received,
        lost: lanes.lost,
        notes: lanes.notes,
        ..KernelBook::default()
    });
    Ok(book)
}

fn attach(settings: &Settings, parts: &mut LiveParts) -> Result<Vec<Steering>, ApplianceError> {
    let mut attached = Vec::new();
    for interface in &settings.interfaces {
        let steering = Steering::attach(&SteeringSettings {
            interface: interface.name.clone(),
            rules: settings.lines_by(&interface.name).map(|line| line.destination).collect(),
            hardware_time: true,
            napi_threads: interface.drive == ConfigDrive::NapiThread,
            mode: match interface.attach {
                ConfigAttach::Auto => AttachWish::NativeElseGeneric,
                ConfigAttach::Native => AttachWish::NativeOnly,
                ConfigAttach::Generic => AttachWish::GenericOnly,
            },
        })?;
        parts.lines.push(steering.report().to_string());
        attached.push(steering);
    }
    Ok(attached)
}

/// Opens the lanes of each shard on the CPU that the shard will run on, so that their memory is near it.
fn open_lanes(
    settings: &Settings,
    plan: &LivePlan,
    steering: &[Steering],
    parts: &mut LiveParts,
) -> Result<Vec<Vec<XdpSource>>, ApplianceError> {
    let mut opened: Vec<Vec<XdpSource>> = (0..plan.shards).map(|_| Vec::new()).collect();
    for (shard, sources) in opened.iter_mut().enumerate() {
        let name = crate::agents::shard_name(crate::event::ShardId(shard as u8));
        let cpu =
            plan.threads.threads.iter().find(|thread| thread.agents.contains(&name)).and_then(|t| t.cpu);
        let lanes = plan.lanes.iter().filter(|lane| lane.shard == shard);
        let open = || -> Result<Vec<XdpSource>, ApplianceError> {
            cpu.map_or(Ok(()), os::pin_current_thread)?;
            lanes
                .map(|lane| {
                    open_lane(&settings.interfaces[lane.interface], lane.queue, &steering[lane.interface])
                })
                .collect()
        };
        let panicked =
            |_| ApplianceError::Panicked { thread: name.clone(), message: "while opening lanes".to_owned() };
        *sources = std::thread::scope(|scope| scope.spawn(open).join()).map_err(panicked)??;
        parts.lines.extend(sources.iter().map(|source| source.report().to_string()));
    }
    Ok(opened)
}

fn open_lane(interface: &Interface, queue: u32, steering: &Steering) -> Result<XdpSource, ApplianceError> {
    let source = XdpSource::open(steering, &lane_settings(interface, queue))?;
    if interface.zero_copy == ZeroCopyWish::Require && !source.report().zero_copy {
        return Err(ApplianceError::NoZeroCopy {
            interface: interface.name.clone(),
            queue,
            driver: os::Interface::find(&interface.name)?.driver.unwrap_or_else(|| "unknown".to_owned()),
        });
    }
    Ok(source)
}

fn lane_settings(interface: &Interface, queue: u32) -> LaneSettings {
    LaneSettings {
        queue,
        ring_entries: interface.ring_entries,
        chunks: interface.ring_entries,
        huge_pages: interface.hugepages,
        copy: match interface.zero_copy {
            ZeroCopyWish::Auto | ZeroCopyWish::Require => CopyMode::ZeroCopyElseCopy,
            ZeroCopyWish::Never => CopyMode::Copy,
        },
        drive: match interface.drive {
            ConfigDrive::Interrupt => DriveMode::Interrupt,
            ConfigDrive::BusyPoll => DriveMode::BusyPoll,
            ConfigDrive::NapiThread => DriveMode::NapiThread,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_may_part_are_remarked_upon() {
        let text = "[[interface]]\nname = 'x'\n[[interface]]\nname = 'y'\n\
                    [[feed]]\nname = 'apart'\nprotocol = 'cme-mdp3'\nlines = [\
                    { name = 'A', destination = '224.0.31.1:1', interface = 'x' }, \
                    { name = 'B', destination = '224.0.32.1:1', interface = 'y' }]\n\
                    [[feed]]\nname = 'together'\nprotocol = 'cme-mdp3'\nlines = [\
                    { name = 'A', destination = '224.0.31.2:1', interface = 'x' }, \
                    { name = 'B', destination = '224.0.32.2:1', interface = 'x' }]\n\
                    [[feed]]\nname = 'alone'\nprotocol = 'cme-mdp3'\n\
                    lines = [{ name = 'A', destination = '224.0.31.3:1' }]\n";
        let settings = Settings::from_text(text, "test").unwrap_or_else(|error| panic!("{error}"));
        let lane = |interface: usize, name: &str, shard| PlannedLane {
            interface,
            name: name.to_owned(),
            queue: 0,
            shard,
        };
        let remarks = lines_apart(&settings, &[lane(0, "x", 0), lane(1, "y", 1)]);
        assert_eq!(remarks.len(), 1);
        assert!(remarks[0].starts_with("feed apart:") && remarks[0].contains("threads.shards = 1"));
        assert!(lines_apart(&settings, &[lane(0, "x", 1), lane(1, "y", 1)]).is_empty());
        let two_queues = lines_apart(&settings, &[lane(0, "x", 0), lane(0, "x", 1), lane(1, "y", 0)]);
        assert_eq!(two_queues.len(), 2, "{two_queues:#?}");
    }
}
