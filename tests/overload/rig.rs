//! An appliance that runs on the test's thread, turn by turn, and is not given enough turns.
//!
//! Invariant: a run ends with closed books, or fails; every check that holds for any run is made here, for each.

use crate::script::{Log, Scripted, SharedLog, Shown, Trouble, hush};
use crate::storm::{Dice, Storm, Tap, frames};
use sluice::agents::{ProcessorAgent, Shard, ShardReport};
use sluice::appliance::{assemble_with, intake_settings};
use sluice::config::Settings;
use sluice::event::{Class, DeadReason, MessageReject, Nanos, Overflow, ShedReason};
use sluice::ledger::{Boards, Knobs, Ledger, Level};
use sluice::os::Clock;
use sluice::runtime::Agent;
use sluice::sink::dead_letters::{LetterReader, Reason};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

/// Frames that the source brings in a turn, on average.
const FRAMES_PER_TURN: u64 = 24;

/// Turns without a single event moving after which a run hangs.
const IDLE_TURNS_MAX: u64 = 100_000;

/// Made-up time of one turn.
pub(crate) const TURN_NS: Nanos = 1_000_000;

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// What happens to events whose queue is full, by class.
    pub(crate) policies: [Overflow; 3],
    /// Whether the source can wait.
    pub(crate) waits: bool,
    pub(crate) places: [usize; 3],
    /// Slots by size; `None` for as many as the appliance thinks right.
    pub(crate) slots: Option<[u32; 4]>,
    pub(crate) workers: usize,
    pub(crate) helpers: bool,
    /// How many times as much comes as processors take; 0 for processors that are not throttled.
    pub(crate) load: u64,
    pub(crate) trouble: Trouble,
    pub(crate) loops: usize,
    /// Dead letters that an agent may write a second.
    pub(crate) letters_per_second: u32,
    /// Further tables of the configuration.
    pub(crate) tables: String,
}

impl Plan {
    /// A run without anything that could go wrong: room for all, nobody throttled.
    pub(crate) fn roomy() -> Plan {
        Plan {
            seed: 1,
            policies: [Overflow::Block; 3],
            waits: true,
            places: [65_536; 3],
            slots: None,
            workers: 1,
            helpers: false,
            load: 0,
            trouble: Trouble::default(),
            loops: 1,
            letters_per_second: 1_000_000,
            tables: String::new(),
        }
    }

    fn settings(&self) -> Settings {
        let mut text = String::from("[steering]\nadmit_unknown = true\n[queues]\n");
        for class in Class::ALL {
            let _ = writeln!(text, "{}_capacity = {}", class.name(), self.places[class as usize]);
        }
        text += "[queues.overflow]\n";
        for class in Class::ALL {
            let _ = writeln!(text, "{} = \"{}\"", class.name(), self.policies[class as usize].name());
        }
        let Plan { workers, helpers, letters_per_second, .. } = self;
        let _ =
            writeln!(text, "[workers]\ntransactional = {workers}\nbatch = {workers}\nhelpers = {helpers}");
        // Three times as many parts as there are workers, so that there is something to lend.
        let _ = writeln!(text, "partitions = {}", if *helpers { 3 } else { 1 });
        let _ = writeln!(
            text,
            "[dead_letters]\nper_second = {letters_per_second}\nburst = {letters_per_second}\npayload_bytes_max = 0"
        );
        text += "[pool]\nhugepages = \"never\"\n";
        for (slots, name) in self.slots.iter().flatten().zip(["64", "192", "1984", "65536"]) {
            let _ = writeln!(text, "slots_{name} = {slots}");
        }
        // The smallest one: what it remembers is not looked at here.
        text += "[transactional]\nparked_max = 8\n";
        text += &self.tables;
        Settings::from_text(&text, "the test").unwrap_or_else(|error| panic!("{error}\n{text}"))
    }
}

/// How many events of each class a run of so many loops gives, and in which order, when there is room for all.
pub(crate) struct Reference {
    pub(crate) shown: Vec<Shown>,
    pub(crate) by_class: [u64; 3],
    pub(crate) turns: u64,
}

/// What a run gave.
pub(crate) struct Ran {
    pub(crate) ledger: Ledger,
    pub(crate) log: Log,
    /// Letters that came out, by reason and class.
    pub(crate) letters: HashMap<(Reason, Class), u64>,
    /// Letters that were counted only.
    pub(crate) letters_not_written: u64,
    pub(crate) lent: u64,
    pub(crate) turns: u64,
}

