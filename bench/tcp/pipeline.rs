//! The pipeline under every reader: Sluice's shard with its intake, pool and queues, and three processors.
//!
//! Invariant: the reader, and how its thread waits, is all that differs from run to run.

use crate::calls::{self, CallCounter};
use crate::client::{self, Load, Sent};
use crate::processor::{Probe, Seen};
use crate::readers::{Reader, Waiting};
use clap::ValueEnum;
use sluice::agents::{
    InletPlaces, OutletParts, Partition, PartitionParts, ProcessorAgent, ProcessorReport, Shard, ShardView,
    processor_agent, shard_name,
};
use sluice::appliance::intake_settings;
use sluice::config::{Settings, UringMode};
use sluice::event::{Class, CloseReason, ShardId};
use sluice::feed::{ConnectionSettings, Producers};
use sluice::ledger::{Knobs, LatencyRecorder, Percentiles};
use sluice::limits::STREAMS_MAX;
use sluice::os::{self, Clock};
use sluice::pool::{Bill, Demand, Pool};
use sluice::process::Router;
use sluice::queue::{QueueConsumer, QueueProducer, queue};
use sluice::runtime::{
    Agent, Drive, IdleStrategy, RunningThread, ThreadPlan, Threading, ThreadingPlan, ThreadingWish,
    plan_threads, spawn_all,
};
use sluice::sink::dead_letters::LetterPort;
use sluice::source::StreamSource;
use sluice::source::capture::CaptureSource;
use sluice::source::net::{InletKind, InletSpec, NetPort, NetSettings};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long nothing may be processed before events are taken for lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// The sources of the shard: it has none but its port.
type Lane = CaptureSource;

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    /// Sluice's port, its thread spinning.
    Sluice,
    /// Sluice's port, its thread backing off, as the appliance does unasked on two CPUs.
    SluiceBackoff,
    /// Sluice's port with the kernel's polling thread, its own thread spinning.
    SluiceSqpoll,
    /// epoll with a timeout of 0, its thread spinning.
    EpollSpin,
    /// epoll that sleeps up to a millisecond.
    EpollWait,
    /// Reads that block, or `poll` and reads.
    Blocking,
}

impl Contender {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::Sluice => "sluice",
            Contender::SluiceBackoff => "sluice, backing off",
            Contender::SluiceSqpoll => "sluice, sqpoll",
            Contender::EpollSpin => "epoll, spinning",
            Contender::EpollWait => "epoll, waiting",
            Contender::Blocking => "blocking reads",
        }
    }

    fn idle(self) -> IdleStrategy {
        match self {
            Contender::Sluice | Contender::SluiceSqpoll | Contender::EpollSpin => IdleStrategy::BusySpin,
            // Those that wait in the kernel seldom come to it.
            Contender::SluiceBackoff | Contender::EpollWait | Contender::Blocking => IdleStrategy::Backoff,
        }
    }
}

/// How agents are laid on CPUs, both as the appliance plans on two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Layout {
    /// The shard has a CPU, the processors share the client's (as for a replay).
    Apart,
    /// All agents take turns on one thread, and the client has a CPU (as for a live run).
    Together,
}

/// What a run is tuned by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    /// Who has which CPU.
    pub(crate) layout: Layout,
    /// Bytes that the readers to compare with read at a time.
    pub(crate) read_bytes: usize,
    /// Receive buffers of Sluice's port, and bytes of each; `None` for the defaults.
    pub(crate) buffers: Option<usize>,
    pub(crate) buffer_bytes: Option<usize>,
}

/// What a run gave.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Events that were sent and processed.
    pub(crate) events: u64,
    /// From the first write to the last event's processing.
    pub(crate) seconds: f64,
    /// CPU time of the shard's thread.
    pub(crate) cpu_ns: Option<u64>,
    /// System calls of the shard's thread, if they were to be counted by the kernel.
    pub(crate) calls: Option<u64>,
    /// System calls as the reader counts its own.
    pub(crate) own_calls: u64,
    /// From the intended time of sending to the processor, of paced runs.
    pub(crate) age: Percentiles,
    /// How late the client was, of paced runs.
    pub(crate) lateness: Percentiles,
}

