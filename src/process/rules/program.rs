//! Hot path: a compiled set of rules: flat arrays, and an index of which rules a message can concern.
//!
//! Invariant: nothing here changes after it was compiled but the rules' states, which are memory of their own.

use super::fields::{Facts, NumberSource, Span, TextSource};
use super::keys::{RuleCounts, RuleState};
use super::places::{Place, Places};
use crate::config::{KeyBy, Measure, NumberOp, RuleWindow, Severity, SourceKind, TextOp};
use crate::event::{ClockKind, Decimal, Marks, Nanos, Priority, Protocol, Side};
use crate::process::TopicPattern;
use crate::wire::{Action, Entry, Instrument};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use memchr::memmem::Finder;
use std::cmp::Ordering;

/// Message types below this are found by one load.
pub(super) const DIRECT_KINDS: usize = 256;

/// The rules that a message type, or a whole protocol, can concern.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// Rules about the event as a whole: a piece of the plan's lists.
    pub(super) of_events: Span,
    /// Rules about entries, without those that name symbols.
    pub(super) of_entries: Span,
    /// Whether rules name exact topics.
    pub(super) has_topics: bool,
    /// Whether rules name symbols.
    pub(super) has_symbols: bool,
}

impl Bucket {
    /// No rule.
    pub(super) const EMPTY: Bucket =
        Bucket { of_events: Span::EMPTY, of_entries: Span::EMPTY, has_topics: false, has_symbols: false };

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.of_events.count == 0 && !self.has_topics && !self.asks_entries()
    }

    #[inline]
    pub(super) fn asks_entries(&self) -> bool {
        self.of_entries.count > 0 || self.has_symbols
    }
}

/// What a rule asks, without a change.
#[derive(Clone, Copy, Debug)]
pub(super) enum Check {
    Number { source: NumberSource, op: NumberOp, value: Decimal },
    Text { source: TextSource, op: TextOp, value: Span, finder: u32 },
    Side { side: Side, is_other: bool },
    Action { action: Action, is_other: bool },
}

/// What a rule asks of a change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) source: NumberSource,
    pub(super) measure: Measure,
    pub(super) op: NumberOp,
    pub(super) value: Decimal,
}

/// A rule of the program.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub(super) severity: Severity,
    pub(super) kills: bool,
    /// Places of their bits; `None` for every place.
    pub(super) places: Option<Span>,
    pub(super) source: Option<SourceKind>,
    pub(super) priority: Option<Priority>,
    /// Of topics that are not exact.
    pub(super) topic: Option<TopicPattern>,
    pub(super) protocol: Option<Protocol>,
    /// Message types, a piece of the plan's; empty for all.
    pub(super) kinds: Span,
    pub(super) checks: Span,
    pub(super) changes: Span,
    /// The number that alerts show of a rule without changes.
    pub(super) shown: Option<NumberSource>,
    pub(super) window: Option<RuleWindow>,
    pub(super) cooldown_ns: Nanos,
    pub(super) key_by: KeyBy,
}

/// All that doesn't change.
pub(super) struct Plan {
    pub(super) version: u32,
    pub(super) places: Places,
    pub(super) by_protocol: [Bucket; Protocol::ALL.len()],
    // Index into `buckets`, 0 for the empty one.
    pub(super) direct: Vec<[u32; DIRECT_KINDS]>,
    // Protocol and type of larger types, sorted, with the index into `buckets`.
    pub(super) wide: Vec<((u8, u16), u32)>,
    pub(super) buckets: Vec<Bucket>,
    pub(super) lists: Vec<u32>,
    pub(super) by_symbol: HashMap<Instrument, Span, RandomState>,
    pub(super) by_topic: HashMap<Box<[u8]>, Span, RandomState>,
    pub(super) rules: Vec<Compiled>,
    pub(super) kinds: Vec<u16>,
    pub(super) checks: Vec<Check>,
    pub(super) changes: Vec<Change>,
    pub(super) place_bits: Vec<u64>,
    pub(super) texts: Vec<u8>,
    pub(super) finders: Vec<Finder<'static>>,
}

/// A compiled set of rules with its memory.
pub struct Program {
    pub(super) plan: Plan,
    pub(super) states: Vec<RuleState>,
    /// Rules that are the same as in the set before: their index there and here.
    pub(super) kept: Vec<(u32, u32)>,
    /// The version of the set before.
    pub(super) follows: u32,
}

impl Program {
    /// Its version.
    pub fn version(&self) -> u32 {
        self.plan.version
    }

    /// How many rules it has, those that are not enabled included.
    pub fn rules(&self) -> usize {
        self.plan.rules.len()
    }

    /// What a rule was asked and said since it began.
    pub fn counts(&self, rule: usize) -> RuleCounts {
        self.states.get(rule).map(|state| state.counts).unwrap_or_default()
    }