/// An agent with what it may still take.
struct Throttled {
    agent: ProcessorAgent<Scripted>,
    class: Class,
    /// Events that it may take, in thousandths.
    credit: i64,
    /// Turns that it stands still for.
    stalled: u64,
    is_closed: bool,
}

/// A run under way.
pub(crate) struct Rig {
    pub(crate) plan: Plan,
    pub(crate) dice: Dice,
    shard: Option<Shard<Storm>>,
    report: Option<ShardReport<Storm>>,
    processors: Vec<Throttled>,
    tap: Tap,
    pub(crate) knobs: Knobs,
    pub(crate) boards: Boards,
    letters: Vec<LetterReader>,
    came: HashMap<(Reason, Class), u64>,
    log: SharedLog,
    clock: Clock,
    /// Thousandths of an event that one agent of each class may take in one turn.
    rates: [i64; 3],
    pub(crate) turns: u64,
    moved: u64,
    idle: u64,
    pub(crate) settings: Settings,
}

impl Rig {
    /// Wires it; `reference` tells how much comes. `None` where the captures are not at hand.
    pub(crate) fn start(plan: &Plan, reference: Option<&Reference>) -> Option<Rig> {
        hush();
        let settings = plan.settings();
        let (tap, log, clock) = (Tap::default(), Arc::new(Mutex::new(Log::default())), Clock::new());
        let source = Storm::new(frames()?, plan.loops, plan.waits, tap.clone());
        let mut seed = plan.seed;
        let processor = |_, _, _: &Knobs| {
            seed += 1_000;
            Scripted::new(seed, plan.trouble, Arc::clone(&log))
        };
        let intake = intake_settings(&settings);
        let assembly = assemble_with(&settings, &intake, vec![vec![source]], None, clock, processor);
        let mut assembly = assembly.expect("memory for a pool");
        let boards = Boards {
            shards: assembly.shards.iter().map(Shard::board).collect(),
            processors: assembly.processors.iter().map(ProcessorAgent::board).collect(),
        };
        let throttled = |agent: ProcessorAgent<Scripted>| {
            let class = Class::ALL.into_iter().find(|class| agent.name().starts_with(class.name()));
            Throttled {
                agent,
                class: class.expect("agents are named after classes"),
                credit: 0,
                stalled: 0,
                is_closed: false,
            }
        };
        let processors: Vec<Throttled> = assembly.processors.into_iter().map(throttled).collect();
        let rates = Class::ALL.map(|class| {
            let (Some(reference), true) = (reference, plan.load > 0) else { return i64::MAX / 4 };
            let agents = processors.iter().filter(|agent| agent.class == class).count() as u64;
            let per_turn = 1_000 * reference.by_class[class as usize] / reference.turns;
            (per_turn / plan.load / agents).max(1) as i64
        });
        let mut rig = Rig {
            dice: Dice(plan.seed),
            shard: Some(assembly.shards.remove(0)),
            report: None,
            processors,
            tap,
            knobs: assembly.knobs,
            boards,
            letters: assembly.letters,
            came: HashMap::new(),
            log,
            clock,
            rates,
            turns: 0,
            moved: 0,
            idle: 0,
            settings,
            plan: plan.clone(),
        };
        rig.shard.as_mut()?.on_start(clock.now());
        Some(rig)
    }

    /// The made-up time.
    pub(crate) fn now(&self) -> Nanos {
        (self.turns + 1) * TURN_NS
    }

    /// One turn of everybody whose turn it is; the source brings up to `frames`.
    pub(crate) fn turn(&mut self, frames: u64) {
        self.turns += 1;
        let now = self.clock.now();
        self.tap.open(frames as usize);
        let mut work = 0;
        if let Some(shard) = &mut self.shard {
            work += shard.do_work(now);
            shard.housekeeping(now);
        }
        for throttled in &mut self.processors {
            let rate = self.rates[throttled.class as usize];
            throttled.credit = throttled.credit.saturating_add(rate).min(rate.max(1_000_000));
            if self.plan.load > 0 && self.dice.one_in(200) {
                throttled.stalled = 1 + self.dice.below(40);
            }
            if throttled.is_closed {
                continue;
            }
            if throttled.stalled > 0 {
                throttled.stalled -= 1;
                continue;
            }
            if throttled.credit > 0 {
                let took = throttled.agent.do_work(now);
                throttled.credit -= 1_000 * took as i64;
                work += took;
            }
            throttled.agent.housekeeping(now);
        }
        for reader in &mut self.letters {
            while let Some(letter) = reader.take(0) {
                *self.came.entry((letter.reason, letter.class)).or_default() += 1;
            }
        }
        self.moved += work as u64;
        self.idle = if work == 0 { self.idle + 1 } else { 0 };
        assert!(self.idle < IDLE_TURNS_MAX, "it hangs at turn {}: {:?}", self.turns, self.plan);
    }

