//! The realtime path: from a frame's receipt by the shard to the alert of one of its events, with 100 rules, at a fixed rate.
//!
//! Invariant: every event that came in was evaluated, or is counted as shed.

use crate::captures;
use crate::common::{Effort, middle};
use crate::pace::{Bare, Load, Paced, bare_ring};
use crate::rules::{self, Mix};
use crate::tables::Book;
use crate::{Wish, events::Events};
use sluice::agents::{
    AlertPort, AlertReader, InletPlaces, OutletParts, Partition, PartitionParts, Processor, ProcessorAgent,
    Shard, ShardView, alert_way, processor_agent,
};
use sluice::event::{Class, EventHeader, Nanos, Overflow, Protocol, ShardId};
use sluice::feed::IntakeSettings;
use sluice::ledger::{Knobs, LatencyRecorder, Percentiles};
use sluice::os::{self, Clock, allocations_of_this_thread};
use sluice::pool::{Pool, PoolPlan};
use sluice::process::rules::Engine;
use sluice::process::{ClassTable, Fate, Router, Subject};
use sluice::queue::queue;
use sluice::replay::synthetic::{iex_session, write_pcap};
use sluice::runtime::{Agent, IdleStrategy, ThreadPlan, spawn_all};
use sluice::sink::dead_letters::LetterPort;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Rules, as the aim has them; and the aim.
const RULES: usize = 100;
const AIM_P99_NS: f64 = 2_000.0;
const AIM_RATE: u64 = 1_000_000;
/// Frames that the shard takes in one turn, and places of the queue: the appliance's defaults.
const BURST: usize = 64;
const PLACES: usize = 16_384;
/// Of a run, what is not measured: caches fill, and threads find their CPUs.
const WARM_UP_NS: Nanos = 100_000_000;
/// From wiring to the first frame.
const START_NS: Nanos = 120_000_000;
/// A rate is not sustained where half of all alerts come later than this: a queue stands.
const STANDING_NS: f64 = 20_000.0;

/// The rules on each event, and how long it took to the alert.
struct Alarm {
    engine: Engine,
    port: AlertPort,
    reader: AlertReader,
    clock: Clock,
    from_ns: Nanos,
    receive_to_alert: LatencyRecorder,
    due_to_alert: LatencyRecorder,
    events: u64,
    allocations: Option<u64>,
    allocated: u64,
}

impl Processor for Alarm {
    #[inline]
    fn process(&mut self, subject: &Subject<'_>, now: Nanos) -> Fate {
        let header: &EventHeader = subject.header;
        self.events += 1;
        let Alarm { engine, port, clock, receive_to_alert, due_to_alert, .. } = self;
        let is_measured = header.receive_ns >= self.from_ns;
        engine.evaluate(subject, now, &mut |alert| {
            port.tell(alert);
            if is_measured {
                let told_ns = clock.now();
                receive_to_alert.record(told_ns.saturating_sub(header.receive_ns));
                due_to_alert.record(told_ns.saturating_sub(header.wire_ns));
            }
        });
        Fate::Delivered
    }

    fn housekeeping(&mut self, _now: Nanos) {
        self.clock.recalibrate();
        // Here in place of the control thread, which would want a CPU of its own.
        while self.reader.pop().is_some() {}
        let allocations = allocations_of_this_thread();
        self.allocated = allocations - *self.allocations.get_or_insert(allocations);
    }
}

/// Who runs where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Shard and processor have a CPU each.
    Apart,
    /// They take turns on one.
    Together,
}

/// What a run gave.
struct Outcome {
    receive_to_alert: Percentiles,
    due_to_alert: Percentiles,
    alerts_per_event: f64,
    shed: u64,
}

fn router() -> Router {
    let mut classes = ClassTable::default();
    for kind in 0..256 {
        classes.override_kind(Protocol::IexTp, kind, Class::Realtime).expect("narrow types have places");
    }
    Router::new(classes)
}

