//! Hot path: evaluates events by a program.
//!
//! Invariant: an event is evaluated from its first rule to its last by one program: programs change between events only.

use super::alert::{Alert, AlertKey, Label};
use super::fields::Facts;
use super::keys::{Key, RuleState};
use super::places::Place;
use super::program::{Change, Compiled, Plan, Program, holds};
use crate::config::{KeyBy, Measure};
use crate::event::{Decimal, Nanos};
use crate::process::Subject;
use crate::wire::native_v2::Topic;
use crate::wire::{Entry, Instrument};
use foldhash::fast::FixedState;
use std::hash::BuildHasher;

/// What kind of key it is, in [`Key::tag`].
mod tag {
    pub(super) const RULE: u8 = 0;
    pub(super) const SYMBOL: u8 = 1;
    pub(super) const NUMBER: u8 = 2;
    pub(super) const IMPLIED: u8 = 3;
    pub(super) const TOPIC: u8 = 4;
    pub(super) const TOPIC_NUMBER: u8 = 5;
    pub(super) const STREAM: u8 = 6;
}

/// Evaluates events.
pub struct Engine {
    program: Box<Program>,
}

impl Engine {
    /// By this program.
    pub fn new(program: Box<Program>) -> Engine {
        Engine { program }
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Takes another program as a whole, and gives back the one before. Rules that are the same keep what they remember;
    /// the others begin anew. Takes no time that depends on what they remember, and neither allocates nor frees.
    pub fn replace(&mut self, mut program: Box<Program>) -> Box<Program> {
        program.take_over(&mut self.program);
        std::mem::swap(&mut self.program, &mut program);
        program
    }

    /// Evaluates one event; each alert is told at once. `now` is when.
    #[inline]
    pub fn evaluate(&mut self, subject: &Subject<'_>, now: Nanos, tell: &mut impl FnMut(&Alert)) {
        let Program { plan, states, .. } = &mut *self.program;
        let protocol = subject.protocol();
        let [all, typed] = plan.candidates(protocol, subject.header.kind);
        if all.is_empty() && typed.is_empty() {
            return;
        }
        let facts = Facts::of(subject, protocol);
        let place = plan.places.of(subject);
        let time_ns = facts.time_ns();
        let plan = &*plan;
        let mut turn = Turn { plan, states, facts: &facts, place, time_ns, now, tell };
        for bucket in [all, typed] {
            for rule in &plan.lists[bucket.of_events.range()] {
                turn.judge(*rule, None, true);
            }
        }
        if (all.has_topics || typed.has_topics)
            && let Some(rules) = facts.topic().and_then(|topic| plan.by_topic.get(topic))
        {
            for rule in &plan.lists[rules.range()] {
                turn.judge(*rule, None, false);
            }
        }
        if all.asks_entries() || typed.asks_entries() {
            let has_symbols = all.has_symbols || typed.has_symbols;
            subject.entries(&mut |entry| {
                for bucket in [all, typed] {
                    for rule in &plan.lists[bucket.of_entries.range()] {
                        turn.judge(*rule, Some(&entry), true);
                    }
                }
                if has_symbols && let Some(rules) = plan.by_symbol.get(&entry.instrument) {
                    for rule in &plan.lists[rules.range()] {
                        turn.judge(*rule, Some(&entry), false);
                    }
                }
            });
        }
    }
}

/// One event, while its rules are gone through.
struct Turn<'a, T> {
    plan: &'a Plan,
    states: &'a mut [RuleState],
    facts: &'a Facts<'a>,
    place: Place,
    time_ns: Nanos,
    now: Nanos,
    tell: &'a mut T,
}