impl Run {
    /// Events per second.
    pub(crate) fn rate(&self) -> f64 {
        self.events as f64 / self.seconds
    }
}

/// Agents that are wired and not yet started.
struct Parts {
    shard: Shard<Lane>,
    processors: Vec<ProcessorAgent<Probe>>,
    seen: Vec<Arc<Seen>>,
    address: SocketAddr,
}

/// Runs the load through a new pipeline; `tracepoint` has the kernel count the shard's system calls.
pub(crate) fn run(
    contender: Contender,
    load: Load,
    tuning: Tuning,
    tracepoint: Option<u64>,
) -> Result<Run, String> {
    let clock = Clock::new();
    let parts = wire(contender, load, tuning, clock)?;
    let (seen, address) = (parts.seen.clone(), parts.address);
    let (plan, client_cpu) = plan(tuning.layout)?;
    let stop = Arc::new(AtomicBool::new(false));
    let threads = start(parts, &plan, contender.idle(), clock, &stop)?;
    let shard_thread = plan.threads.first().map_or("", |thread| thread.name.as_str());
    let mut counter = Ok(None);
    let mut cpu_ns_before = None;
    let sent = client::send(address, load, client_cpu, || {
        cpu_ns_before = calls::cpu_ns(shard_thread);
        counter = tracepoint.map(|number| CallCounter::of_thread(number, shard_thread)).transpose();
    });
    let processed = sent.as_ref().map_or(Ok(()), |sent| wait_for(&seen, sent.events));
    let cpu_ns = calls::cpu_ns(shard_thread).zip(cpu_ns_before).map(|(after, before)| after - before);
    let calls = counter?.as_mut().map(CallCounter::count).transpose().map_err(|error| error.to_string())?;
    // Pairs with the load in the duty loop, which needs no more than to see it some time.
    stop.store(true, Ordering::Relaxed);
    let home = come_home(threads)?;
    let sent = sent.map_err(|error| format!("the client: {error}"))?;
    processed?;
    let (age, own_calls) = home.check(&sent)?;
    let last_ns = seen.iter().map(|seen| seen.last_ns()).max().unwrap_or_default();
    Ok(Run {
        events: sent.events,
        seconds: last_ns.saturating_sub(sent.begin_ns) as f64 / 1e9,
        cpu_ns,
        calls,
        own_calls,
        age,
        lateness: sent.lateness.percentiles(),
    })
}

/// The appliance's own plan for two CPUs, and the client's CPU.
fn plan(layout: Layout) -> Result<(ThreadingPlan, usize), String> {
    let allowed = os::allowed_cpus().map_err(|error| error.to_string())?;
    let processors: Vec<&str> = Class::ALL.iter().map(|class| class.name()).collect();
    let plan = plan_threads(&ThreadingWish {
        allowed_cpus: &allowed,
        shards: &[&shard_name(ShardId(0))],
        processors: &processors,
        threading: Threading::Shared,
        drive: match layout {
            Layout::Apart => Drive::Inline,
            Layout::Together => Drive::Live,
        },
    });
    let used: Vec<usize> = plan.threads.iter().filter_map(|thread| thread.cpu).collect();
    let client_cpu = match (layout, used.as_slice()) {
        (Layout::Apart, [_, processors]) => Some(*processors),
        (Layout::Together, [agents]) => allowed.into_iter().find(|cpu| cpu != agents),
        _ => None,
    };
    client_cpu.map(|cpu| (plan, cpu)).ok_or_else(|| "this bench needs two CPUs".to_owned())
}

fn settings(load: Load) -> Settings {
    let text = format!(
        "[[listen]]\nname = 'bench'\nsource = 'tcp'\naddress = '127.0.0.1:0'\nprotocol = 'native'\n\
         connections_max = {}\n",
        load.connections
    );
    Settings::from_text(&text, "the bench").expect("is right")
}