    /// Takes over what rules that are the same remember from the set before. Without another thing to do than exchange.
    pub(super) fn take_over(&mut self, before: &mut Program) {
        if self.follows != before.plan.version {
            return;
        }
        for (old, new) in &self.kept {
            if let (Some(old), Some(new)) =
                (before.states.get_mut(*old as usize), self.states.get_mut(*new as usize))
            {
                std::mem::swap(old, new);
            }
        }
    }
}

impl Plan {
    /// The rules that a message type can concern: those that name no type, and those that name it.
    #[inline]
    pub(super) fn candidates(&self, protocol: Protocol, kind: u16) -> [&Bucket; 2] {
        let index = match self.direct[protocol as usize].get(usize::from(kind)) {
            Some(index) => *index,
            None => self.wide_bucket(protocol, kind),
        };
        [&self.by_protocol[protocol as usize], &self.buckets[index as usize]]
    }

    #[cold]
    #[inline(never)]
    fn wide_bucket(&self, protocol: Protocol, kind: u16) -> u32 {
        let wanted = (protocol as u8, kind);
        self.wide.binary_search_by_key(&wanted, |(key, _)| *key).map_or(0, |at| self.wide[at].1)
    }

    /// Whether a rule is about such events, by their header and topic. `is_listed` when it was found by the message's type.
    #[inline]
    pub(super) fn concerns(&self, rule: &Compiled, facts: &Facts<'_>, place: Place, is_listed: bool) -> bool {
        let header = facts.subject.header;
        if !is_listed {
            let kinds = &self.kinds[rule.kinds.range()];
            let is_other = rule.protocol.is_some_and(|protocol| protocol != facts.protocol);
            if is_other || (!kinds.is_empty() && !kinds.contains(&header.kind)) {
                return false;
            }
        }
        let comes_from = |kind| match ClockKind::from_u8(header.clock) {
            ClockKind::Capture => kind == SourceKind::Capture,
            _ if place.is_inlet => kind == SourceKind::Socket,
            _ => kind == SourceKind::Interface,
        };
        rule.places.is_none_or(|bits| has_bit(&self.place_bits[bits.range()], place.number))
            && rule.source.is_none_or(comes_from)
            && rule.priority.is_none_or(|least| is_as_urgent(facts, least))
            && rule.topic.as_ref().is_none_or(|pattern| facts.topic().is_some_and(|t| pattern.matches(t)))
    }

    /// Whether an event or entry passes a rule's checks.
    #[inline]
    pub(super) fn passes(&self, rule: &Compiled, facts: &Facts<'_>, entry: Option<&Entry>) -> bool {
        self.checks[rule.checks.range()].iter().all(|check| match *check {
            Check::Number { source, op, value } => facts
                .number(source, &self.texts, entry)
                .is_some_and(|number| holds(op, number.compare(value))),
            Check::Text { source, op, value, finder } => {
                let value = &self.texts[value.range()];
                facts.asks_text(source, &self.texts, entry, |text| match op {
                    TextOp::Equal => text == value,
                    TextOp::Unequal => text != value,
                    TextOp::StartsWith => text.starts_with(value),
                    TextOp::Contains => {
                        self.finders.get(finder as usize).is_some_and(|finder| finder.find(text).is_some())
                    }
                })
            }
            Check::Side { side, is_other } => entry.is_some_and(|entry| (entry.side == side) != is_other),
            Check::Action { action, is_other } => {
                entry.is_some_and(|entry| (entry.action == action) != is_other)
            }
        })
    }
}

#[inline]
fn has_bit(bits: &[u64], number: u32) -> bool {
    bits.get((number / u64::BITS) as usize).is_some_and(|word| word >> (number % u64::BITS) & 1 == 1)
}

/// Of a native frame its sender's priority counts, or its class where that was raised; of all others their class.
#[inline]
fn is_as_urgent(facts: &Facts<'_>, least: Priority) -> bool {
    let by_class = facts.subject.class() <= least.class();
    match &facts.native {
        Some(native) => {
            let raised = Marks(facts.subject.header.marks).has(Marks::RAISED);
            native.priority >= least || (raised && by_class)
        }
        None => by_class,
    }
}

/// Whether an order is what an operator asks for.
#[inline]
pub(super) fn holds(op: NumberOp, order: Ordering) -> bool {
    match op {
        NumberOp::Equal => order.is_eq(),
        NumberOp::Unequal => order.is_ne(),
        NumberOp::Less => order.is_lt(),
        NumberOp::LessOrEqual => order.is_le(),
        NumberOp::Greater => order.is_gt(),
        NumberOp::GreaterOrEqual => order.is_ge(),
    }
}
