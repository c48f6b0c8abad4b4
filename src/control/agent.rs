//! The control plane's loop body: boards and pulses in, knobs and events out.
//!
//! Invariant: a step reads no clock and waits for nobody; it can be run by a thread, or by a test that makes up the time.

use super::event::{ControlEvent, ControlFact};
use super::health::{Health, HealthView, StalledAgent};
use super::kill_switch::{KillRecord, KillSwitch};
use super::liveness::Liveness;
use super::pressure::{Pressure, PressureSettings, Sample, Transition};
use crate::config::ControlSettings;
use crate::event::Nanos;
use crate::ledger::{Boards, KilledBy, Knobs, Level};
use crate::limits::CONTROL_EVENTS_KEPT_MAX;
use crate::os::KillRequest;
use crate::runtime::Pulse;
use std::collections::BTreeMap;
use std::time::Duration;

/// What became of a run's health.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlOutcome {
    /// The level at the end.
    pub level: Level,
    /// The highest level.
    pub highest: Level,
    /// Time spent at each level, ns, indexed by [`Level`].
    pub level_ns: [Nanos; Level::ALL.len()],
    /// The most events that waited in a shard's queues, as far as samples saw.
    pub queue_depth_max: u64,
    /// Whether the kill switch is set at the end.
    pub killed: bool,
    /// Its transitions, the first [`crate::limits::KILL_RECORDS_MAX`] of them.
    pub kill_records: Vec<KillRecord>,
    /// What was told, the first [`CONTROL_EVENTS_KEPT_MAX`].
    pub events: Vec<ControlEvent>,
    /// How many of what was told are not kept.
    pub not_kept: u64,
    /// How many found no place on their way to the main thread; they are kept and counted all the same.
    pub untold: u64,
    /// How many were told, by topic.
    pub topics: BTreeMap<&'static str, u64>,
}

impl ControlOutcome {
    /// The changes of level that are kept.
    pub fn transitions(&self) -> impl Iterator<Item = &Transition> + '_ {
        self.events.iter().filter_map(|event| match &event.fact {
            ControlFact::Pressure(transition) => Some(transition),
            _ => None,
        })
    }
}

/// The control plane between its steps.
#[derive(Debug)]
pub struct ControlLoop {
    enabled: bool,
    interval: Duration,
    knobs: Knobs,
    pressure: Pressure,
    kill_switch: KillSwitch,
    liveness: Liveness,
    health: HealthView,
    /// When the step before was, for the time that each level takes.
    stepped_ns: Option<Nanos>,
    fresh: Vec<ControlEvent>,
    outcome: ControlOutcome,
}