/// Shard and processor, wired as the appliance wires them.
fn wire(
    source: Paced,
    engine: Engine,
    clock: Clock,
    from_ns: Nanos,
) -> (Shard<Paced>, ProcessorAgent<Alarm>) {
    let knobs = Knobs::default();
    let slots = 2 * PLACES as u32;
    let plan = PoolPlan { slots: [slots, slots / 8, 256, 16] };
    let (mut pool, _) = Pool::create(&plan, ShardId(0), &Pool::memory_wish(None)).expect("memory for a pool");
    let (reader, port) = (pool.reader(), pool.attach());
    let (realtime, consumer) = queue(Class::Realtime, PLACES, 1);
    // All events are realtime ones; the other queues have nobody behind them.
    let (others, _) = queue(Class::Transactional, 1, 2);
    let mut others = others.into_iter().map(|producer| vec![producer]);
    let producers = [Some(realtime), others.next(), others.next()].map(Option::unwrap_or_default);
    let outlet = OutletParts {
        pool,
        router: router(),
        producers,
        held_max: 0,
        clock,
        overflows: vec![[Overflow::DropNewest; 3]],
        inlet_overflows: Vec::new(),
        knobs: knobs.clone(),
        pause_when_killed: false,
        letters: LetterPort::closed(),
    };
    let settings = IntakeSettings { protocol: Some(Protocol::IexTp), ..IntakeSettings::default() };
    let shard = Shard::new(ShardId(0), vec![source], &settings, outlet, BURST);
    let (alert_port, alert_reader) = alert_way(knobs.clone());
    let processor = Alarm {
        engine,
        port: alert_port,
        reader: alert_reader,
        clock,
        from_ns,
        receive_to_alert: LatencyRecorder::default(),
        due_to_alert: LatencyRecorder::default(),
        events: 0,
        allocations: None,
        allocated: 0,
    };
    let shards =
        vec![ShardView { reader, port, feeds: shard.stream_feeds(), inlets: InletPlaces::default() }];
    let parts = PartitionParts {
        class: Class::Realtime,
        index: 0,
        processor,
        consumer,
        shards,
        watches_latency: false,
        letters: LetterPort::closed(),
    };
    let agent = processor_agent("realtime".to_owned(), vec![Box::new(Partition::new(parts))], knobs, clock);
    (shard, agent)
}

/// Runs one load through a new shard and processor.
fn run(
    load: &Arc<Load>,
    text: &str,
    layout: Layout,
    rate: u64,
    wish: &Wish,
    cpus: [usize; 2],
) -> Result<Outcome, String> {
    let clock = Clock::new();
    let interval_ns = 1_000_000_000 / rate;
    let engine = rules::engine(text);
    let begin_ns = clock.now() + START_NS;
    let source = Paced::new(Arc::clone(load), interval_ns, (wish.seconds * rate as f64) as u64, begin_ns);
    let (shard, processor) = wire(source, engine, clock, begin_ns + WARM_UP_NS);
    let plan = |name: &str, cpu| ThreadPlan {
        name: name.to_owned(),
        cpu: Some(cpu),
        fifo_priority: wish.fifo,
        idle: IdleStrategy::BusySpin,
        drain: Duration::from_secs(5),
    };
    let (shard, processor): (Box<dyn Agent>, Box<dyn Agent>) = (Box::new(shard), Box::new(processor));
    let crew = match layout {
        Layout::Apart => {
            vec![(plan("shard", cpus[0]), vec![shard]), (plan("realtime", cpus[1]), vec![processor])]
        }
        Layout::Together => vec![(plan("both", cpus[0]), vec![shard, processor])],
    };
    let stop = Arc::new(AtomicBool::new(false));
    let threads = spawn_all(crew, clock, &stop).map_err(|error| error.to_string())?;
    let (mut shards, mut processors) = (Vec::new(), Vec::new());
    for thread in threads {
        let (report, agents) = thread.join();
        if let Some(message) = report.panicked {
            return Err(format!("{}: {message}", report.name));
        }
        for agent in agents {
            match agent.into_any().downcast::<Shard<Paced>>() {
                Ok(shard) => shards.push(*shard),
                Err(other) => processors.extend(other.downcast::<ProcessorAgent<Alarm>>().ok()),
            }
        }
    }
    let (Some(shard), Some(processor)) = (shards.pop(), processors.pop()) else {
        return Err("an agent did not come home".to_owned());
    };
    outcome(shard, *processor)
}

