//! The pressure level under real overload: it rises to what the table says, does what each level promises, and comes back.

use crate::rig::{Plan, Ran, Reference, Rig, TURN_NS, reference};
use crate::script::Trouble;
use sluice::control::{Cause, ControlLoop, Pressure, Sample, Transition};
use sluice::event::{Class, DeadReason, Overflow, ShedReason};
use sluice::ledger::{Counter, Level};

/// Turns between two looks of the control plane: 10 ms of made-up time.
const LOOK_TURNS: u64 = 10;

/// Turns of quiet at the end: more than a dwell time for each level, and one for the drop rate.
const QUIET_TURNS: u64 = 7_000;

/// Why an event is shed that the level keeps out.
const PRESSED_OUT: [ShedReason; 2] = [ShedReason::PressureTransactional, ShedReason::PressureBatch];

/// What the control plane saw and did in a run.
struct Pressed {
    rig: Rig,
    control: ControlLoop,
    /// Judges the same samples by itself.
    second: Pressure,
    transitions: Vec<Transition>,
    /// Turns begun at each level, and those of them in which the source brought anything.
    turns_at: [u64; 5],
    brought_at: [u64; 5],
}

impl Pressed {
    fn start(plan: &Plan, reference: &Reference) -> Option<Pressed> {
        let rig = Rig::start(plan, Some(reference))?;
        let control = ControlLoop::new(&rig.settings.control, rig.knobs.clone());
        let second = Pressure::new((&rig.settings.control).into());
        let (turns_at, brought_at) = ([0; 5], [0; 5]);
        Some(Pressed { rig, control, second, transitions: Vec::new(), turns_at, brought_at })
    }

    fn frames(&self) -> u64 {
        self.rig.boards.sum(Counter::Frames)
    }

    fn turn(&mut self, frames: u64) {
        let pressed_out = |rig: &Rig| PRESSED_OUT.map(|reason| rig.letters_of(reason));
        let (level, before, shed) = (self.rig.knobs.level(), self.frames(), pressed_out(&self.rig));
        self.rig.turn(frames);
        self.turns_at[level as usize] += 1;
        self.brought_at[level as usize] += u64::from(self.frames() > before);
        let sheds = |at: usize| pressed_out(&self.rig)[at] > shed[at];
        assert!(!sheds(0) || level >= Level::Emergency, "transactional is shed at {}", level.name());
        assert!(!sheds(1) || level >= Level::Critical, "batch is shed at {}", level.name());
        if self.rig.turns.is_multiple_of(LOOK_TURNS) {
            self.look();
        }
    }

    fn look(&mut self) {
        let now = self.rig.now();
        let sample = Sample::of(&self.rig.boards);
        let expected = self.second.sample(&sample, now);
        let told = self.control.step(now, &self.rig.boards, &[], None).len();
        assert_eq!(told, usize::from(expected.is_some()), "{sample:?}");
        assert_eq!(self.rig.knobs.level(), self.second.level(), "{sample:?}");
        let Some(told) = expected else { return };
        if told.to > told.from {
            assert!(told.cause != Cause::Recovered);
            assert_eq!(told.to, by_table(&told, &self.rig.plan), "{told:?}");
        } else {
            assert_eq!((told.from as u8 - told.to as u8, told.cause), (1, Cause::Recovered));
        }
        self.transitions.push(told);
    }

    fn overload(&mut self) {
        while !self.rig.is_over() {
            let frames = self.rig.burst();
            self.turn(frames);
        }
    }

    /// The load ends; everybody catches up.
    fn quiet(&mut self) {
        self.rig.let_go();
        for _ in 0..QUIET_TURNS {
            self.turn(0);
        }
        assert_eq!(self.rig.knobs.level(), Level::Healthy);
    }

    /// From the highest level on it falls by one in each dwell time, to the lowest.
    fn check_falls(&self) {
        let dwell_ns = self.rig.settings.control.dwell.as_nanos() as u64;
        let falls: Vec<&Transition> = self.transitions.iter().filter(|told| told.to < told.from).collect();
        for pair in falls.windows(2) {
            assert!(pair[1].at_ns - pair[0].at_ns >= dwell_ns, "{pair:?}");
        }
        // All of those behind the last rise, each one dwell time after the one before.
        let last_rise = self.transitions.iter().rposition(|told| told.to > told.from).expect("it rose");
        let last: Vec<&Transition> = self.transitions[last_rise + 1..].iter().collect();
        let peak = self.transitions[last_rise].to as usize;
        assert_eq!(last.len(), peak, "{:?}", self.transitions);
        let when: Vec<u64> = last.iter().map(|told| told.at_ns).collect();
        let look_ns = LOOK_TURNS * TURN_NS;
        assert!(when.windows(2).all(|pair| pair[1] - pair[0] <= 2 * dwell_ns + look_ns), "{when:?}");
        assert_eq!(last.last().expect("it fell").to, Level::Healthy);
    }