fn port(
    contender: Contender,
    load: Load,
    tuning: Tuning,
    settings: &mut Settings,
) -> Result<Box<dyn StreamSource>, String> {
    let waiting = match contender {
        Contender::EpollSpin => Some(Waiting::EpollSpin),
        Contender::EpollWait => Some(Waiting::EpollWait),
        Contender::Blocking => Some(Waiting::Block),
        Contender::Sluice | Contender::SluiceBackoff | Contender::SluiceSqpoll => None,
    };
    if let Some(waiting) = waiting {
        let reader = Reader::listen(waiting, load.connections, tuning.read_bytes);
        return Ok(Box::new(reader.map_err(|error| format!("{}: {error}", contender.name()))?));
    }
    let network = &mut settings.network;
    if contender == Contender::SluiceSqpoll {
        network.mode = UringMode::Sqpoll;
    }
    network.buffers = tuning.buffers.unwrap_or(network.buffers);
    network.buffer_bytes = tuning.buffer_bytes.unwrap_or(network.buffer_bytes);
    let inlets = settings
        .listeners
        .iter()
        .cloned()
        .map(|listener| InletSpec { kind: InletKind::Listener(listener.into()) });
    let opened =
        NetPort::open(NetSettings { inlets: inlets.collect(), network: network.clone(), node: None });
    opened.map(|(port, _)| Box::new(port) as Box<dyn StreamSource>).map_err(|error| error.to_string())
}

/// The connections as the appliance has them for a listener of native frames.
fn connections(settings: &Settings) -> ConnectionSettings {
    let connections_max = settings.listeners.iter().map(|listener| listener.connections_max).sum();
    ConnectionSettings { inlets: settings.listeners.iter().map(Into::into).collect(), connections_max }
}

/// Makes pool, queues, shard and processors as the appliance does, with the bench's processor.
fn wire(contender: Contender, load: Load, tuning: Tuning, clock: Clock) -> Result<Parts, String> {
    let mut settings = settings(load);
    let port = port(contender, load, tuning, &mut settings)?;
    let address = port.addresses().first().copied().flatten().ok_or("the reader has no address")?;
    let bill = Bill::for_queues(&Demand {
        queue_capacity: settings.queue_capacities.map(|places| places as u32),
        burst_frames: settings.threads.burst as u32,
        packet_bytes: 1_500,
        processors: Class::ALL.len() as u32,
        batch: 256,
        retained: 0,
        loopback: 0,
    });
    let (mut pool, _) = Pool::create(&bill.plan(), ShardId(0), &Pool::memory_wish(None))
        .map_err(|error| error.to_string())?;
    let mut producers: Vec<Vec<QueueProducer>> = Vec::new();
    let mut views = Vec::new();
    let mut seen = Vec::new();
    for class in Class::ALL {
        let (pushing, consumer): (Vec<QueueProducer>, QueueConsumer) =
            queue(class, settings.queue_capacities[class as usize], 1);
        producers.push(pushing);
        let processor = Probe::new(load.rate.is_some(), STREAMS_MAX);
        seen.push(processor.seen());
        views.push((class, processor, consumer, pool.reader(), pool.attach()));
    }
    let knobs = Knobs::default();
    let outlet = OutletParts {
        pool,
        router: Router::default(),
        producers: producers.try_into().map_err(|_| "there are three classes")?,
        held_max: 0,
        clock,
        overflows: Vec::new(),
        inlet_overflows: Vec::new(),
        knobs: knobs.clone(),
        pause_when_killed: false,
        letters: LetterPort::closed(),
    };
    let producers = Producers::allocate(settings.network.producers_max, &[], None);
    let shard =
        Shard::new(ShardId(0), Vec::new(), &intake_settings(&settings), outlet, settings.threads.burst)
            .with_port(port, connections(&settings), producers);
    let agent = |(class, processor, consumer, reader, port): (Class, Probe, QueueConsumer, _, _)| {
        let inlets = InletPlaces::default();
        let shards = vec![ShardView { reader, port, feeds: shard.stream_feeds(), inlets }];
        let parts = PartitionParts {
            class,
            index: 0,
            processor,
            consumer,
            shards,
            watches_latency: false,
            letters: LetterPort::closed(),
        };
        processor_agent(class.name().to_owned(), vec![Box::new(Partition::new(parts))], knobs.clone(), clock)
    };
    let processors = views.into_iter().map(agent).collect();
    Ok(Parts { shard, processors, seen, address })
}