fn outcome(shard: Shard<Paced>, processor: ProcessorAgent<Alarm>) -> Result<Outcome, String> {
    let report = shard.into_report();
    let mut ledger = report.ledger;
    let mut found = None;
    for partition in processor.into_report().partitions {
        ledger.events.absorb(&partition.events);
        ledger.queues[Class::Realtime as usize].absorb(&partition.queue);
        found = Some(partition.processor);
    }
    let alarm = found.ok_or("the partition did not come home")?;
    let imbalances = ledger.imbalances();
    if !imbalances.is_empty() {
        return Err(format!("the ledger does not balance: {imbalances:?}"));
    }
    if alarm.allocated > 0 {
        return Err(format!("the processor allocated {} times", alarm.allocated));
    }
    let receive_to_alert = alarm.receive_to_alert.percentiles();
    Ok(Outcome {
        alerts_per_event: receive_to_alert.count as f64 / alarm.events.max(1) as f64,
        receive_to_alert,
        due_to_alert: alarm.due_to_alert.percentiles(),
        shed: ledger.events.shed.iter().sum(),
    })
}

/// The capture's frames as they are and with one event each, and rules for its instruments.
fn loads() -> ([Arc<Load>; 2], String) {
    let (_, mut events) = Events::iex(0);
    // The last one gives an alert for about one event in a hundred, so that there is something to be measured.
    let text = rules::rules(RULES - 1, Mix::Usual, "iex-tp", &events.instruments())
        + "[[rule]]\nid = 'large'\nmatch = { protocol = 'iex-tp', types = ['T'] }\n\
           predicates = [{ field = 'size', op = '>=', value = 300 }]\n";
    let of = |path: &Path| [Load::of_iex(path), Load::of_iex_one_by_one(path)];
    let loads = match captures::real("iex-tops16.pcap.gz") {
        Some(path) => of(&path),
        None => {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().join("iex.pcap");
            write_pcap(&path, &iex_session(1, 50_000).packets).expect("the folder is writable");
            of(&path)
        }
    };
    (loads, text)
}

/// Medians over rounds of p50, p99 and p99.9.
fn medians(percentiles: &[Percentiles]) -> [f64; 3] {
    let over = |of: fn(&Percentiles) -> u64| middle(percentiles.iter().map(|one| of(one) as f64).collect());
    [over(|one| one.p50), over(|one| one.p99), over(|one| one.p999)]
}

/// All rates in both layouts and the bare ring, in interleaved rounds.
pub(crate) fn compare(effort: Effort, book: &mut Book, wish: &Wish) -> Result<(), String> {
    let cpus = match os::allowed_cpus().map_err(|error| error.to_string())?.as_slice() {
        [first, second, ..] => [*first, *second],
        _ => {
            println!("\nrealtime: skipped: it needs two CPUs");
            return Ok(());
        }
    };
    let (loads, text) = loads();
    let rates = if effort.short { &wish.rates[..wish.rates.len().min(1)] } else { &wish.rates[..] };
    let each = |load: &Arc<Load>| rates.iter().map(|rate| Measured::new(load, *rate)).collect::<Vec<_>>();
    let mut measured: Vec<Vec<Measured>> = loads.iter().map(each).collect();
    for _ in 0..effort.rounds.min(ROUNDS_MAX) {
        for measured in measured.iter_mut().flatten() {
            measured.round(&text, wish, cpus)?;
        }
    }
    for (load, measured) in loads.iter().zip(&measured) {
        println!(
            "\nrealtime: receive to alert, {RULES} rules, real events, {:.1} in a frame, at a fixed rate, all realtime, {} s",
            load.events_per_frame(),
            wish.seconds
        );
        println!(
            "{:<42} {:>9} {:>9} {:>9} {:>10} {:>10} {:>8} {:>8}",
            "ns, medians over rounds", "p50", "p99", "p99.9", "due p50", "due p99", "shed", "alerts"
        );
        measured.iter().for_each(|measured| measured.tell(book, cpus));
    }
    Ok(())
}