    fn end(self) -> Ran {
        self.rig.end()
    }
}

/// The level that the table gives for what a transition measured, recomputed with plain percentages. Its rate is cut to
/// whole millionths, so that one that is just above a threshold may stand at it.
fn by_table(told: &Transition, plan: &Plan) -> Level {
    let (max, steps) = match told.cause {
        Cause::QueueDepth => (depth_max(plan), [50, 75, 100, 150]),
        Cause::DropRate => (20_000, [50, 100, 200, 500]),
        Cause::Latency | Cause::Recovered => panic!("{told:?}"),
    };
    let is_above =
        |step: &&u64| told.value * 100 >= max * **step + u64::from(told.cause == Cause::QueueDepth);
    Level::from_u8(steps.iter().take_while(is_above).count() as u8)
}

/// A source that waits fills no queue to its end: there is less to measure.
fn depth_max(plan: &Plan) -> u64 {
    plan.places.iter().sum::<usize>() as u64 / if plan.waits { 6 } else { 2 }
}

fn plan(seed: u64, policy: Overflow, places: [usize; 3]) -> Plan {
    let mut plan = Plan { seed, policies: [policy; 3], places, load: 4, loops: 4, ..Plan::roomy() };
    plan.waits = policy == Overflow::Block;
    plan.trouble = Trouble { panics: 20_000, refuses: 2_000, parks: 2_000 };
    plan.tables = format!("[control]\nmax_queue_depth = {}\n", depth_max(&plan));
    plan
}

#[test]
fn under_overload_the_level_rises_to_emergency_sheds_by_class_and_comes_back() {
    let Some(reference) = reference(4, "") else { return };
    for (seed, policy) in [(1, Overflow::DropOldest), (2, Overflow::Conflate), (3, Overflow::DropNewest)] {
        let plan = plan(seed, policy, [512, 512, 512]);
        let Some(mut pressed) = Pressed::start(&plan, &reference) else { return };
        pressed.overload();
        pressed.quiet();
        pressed.check_falls();
        let highest = pressed.transitions.iter().map(|told| told.to).max();
        assert_eq!(highest, Some(Level::Emergency), "{:?}", pressed.transitions);
        let ran = pressed.end();
        let shed = PRESSED_OUT.map(|shed| ran.shed(shed));
        assert!(shed.iter().all(|shed| *shed > 0), "{}", ran.losses());
        // And never realtime: each of the letters about pressure is about the class that it names.
        for (reason, class) in [
            (ShedReason::PressureTransactional, Class::Transactional),
            (ShedReason::PressureBatch, Class::Batch),
        ] {
            assert_eq!(ran.letters(reason, class), ran.shed(reason));
        }
        assert_eq!(ran.letters(DeadReason::Evicted, Class::Realtime), 0);
    }
}

#[test]
fn what_critical_sheds_is_batch_only() {
    let Some(reference) = reference(4, "") else { return };
    // Held at each level from outside, to see what it does by itself.
    for (level, sheds) in [
        (Level::Healthy, [false; 2]),
        (Level::Elevated, [false; 2]),
        (Level::Degraded, [false; 2]),
        (Level::Critical, [false, true]),
        (Level::Emergency, [true; 2]),
    ] {
        let plan = plan(5, Overflow::DropOldest, [1_024; 3]);
        let Some(mut rig) = Rig::start(&plan, Some(&reference)) else { return };
        rig.knobs.set_level(level);
        while !rig.is_over() {
            let frames = rig.burst();
            rig.turn(frames);
        }
        let ran = rig.end();
        let shed = PRESSED_OUT.map(|shed| ran.shed(shed) > 0);
        assert_eq!(shed, sheds, "{}: {}", level.name(), ran.losses());
    }
}

#[test]
fn a_source_that_waits_is_paused_and_goes_on() {
    let Some(reference) = reference(4, "") else { return };
    let mut plan = plan(4, Overflow::Block, [512, 512, 512]);
    // Pauses that are short enough for the source to come to its end.
    plan.tables += "dwell_ms = 50\n";
    let Some(mut pressed) = Pressed::start(&plan, &reference) else { return };
    pressed.overload();
    let paused = &pressed.transitions;
    assert!(paused.iter().any(|told| told.to >= Level::Degraded), "{paused:?}");
    let from_degraded = Level::Degraded as usize..=Level::Emergency as usize;
    let turns: u64 = pressed.turns_at[from_degraded.clone()].iter().sum();
    assert!(turns > 0);
    assert_eq!(pressed.brought_at[from_degraded].iter().sum::<u64>(), 0, "it waits while the level says so");
    // It was paused, and brought everything all the same.
    pressed.quiet();
    pressed.check_falls();
    let ran = pressed.end();
    let all: u64 = reference.by_class.iter().sum();
    assert_eq!(ran.ledger.events.accepted, all);
}