    /// Letters that came so far.
    pub(crate) fn letters_of(&self, reason: impl Into<Reason>) -> u64 {
        let reason = reason.into();
        Class::ALL.iter().filter_map(|class| self.came.get(&(reason, *class))).sum()
    }

    /// How many frames the source brings now: bursts, and quiet turns.
    pub(crate) fn burst(&mut self) -> u64 {
        match self.dice.below(4) {
            0 => 0,
            1 => FRAMES_PER_TURN / 2,
            2 => FRAMES_PER_TURN,
            _ => FRAMES_PER_TURN * 5 / 2,
        }
    }

    /// Whether the source is at its end, and nothing waits at the shard.
    pub(crate) fn is_over(&self) -> bool {
        self.shard.as_ref().is_none_or(Agent::finished)
    }

    /// No processor is throttled any more.
    pub(crate) fn let_go(&mut self) {
        self.rates = [i64::MAX / 4; 3];
        self.plan.load = 0;
        for throttled in &mut self.processors {
            (throttled.credit, throttled.stalled) = (0, 0);
        }
    }

    /// Runs to the end of the source as its plan says.
    pub(crate) fn run(mut self) -> Ran {
        while !self.is_over() {
            let frames = self.burst();
            if self.plan.helpers && self.dice.one_in(50) {
                let is_elevated = self.knobs.level() == Level::Elevated;
                self.knobs.set_level(if is_elevated { Level::Healthy } else { Level::Elevated });
            }
            self.turn(frames);
        }
        self.end()
    }

    /// Ends it as threads end their agents, and closes the books.
    pub(crate) fn end(mut self) -> Ran {
        self.let_go();
        self.knobs.set_level(Level::Healthy);
        let now = self.clock.now();
        let mut shard = self.shard.take().expect("it runs");
        shard.on_close(now);
        while !self.processors.iter().all(|throttled| throttled.is_closed) {
            self.turn(0);
            // A helper is at its end when the agent that lends to it is closed.
            for throttled in self.processors.iter_mut().filter(|throttled| !throttled.is_closed) {
                if throttled.agent.finished() {
                    throttled.agent.on_close(now);
                    throttled.is_closed = true;
                }
            }
        }
        let mut lent = 0;
        let mut books = Ledger::default();
        for throttled in std::mem::take(&mut self.processors) {
            let report = throttled.agent.into_report();
            lent += report.lent;
            for partition in report.partitions {
                books.events.absorb(&partition.events);
                books.queues[partition.class as usize].absorb(&partition.queue);
            }
        }
        self.report = Some(shard.into_report());
        self.turn(0);
        let report = self.report.take().expect("it was put there");
        let mut ledger = report.ledger;
        ledger.events.absorb(&books.events);
        ledger.queues.iter_mut().zip(&books.queues).for_each(|(all, part)| all.absorb(part));
        let log = std::mem::take(&mut *self.log.lock().expect("nobody holds it"));
        let letters_not_written = self.check_letters(&ledger);
        let ran = Ran { ledger, log, letters: self.came, letters_not_written, lent, turns: self.turns };
        ran.check(&self.plan);
        ran
    }

    /// Each event that was given up has a letter, or is counted as one that was not written.
    fn check_letters(&self, ledger: &Ledger) -> u64 {
        let mut not_written = 0;
        for reason in Reason::all() {
            let mut counted = [0; 3];
            for counts in self.letters.iter().map(|reader| reader.counts(reason)) {
                counted[0] += counts.written;
                counted[1] += counts.suppressed;
                counted[2] += counts.no_room;
            }
            let given_up = match reason {
                Reason::Dead(reason) => ledger.events.dead_lettered[reason as usize],
                Reason::Shed(reason) => ledger.events.shed[reason as usize],
            };
            assert_eq!(
                counted.iter().sum::<u64>(),
                given_up,
                "{}: {counted:?}; {:?}",
                reason.name(),
                self.plan
            );
            let came: u64 = Class::ALL.iter().filter_map(|class| self.came.get(&(reason, *class))).sum();
            assert_eq!(came, counted[0], "letters of {}; {:?}", reason.name(), self.plan);
            not_written += counted[1] + counted[2];
        }
        not_written
    }
}