impl<T: FnMut(&Alert)> Turn<'_, T> {
    /// Asks one rule about the event, or about one of its entries.
    #[inline]
    fn judge(&mut self, index: u32, entry: Option<&Entry>, is_listed: bool) {
        let rule = &self.plan.rules[index as usize];
        let state = &mut self.states[index as usize];
        state.counts.evaluated += 1;
        if !self.plan.concerns(rule, self.facts, self.place, is_listed)
            || !self.plan.passes(rule, self.facts, entry)
        {
            return;
        }
        let (mut value, mut previous) = (None, None);
        if state.remembers() {
            let Some(key) = key(rule.key_by, self.facts, self.place, entry) else { return };
            let changes = &self.plan.changes[rule.changes.range()];
            let is_there =
                |change: &Change| self.facts.number(change.source, &self.plan.texts, entry).is_some();
            if !changes.iter().all(is_there) {
                return;
            }
            let (place, time_ns) = state.enter(key, self.time_ns);
            let mut has_changed = true;
            for (at, change) in changes.iter().enumerate() {
                let Some(number) = self.facts.number(change.source, &self.plan.texts, entry) else { return };
                let last = state.replace_last(place, at, number);
                has_changed &= last.is_some_and(|last| changed(change, number, last));
                if at == 0 {
                    (value, previous) = (Some(number), last);
                }
            }
            if !has_changed || rule.window.is_some_and(|window| !state.hit(place, time_ns, window)) {
                return;
            }
            if !state.may_fire(place, time_ns, rule.cooldown_ns) {
                state.counts.suppressed += 1;
                return;
            }
        } else if key(rule.key_by, self.facts, self.place, entry).is_none() {
            return;
        }
        state.counts.fired += 1;
        if let (None, Some(source)) = (value, rule.shown) {
            value = self.facts.number(source, &self.plan.texts, entry);
        }
        self.fire(index, rule, entry, value, previous);
    }

    #[cold]
    #[inline(never)]
    fn fire(
        &mut self,
        index: u32,
        rule: &Compiled,
        entry: Option<&Entry>,
        value: Option<Decimal>,
        previous: Option<Decimal>,
    ) {
        let subject = self.facts.subject;
        let header = subject.header;
        let alert = Alert {
            version: self.plan.version,
            rule: index,
            severity: rule.severity,
            kills: rule.kills,
            event_ns: self.time_ns,
            now_ns: self.now,
            shard: subject.shard,
            feed: subject.feed,
            stream: header.stream,
            epoch: header.epoch,
            sequence: header.sequence,
            protocol: self.facts.protocol,
            kind: header.kind,
            key: self.shown_key(rule.key_by, entry),
            value,
            previous,
            count: rule.window.map_or(1, |window| window.count),
        };
        (self.tell)(&alert);
    }

    fn shown_key(&self, key_by: KeyBy, entry: Option<&Entry>) -> AlertKey {
        match (key_by, entry, self.facts.topic()) {
            (KeyBy::Auto | KeyBy::Instrument, Some(entry), _) => AlertKey::Instrument(entry.instrument),
            (KeyBy::Auto | KeyBy::Topic, _, Some(topic)) => {
                AlertKey::Topic { hash: topic_hash(topic), name: Label::of(topic) }
            }
            (KeyBy::Rule, ..) => AlertKey::Rule,
            _ => AlertKey::Stream,
        }
    }
}

/// What a rule's state is kept by; `None` where there is no such thing.
#[inline]
fn key(key_by: KeyBy, facts: &Facts<'_>, place: Place, entry: Option<&Entry>) -> Option<Key> {
    match key_by {
        KeyBy::Rule => Some(Key { tag: tag::RULE, place: 0, value: 0 }),
        KeyBy::Instrument => entry.map(|entry| instrument_key(entry, place)),
        KeyBy::Topic => topic_key(facts),
        KeyBy::Stream => Some(stream_key(facts)),
        KeyBy::Auto => match entry {
            Some(entry) => Some(instrument_key(entry, place)),
            None => Some(topic_key(facts).unwrap_or_else(|| stream_key(facts))),
        },
    }
}

#[inline]
fn instrument_key(entry: &Entry, place: Place) -> Key {
    let (tag, value) = match entry.instrument {
        Instrument::Symbol(symbol) => (tag::SYMBOL, u64::from_le_bytes(symbol)),
        Instrument::Number(number) => (tag::NUMBER, number),
        Instrument::Implied(number) => (tag::IMPLIED, number),
    };
    // A number, and a symbol too, means something on its own feed only.
    Key { tag, place: place.number, value }
}

#[inline]
fn topic_key(facts: &Facts<'_>) -> Option<Key> {
    Some(match facts.native.as_ref()?.topic {
        Topic::Name(name) => Key { tag: tag::TOPIC, place: 0, value: topic_hash(name) },
        Topic::Id(id) => Key { tag: tag::TOPIC_NUMBER, place: 0, value: id.into() },
    })
}

#[inline]
fn stream_key(facts: &Facts<'_>) -> Key {
    let subject = facts.subject;
    Key { tag: tag::STREAM, place: subject.shard.0.into(), value: subject.header.stream.into() }
}

/// The same in every process, so that alerts of a capture are.
#[inline]
fn topic_hash(topic: &[u8]) -> u64 {
    FixedState::default().hash_one(topic)
}

/// Whether a change is what a rule asks for.
#[inline]
fn changed(change: &Change, now: Decimal, before: Decimal) -> bool {
    let order = match change.measure {
        Measure::Value => Some(now.compare(change.value)),
        Measure::Change => now.less(before).map(|difference| difference.compare(change.value)),
        Measure::ChangeAbs => {
            let difference = now.less(before).and_then(Decimal::absolute);
            difference.map(|difference| difference.compare(change.value))
        }
        Measure::ChangeBps => now.compare_change(before, change.value, false),
        Measure::ChangeBpsAbs => now.compare_change(before, change.value, true),
    };
    order.is_some_and(|order| holds(change.op, order))
}