fn nanos(time: Duration) -> Nanos {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl From<&ControlSettings> for PressureSettings {
    fn from(settings: &ControlSettings) -> PressureSettings {
        PressureSettings {
            max_queue_depth: settings.max_queue_depth,
            max_drop_ppm: settings.max_drop_ppm,
            min_events: settings.min_events,
            recovery_ppm: settings.recovery_ppm,
            dwell_ns: nanos(settings.dwell),
            max_latency_ns: settings.max_latency.map(nanos),
        }
    }
}

impl ControlLoop {
    /// One that turns these knobs. To be made before the first agent runs: where the settings have the kill switch set from
    /// the beginning, it is set here, and told by the first step.
    pub fn new(settings: &ControlSettings, knobs: Knobs) -> ControlLoop {
        if settings.start_killed {
            knobs.kill(KilledBy::Config, 0);
        }
        ControlLoop {
            enabled: settings.enabled,
            interval: settings.interval,
            pressure: Pressure::new(settings.into()),
            kill_switch: KillSwitch::new(knobs.clone()),
            knobs,
            liveness: Liveness::new(nanos(settings.stall)),
            health: HealthView::default(),
            stepped_ns: None,
            fresh: Vec::new(),
            outcome: ControlOutcome::default(),
        }
    }

    /// The time between two steps.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// The state of health, for others.
    pub fn health(&self) -> HealthView {
        self.health.clone()
    }

    /// One look at everything; yields what there is to tell. `request` is what a person wants of the kill switch. `now` does
    /// not fall, and the same index of `pulses` is the same thread each time.
    pub fn step(
        &mut self,
        now: Nanos,
        boards: &Boards,
        pulses: &[Pulse],
        request: Option<KillRequest>,
    ) -> &[ControlEvent] {
        self.fresh.clear();
        let level = self.pressure.level();
        let since = *self.stepped_ns.get_or_insert(now);
        self.outcome.level_ns[level as usize] += now.saturating_sub(since);
        self.stepped_ns = Some(now);
        self.kill(now, request);
        if self.enabled {
            self.press(now, boards);
        }
        for (index, pulse) in pulses.iter().enumerate() {
            if let Some(fact) = self.liveness.look(index, pulse, now) {
                self.tell(now, fact);
            }
            while let Some(panic) = pulse.take_panic() {
                self.tell(now, ControlFact::Panicked(panic));
            }
        }
        if !self.fresh.is_empty() {
            self.publish(now, pulses);
        }
        &self.fresh
    }

    /// What became of it all.
    pub fn into_outcome(self) -> ControlOutcome {
        ControlOutcome {
            level: self.pressure.level(),
            killed: self.kill_switch.is_set(),
            kill_records: self.kill_switch.records().to_vec(),
            ..self.outcome
        }
    }

    fn kill(&mut self, now: Nanos, request: Option<KillRequest>) {
        // First, so that what is cleared then is on record.
        if let Some(record) = self.kill_switch.look(now) {
            self.tell(record.at_ns, ControlFact::KillSwitch(record));
        }
        let done = match request {
            Some(KillRequest::Set) => self.kill_switch.set(KilledBy::Signal, "SIGUSR1", now),
            Some(KillRequest::Clear) => self.kill_switch.clear(KilledBy::Signal, "SIGUSR2", now),
            None => None,
        };
        if let Some(record) = done {
            self.tell(now, ControlFact::KillSwitch(record));
        }
    }

    fn press(&mut self, now: Nanos, boards: &Boards) {
        let sample = Sample::of(boards);
        self.outcome.queue_depth_max = self.outcome.queue_depth_max.max(sample.queue_depth);
        if let Some(transition) = self.pressure.sample(&sample, now) {
            self.knobs.set_level(transition.to);
            self.outcome.highest = self.outcome.highest.max(transition.to);
            self.tell(now, ControlFact::Pressure(transition));
        }
    }

    fn tell(&mut self, at_ns: Nanos, fact: ControlFact) {
        let event = ControlEvent { at_ns, fact };
        event.log();
        *self.outcome.topics.entry(event.fact.topic()).or_default() += 1;
        match self.outcome.events.len() < CONTROL_EVENTS_KEPT_MAX {
            true => self.outcome.events.push(event.clone()),
            false => self.outcome.not_kept += 1,
        }
        self.fresh.push(event);
    }

    fn publish(&self, now: Nanos, pulses: &[Pulse]) {
        let stalled = self.liveness.stalled().filter_map(|(index, beat)| {
            let pulse = pulses.get(index)?;
            let agent = beat.agent.and_then(|agent| pulse.agent(agent)).map(ToString::to_string);
            Some(StalledAgent { thread: pulse.thread().to_string(), agent, since_ns: beat.at_ns })
        });
        self.health.publish(Health {
            level: self.pressure.level(),
            killed: self.kill_switch.is_set(),
            stalled: stalled.collect(),
            since_ns: now,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::control::{Cause, actions};
    use crate::ledger::{Board, Counter};

    const MS: Nanos = 1_000_000;

    fn settings(text: &str) -> ControlSettings {
        let text = format!("[control]\n{text}\n");
        Settings::from_text(&text, "test").unwrap_or_else(|error| panic!("{error}")).control
    }

    fn boards() -> Boards {
        let shards = vec![Board::default(), Board::default()];
        Boards { shards, processors: vec![Board::default()] }
    }

    fn topics(events: &[ControlEvent]) -> Vec<&'static str> {
        events.iter().map(|event| event.fact.topic()).collect()
    }

    #[test]
    fn levels_rise_and_fall_by_what_boards_say() {
        let (knobs, boards) = (Knobs::default(), boards());
        let mut control = ControlLoop::new(&settings(""), knobs.clone());
        let health = control.health();
        assert!(control.step(10 * MS, &boards, &[], None).is_empty());
        // The fullest shard counts, not their sum.
        boards.shards[0].publish(Counter::WaitingRealtime, 2_000);
        boards.shards[1].publish(Counter::WaitingBatch, 2_400);
        assert!(control.step(20 * MS, &boards, &[], None).is_empty());
        boards.shards[1].publish(Counter::WaitingTransactional, 2_601);
        let told = control.step(30 * MS, &boards, &[], None);
        assert_eq!(topics(told), ["pressure.level"]);
        assert_eq!((knobs.level(), health.read().level), (Level::Critical, Level::Critical));
        assert!(actions(knobs.level()).shed_batch && !actions(knobs.level()).shed_transactional);
        Counter::WAITING.iter().for_each(|counter| boards.shards[1].publish(*counter, 0));
        boards.shards[0].publish(Counter::WaitingRealtime, 0);
        for step in 4..=500 {
            control.step(step * 10 * MS, &boards, &[], None);
        }
        assert_eq!(knobs.level(), Level::Healthy);
        assert_eq!(health.read(), Health { since_ns: 3_040 * MS, ..Health::default() });
        let outcome = control.into_outcome();
        assert_eq!((outcome.level, outcome.highest), (Level::Healthy, Level::Critical));
        assert_eq!(outcome.queue_depth_max, 5_001);
        let causes: Vec<Cause> = outcome.transitions().map(|told| told.cause).collect();
        assert_eq!(causes, [Cause::QueueDepth, Cause::Recovered, Cause::Recovered, Cause::Recovered]);
        assert_eq!(outcome.topics, BTreeMap::from([("pressure.level", 4)]));
        // From 10 to 5,000 ms in all.
        assert_eq!(outcome.level_ns, [1_980 * MS, 1_000 * MS, 1_000 * MS, 1_010 * MS, 0]);
    }

    #[test]
    fn drops_and_latencies_press_too() {
        let (knobs, boards) = (Knobs::default(), boards());
        let mut control = ControlLoop::new(&settings("max_latency_us = 100"), knobs.clone());
        boards.shards[0].publish(Counter::Offered, 600);
        boards.shards[1].publish(Counter::Offered, 400);
        boards.shards[1].publish(Counter::Dropped, 5);
        boards.processors[0].publish(Counter::Dropped, 6);
        control.step(10 * MS, &boards, &[], None);
        assert_eq!(knobs.level(), Level::Elevated);
        boards.processors[0].publish(Counter::P99Ns, 160_000);
        control.step(20 * MS, &boards, &[], None);
        assert_eq!(knobs.level(), Level::Emergency);
    }

    #[test]
    fn switched_off_it_turns_no_level_and_still_minds_the_rest() {
        let (knobs, boards) = (Knobs::default(), boards());
        let mut control = ControlLoop::new(&settings("enabled = false"), knobs.clone());
        boards.shards[0].publish(Counter::WaitingRealtime, 100_000);
        assert!(control.step(10 * MS, &boards, &[], None).is_empty());
        assert_eq!(knobs.level(), Level::Healthy);
        assert_eq!(topics(control.step(20 * MS, &boards, &[], Some(KillRequest::Set))), ["kill_switch.set"]);
    }

    #[test]
    fn the_kill_switch_is_set_by_rules_people_and_configuration() {
        let (knobs, boards) = (Knobs::default(), boards());
        let mut control = ControlLoop::new(&settings("start_killed = true"), knobs.clone());
        let health = control.health();
        assert_eq!(topics(control.step(10, &boards, &[], None)), ["kill_switch.set"]);
        assert!(knobs.is_killed() && health.read().killed);
        let told = control.step(20, &boards, &[], Some(KillRequest::Clear));
        assert_eq!(topics(told), ["kill_switch.cleared"]);
        assert!(!knobs.is_killed() && !health.read().killed);
        // A rule's kill and a person's wish to clear it meet: both are on record, in this order.
        knobs.kill(KilledBy::Rule(3), 25);
        let told = control.step(30, &boards, &[], Some(KillRequest::Clear));
        assert_eq!(topics(told), ["kill_switch.set", "kill_switch.cleared"]);
        assert_eq!(told[0].at_ns, 25);
        assert!(control.step(40, &boards, &[], Some(KillRequest::Clear)).is_empty(), "it was not set");
        let outcome = control.into_outcome();
        let by: Vec<KilledBy> = outcome.kill_records.iter().map(|record| record.by).collect();
        assert_eq!(by, [KilledBy::Config, KilledBy::Signal, KilledBy::Rule(3), KilledBy::Signal]);
        assert!(!outcome.killed);
    }

    #[test]
    fn stalls_are_told_and_part_of_the_state_of_health() {
        let (pulse, boards) = (Pulse::new("crew", ["shard-0"]), boards());
        let mut control = ControlLoop::new(&settings("stall_ms = 100"), Knobs::default());
        let health = control.health();
        pulse.beat(1, 5 * MS);
        pulse.calling(0);
        let pulses = [pulse.clone()];
        assert!(control.step(105 * MS, &boards, &pulses, None).is_empty());
        assert_eq!(topics(control.step(115 * MS, &boards, &pulses, None)), ["agent.stalled"]);
        let stalled = health.read().stalled;
        assert_eq!(
            (stalled.len(), stalled[0].agent.as_deref(), stalled[0].since_ns),
            (1, Some("shard-0"), 5 * MS)
        );
        pulse.beat(2, 200 * MS);
        assert_eq!(topics(control.step(201 * MS, &boards, &pulses, None)), ["agent.returned"]);
        assert!(health.read().stalled.is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (knobs, boards) = (Knobs::default(), boards());
        let mut control = ControlLoop::new(&settings(""), knobs);
        let turns = CONTROL_EVENTS_KEPT_MAX as u64 + 10;
        for turn in 0..turns {
            let request = if turn % 2 == 0 { KillRequest::Set } else { KillRequest::Clear };
            control.step(turn, &boards, &[], Some(request));
        }
        let outcome = control.into_outcome();
        assert_eq!((outcome.events.len(), outcome.not_kept), (CONTROL_EVENTS_KEPT_MAX, 10));
        assert_eq!(outcome.topics.values().sum::<u64>(), turns);
    }
}