fn start(
    parts: Parts,
    plan: &ThreadingPlan,
    shard_idle: IdleStrategy,
    clock: Clock,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<RunningThread>, String> {
    let shard = Box::new(parts.shard) as Box<dyn Agent>;
    let processors = parts.processors.into_iter().map(|agent| Box::new(agent) as Box<dyn Agent>);
    let mut agents: Vec<Box<dyn Agent>> = std::iter::once(shard).chain(processors).collect();
    let crew = plan.threads.iter().enumerate().map(|(index, thread)| {
        let (here, elsewhere) = std::mem::take(&mut agents)
            .into_iter()
            .partition(|agent| thread.agents.iter().any(|name| name == agent.name()));
        agents = elsewhere;
        let thread_plan = ThreadPlan {
            name: thread.name.clone(),
            cpu: thread.cpu,
            fifo_priority: None,
            // The thread of the processors shares the client's CPU, and is the same under every reader.
            idle: if index == 0 { shard_idle } else { IdleStrategy::Backoff },
            drain: Duration::from_secs(10),
        };
        (thread_plan, here)
    });
    spawn_all(crew.collect(), clock, stop).map_err(|error| error.to_string())
}

/// Waits until so many events are processed.
fn wait_for(seen: &[Arc<Seen>], events: u64) -> Result<(), String> {
    let (mut before, mut since) = (0, Instant::now());
    loop {
        let now = seen.iter().map(|seen| seen.events()).sum();
        if now >= events {
            return Ok(());
        }
        if now > before {
            (before, since) = (now, Instant::now());
        } else if since.elapsed() > PATIENCE {
            return Err(format!("{now} of {events} events were processed"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The agents' books.
struct Home {
    shard: Shard<Lane>,
    processors: Vec<ProcessorReport<Probe>>,
}

fn come_home(threads: Vec<RunningThread>) -> Result<Home, String> {
    let mut shards = Vec::new();
    let mut processors = Vec::new();
    for thread in threads {
        let (report, agents) = thread.join();
        if let Some(message) = report.panicked {
            return Err(format!("{}: {message}", report.name));
        }
        if !report.unfinished.is_empty() {
            return Err(format!("{}: did not finish: {:?}", report.name, report.unfinished));
        }
        for agent in agents {
            match agent.into_any().downcast::<Shard<Lane>>() {
                Ok(shard) => shards.push(*shard),
                Err(other) => processors
                    .extend(other.downcast::<ProcessorAgent<Probe>>().ok().map(|agent| agent.into_report())),
            }
        }
    }
    let shard = shards.pop().ok_or("the shard did not come home")?;
    Ok(Home { shard, processors })
}

impl Home {
    /// Checks that all that was sent was delivered and that every book balances. Returns the events' ages, and the
    /// reader's count of its system calls.
    fn check(self, sent: &Sent) -> Result<(Percentiles, u64), String> {
        let mut ages = LatencyRecorder::default();
        let report = self.shard.into_report();
        let mut ledger = report.ledger;
        for processor in self.processors.into_iter().flat_map(|agent| agent.partitions) {
            ledger.events.absorb(&processor.events);
            ledger.queues[processor.class as usize].absorb(&processor.queue);
            ages.absorb(&processor.processor.into_ages());
        }
        let imbalances = ledger.imbalances();
        if !imbalances.is_empty() {
            return Err(format!("the ledger does not balance: {imbalances:?}"));
        }
        if ledger.events.delivered != sent.events {
            return Err(format!("{} events were sent, {} delivered", sent.events, ledger.events.delivered));
        }
        let book = ledger.connections.unwrap_or_default();
        if book.closed[CloseReason::PeerClosed as usize] != book.opened {
            return Err(format!("connections ended otherwise than by their peer: {book:?}"));
        }
        Ok((ages.percentiles(), report.port_system_calls))
    }
}