impl Ran {
    pub(crate) fn dead(&self, reason: DeadReason) -> u64 {
        self.ledger.events.dead_lettered[reason as usize]
    }

    pub(crate) fn shed(&self, reason: ShedReason) -> u64 {
        self.ledger.events.shed[reason as usize]
    }

    /// Messages that found no slot.
    pub(crate) fn without_slot(&self) -> u64 {
        self.ledger.messages.rejected[MessageReject::PoolExhausted as usize]
    }

    /// Letters of a reason about events of a class.
    pub(crate) fn letters(&self, reason: impl Into<Reason>, class: Class) -> u64 {
        self.letters.get(&(reason.into(), class)).copied().unwrap_or(0)
    }

    /// What holds for any run.
    fn check(&self, plan: &Plan) {
        let (ledger, log) = (&self.ledger, &self.log);
        assert!(ledger.imbalances().is_empty(), "{:?}\n{plan:?}\n{ledger:#?}", ledger.imbalances());
        assert_eq!(ledger.events.in_flight, 0, "{plan:?}");
        assert_eq!(ledger.events.delivered, log.delivered.len() as u64 + log.delivered_later, "{plan:?}");
        assert_eq!(self.dead(DeadReason::HandlerPanicked), log.panicked, "{plan:?}");
        assert_eq!(self.dead(DeadReason::HandlerFailed), log.refused, "{plan:?}");
        assert_eq!(self.dead(DeadReason::RetryFull), log.without_place, "{plan:?}");
        assert_eq!(self.dead(DeadReason::Stopped), log.abandoned, "{plan:?}");
    }

    /// What was delivered of a stream is in the order in which it came: of a stream's class where that has one worker, else
    /// of each key. Nothing was delivered twice.
    pub(crate) fn check_order(&self, plan: &Plan, reference: &Reference) {
        let lane = |shown: &Shown| match (shown.class, plan.workers, plan.helpers) {
            (Class::Realtime, ..) | (_, 1, false) => (shown.class as u8, u64::from(shown.stream)),
            _ => (shown.class as u8, shown.key),
        };
        let mut came: HashMap<(u8, u64), Vec<&Shown>> = HashMap::new();
        reference.shown.iter().for_each(|shown| came.entry(lane(shown)).or_default().push(shown));
        let mut places: HashMap<(u8, u64), usize> = HashMap::new();
        for shown in &self.log.delivered {
            let place = places.entry(lane(shown)).or_default();
            let came = &came[&lane(shown)];
            let found = came[*place..].iter().position(|known| *known == shown);
            let found = found.unwrap_or_else(|| panic!("{shown:?} is out of order; {plan:?}"));
            *place += found + 1;
        }
    }

    /// What was lost, in one line.
    pub(crate) fn losses(&self) -> String {
        let events = &self.ledger.events;
        let mut line = format!(
            "{} accepted, {} delivered, {} refused without a slot, {} turns, {} lent",
            events.accepted,
            events.delivered,
            self.without_slot(),
            self.turns,
            self.lent
        );
        for reason in Reason::all() {
            let count = match reason {
                Reason::Dead(reason) => self.dead(reason),
                Reason::Shed(reason) => self.shed(reason),
            };
            if count > 0 {
                let _ = write!(line, ", {} {count}", reason.name());
            }
        }
        line
    }
}

/// What comes in so many loops with these tables, and in which order. `None` where the captures are not at hand.
pub(crate) fn reference(loops: usize, tables: &str) -> Option<Reference> {
    let plan = Plan { loops, tables: tables.to_owned(), ..Plan::roomy() };
    let ran = Rig::start(&plan, None)?.run();
    assert_eq!(ran.log.delivered.len() as u64, ran.ledger.events.accepted);
    let mut by_class = [0; 3];
    ran.log.delivered.iter().for_each(|shown| by_class[shown.class as usize] += 1);
    Some(Reference { shown: ran.log.delivered, by_class, turns: ran.turns })
}