/// A round takes some 3 s for each rate.
const ROUNDS_MAX: usize = 9;

/// The runs at one rate.
struct Measured {
    load: Arc<Load>,
    rate: u64,
    apart: Vec<Outcome>,
    together: Vec<Outcome>,
    bare: Vec<Bare>,
}

impl Measured {
    fn new(load: &Arc<Load>, rate: u64) -> Measured {
        Measured { load: Arc::clone(load), rate, apart: Vec::new(), together: Vec::new(), bare: Vec::new() }
    }

    fn round(&mut self, text: &str, wish: &Wish, cpus: [usize; 2]) -> Result<(), String> {
        self.apart.push(run(&self.load, text, Layout::Apart, self.rate, wish, cpus)?);
        self.together.push(run(&self.load, text, Layout::Together, self.rate, wish, cpus)?);
        let count = (wish.seconds * self.rate as f64) as u64;
        self.bare.push(bare_ring(cpus, wish.fifo, 1_000_000_000 / self.rate, count, Clock::new()));
        Ok(())
    }

    fn title(&self) -> String {
        format!("realtime, {:.1} events in a frame", self.load.events_per_frame())
    }

    fn tell(&self, book: &mut Book, cpus: [usize; 2]) {
        let rate = self.rate;
        for (name, runs) in [("a CPU each", &self.apart), ("in turn on one CPU", &self.together)] {
            tell_runs(
                book,
                &self.title(),
                &format!("{rate} events/s, shard and processor {name}"),
                runs,
                rate,
            );
        }
        let transits: Vec<Percentiles> = self.bare.iter().map(|bare| bare.transit).collect();
        let [p50, p99, p999] = medians(&transits);
        let name = format!("{rate} numbers/s over a bare rtrb ring");
        println!("{name:<42} {p50:>9.0} {p99:>9.0} {p999:>9.0}");
        book.note(&self.title(), &name, None, [p50, p99, p999], [None; 2]);
        for (index, cpu) in cpus.iter().enumerate() {
            let away = middle(self.bare.iter().map(|bare| bare.away[index] * 100.0).collect());
            println!(
                "  CPU {cpu} was not its spinning thread's for {away:.2} % of that time (2 µs or more in a row)"
            );
        }
    }
}

fn tell_runs(book: &mut Book, title: &str, name: &str, runs: &[Outcome], rate: u64) {
    let of = |pick: fn(&Outcome) -> Percentiles| medians(&runs.iter().map(pick).collect::<Vec<_>>());
    let [p50, p99, p999] = of(|run| run.receive_to_alert);
    let [due_p50, due_p99, _] = of(|run| run.due_to_alert);
    let shed: u64 = runs.iter().map(|run| run.shed).sum();
    let alerts = middle(runs.iter().map(|run| run.alerts_per_event * 100.0).collect());
    println!(
        "{name:<42} {p50:>9.0} {p99:>9.0} {p999:>9.0} {due_p50:>10.0} {due_p99:>10.0} {shed:>8} {alerts:>5.1} %"
    );
    book.note(title, name, None, [p50, p99, p999], [Some(rate as f64 / 1e6), None]);
    let sustained = if shed == 0 && due_p50 < STANDING_NS { "sustained" } else { "not sustained" };
    let aim = match (rate >= AIM_RATE, p99 <= AIM_P99_NS) {
        (true, true) => "; the aim, 2 µs at p99, is met",
        (true, false) => "; the aim, 2 µs at p99, is missed",
        (false, true) => "; within 2 µs at p99",
        (false, false) => "; beyond 2 µs at p99",
    };
    let best = runs.iter().map(|run| run.receive_to_alert.p99).min().unwrap_or(0);
    println!("  {sustained}{aim}; its best round had {best} ns");
}
