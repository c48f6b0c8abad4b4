//! Makes a program of rules: off the hot path, for it allocates all that the program will ever need.
//!
//! Invariant: what a rule says is compiled or refused; nothing is left out in silence.

use super::fields::{NumberSource, Span, TextSource};
use super::keys::RuleState;
use super::places::Places;
use super::program::{Bucket, Change, Check, Compiled, DIRECT_KINDS, Plan, Program};
use crate::config::{NumberField, Predicate, Rule, RuleAction, RuleMatch, Symbol, TextField, TextOp};
use crate::event::Protocol;
use crate::limits::RULES_MAX;
use crate::process::{PatternError, TopicPattern};
use crate::wire::{Action, Instrument};
use hashbrown::HashMap;
use memchr::memmem::Finder;
use std::collections::BTreeMap;

/// Why there is no program. Rules of a checked file always make one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Too many rules.
    #[error("{0} rules; allowed: up to {RULES_MAX}")]
    TooMany(usize),
    /// A pattern is none.
    #[error("rule {rule:?}: {pattern:?} is no pattern: {cause}")]
    Pattern {
        /// The rule's id.
        rule: String,
        /// What was written.
        pattern: String,
        /// What is wrong with it.
        cause: PatternError,
    },
    /// An action has a name that no decoder gives.
    #[error("rule {rule:?}: {name:?} is no action of an entry")]
    Action {
        /// The rule's id.
        rule: String,
        /// What was written.
        name: &'static str,
    },
}

/// Lists of rules while they grow.
#[derive(Default)]
struct Draft {
    of_events: Vec<u32>,
    of_entries: Vec<u32>,
    has_topics: bool,
    has_symbols: bool,
}

#[derive(Default)]
struct Drafts {
    by_protocol: [Draft; Protocol::ALL.len()],
    by_kind: BTreeMap<(u8, u16), Draft>,
    by_symbol: BTreeMap<(u8, u64), (Option<Instrument>, Vec<u32>)>,
    by_topic: BTreeMap<Box<[u8]>, Vec<u32>>,
}

impl Program {
    /// Compiles rules for events that come in at these places. `before` are the rules of the program that it will
    /// replace, with its version: those that are the same will keep what they remember.
    ///
    /// # Errors
    /// The rules are not those of a checked file.
    pub fn compile(
        rules: &[Rule],
        places: &Places,
        version: u32,
        before: Option<(u32, &[Rule])>,
    ) -> Result<Program, CompileError> {
        if rules.len() > RULES_MAX {
            return Err(CompileError::TooMany(rules.len()));
        }
        let mut plan = empty_plan(places, version);
        let mut drafts = Drafts::default();
        for (rule, index) in rules.iter().zip(0u32..) {
            let (compiled, exact_topic) = plan.add(rule)?;
            plan.rules.push(compiled);
            if rule.enabled {
                drafts.enter(rule, index, exact_topic);
            }
        }
        plan.index(drafts);
        let (follows, kept) = match before {
            None => (version, Vec::new()),
            Some((follows, old)) => (follows, same(old, rules)),
        };
        let states = rules.iter().map(state).collect();
        Ok(Program { plan, states, kept, follows })
    }
}

fn state(rule: &Rule) -> RuleState {
    match rule.enabled {
        true => RuleState::allocate(rule),
        // Nobody will ask it.
        false => RuleState::allocate(&Rule {
            window: None,
            cooldown_ns: 0,
            predicates: Vec::new(),
            ..rule.clone()
        }),
    }
}

/// The rules that are the same in both sets, by id and in every other respect.
fn same(old: &[Rule], new: &[Rule]) -> Vec<(u32, u32)> {
    let by_id: HashMap<&str, u32> = old.iter().map(|rule| rule.id.as_str()).zip(0u32..).collect();
    let of = |(rule, index): (&Rule, u32)| {
        let before = *by_id.get(rule.id.as_str())?;
        (old[before as usize] == *rule).then_some((before, index))
    };
    new.iter().zip(0u32..).filter_map(of).collect()
}

fn empty_plan(places: &Places, version: u32) -> Plan {
    Plan {
        version,
        places: places.clone(),
        by_protocol: [Bucket::EMPTY; Protocol::ALL.len()],
        direct: vec![[0; DIRECT_KINDS]; Protocol::ALL.len()],
        wide: Vec::new(),
        buckets: vec![Bucket::EMPTY],
        lists: Vec::new(),
        by_symbol: HashMap::default(),
        by_topic: HashMap::default(),
        rules: Vec::new(),
        kinds: Vec::new(),
        checks: Vec::new(),
        changes: Vec::new(),
        place_bits: Vec::new(),
        texts: Vec::new(),
        finders: Vec::new(),
    }
}

/// Appends to a flat array; where it stands there.
fn append<T>(array: &mut Vec<T>, items: impl IntoIterator<Item = T>) -> Span {
    let first = array.len() as u32;
    array.extend(items);
    Span { first, count: array.len() as u32 - first }
}

impl Plan {
    /// A rule, and the topic that it names exactly.
    #[expect(clippy::type_complexity, reason = "a rule, and the topic that it names exactly")]
    fn add(&mut self, rule: &Rule) -> Result<(Compiled, Option<Box<[u8]>>), CompileError> {
        let pattern = |text: &String| {
            TopicPattern::parse(text).map_err(|cause| CompileError::Pattern {
                rule: rule.id.clone(),
                pattern: text.clone(),
                cause,
            })
        };
        let matching = &rule.matching;
        let places = matching.feed.as_ref().map(pattern).transpose()?.map(|feeds| self.bits_of(&feeds));
        let topic = matching.topic.as_ref().map(pattern).transpose()?;
        // A rule that looks at entries is found by them, and its topic is then looked at as a pattern's.
        let is_exact = topic.as_ref().is_some_and(|topic| !topic.is_prefix()) && !rule.is_of_entries();
        let (topic, exact) = if is_exact { (None, topic) } else { (topic, None) };
        let (mut checks, mut changes) = (Vec::new(), Vec::new());
        let mut shown = None;
        for predicate in &rule.predicates {
            match predicate {
                Predicate::Number { field, measure, op, value } => {
                    let source = self.number_source(field);
                    shown = shown.or(Some(source));
                    if predicate.is_change() {
                        changes.push(Change { source, measure: *measure, op: *op, value: *value });
                    } else {
                        checks.push(Check::Number { source, op: *op, value: *value });
                    }
                }
                other => checks.push(self.check(other, &rule.id)?),
            }
        }
        let compiled = Compiled {
            severity: rule.severity,
            kills: rule.actions.contains(&RuleAction::KillSwitch),
            places,
            source: matching.source,
            priority: matching.priority_at_least,
            topic,
            protocol: matching.protocol,
            kinds: append(&mut self.kinds, matching.types.iter().copied()),
            checks: append(&mut self.checks, checks),
            changes: append(&mut self.changes, changes),
            shown,
            window: rule.window,
            cooldown_ns: rule.cooldown_ns,
            key_by: rule.key_by,
        };
        Ok((compiled, exact.map(|topic| topic.text().into())))
    }

    /// A check of anything but a number.
    fn check(&mut self, predicate: &Predicate, rule: &str) -> Result<Check, CompileError> {
        Ok(match predicate {
            Predicate::Side { side, is_other } => Check::Side { side: *side, is_other: *is_other },
            Predicate::Action { name, is_other } => {
                let action = ACTIONS.into_iter().find(|action| action.name() == *name);
                let action = action.ok_or(CompileError::Action { rule: rule.to_owned(), name })?;
                Check::Action { action, is_other: *is_other }
            }
            Predicate::Text { field, op, value } => {
                let finder = self.finders.len() as u32;
                if *op == TextOp::Contains {
                    self.finders.push(Finder::new(value.as_bytes()).into_owned());
                }
                let source = self.text_source(field);
                Check::Text { source, op: *op, value: append(&mut self.texts, value.bytes()), finder }
            }
            Predicate::Number { field, op, value, .. } => {
                Check::Number { source: self.number_source(field), op: *op, value: *value }
            }
        })
    }

    fn number_source(&mut self, field: &NumberField) -> NumberSource {
        match field {
            NumberField::Price => NumberSource::Price,
            NumberField::Size => NumberSource::Size,
            NumberField::Notional => NumberSource::Notional,
            NumberField::Sequence => NumberSource::Sequence,
            NumberField::PayloadBytes => NumberSource::PayloadBytes,
            NumberField::LatencyNs => NumberSource::LatencyNs,
            NumberField::EngineValue => NumberSource::EngineValue,
            NumberField::Word(key) => NumberSource::Word(append(&mut self.texts, key.bytes())),
        }
    }

    fn text_source(&mut self, field: &TextField) -> TextSource {
        match field {
            TextField::Instrument => TextSource::Instrument,
            TextField::Topic => TextSource::Topic,
            TextField::Payload => TextSource::Payload,
            TextField::Word(key) => TextSource::Word(append(&mut self.texts, key.bytes())),
        }
    }

    fn bits_of(&mut self, pattern: &TopicPattern) -> Span {
        let mut bits = vec![0u64; self.places.count().div_ceil(u64::BITS) as usize];
        for number in self.places.meant(pattern) {
            bits[(number / u64::BITS) as usize] |= 1 << (number % u64::BITS);
        }
        append(&mut self.place_bits, bits)
    }

    /// Lays the drafts out flat.
    fn index(&mut self, drafts: Drafts) {
        for (protocol, draft) in drafts.by_protocol.into_iter().enumerate() {
            self.by_protocol[protocol] = self.bucket(draft);
        }
        for ((protocol, kind), draft) in drafts.by_kind {
            let bucket = self.bucket(draft);
            let index = self.buckets.len() as u32;
            self.buckets.push(bucket);
            match self.direct[usize::from(protocol)].get_mut(usize::from(kind)) {
                Some(place) => *place = index,
                None => self.wide.push(((protocol, kind), index)),
            }
        }
        for (instrument, rules) in drafts.by_symbol.into_values() {
            let span = append(&mut self.lists, rules);
            self.by_symbol.extend(instrument.map(|instrument| (instrument, span)));
        }
        for (topic, rules) in drafts.by_topic {
            let span = append(&mut self.lists, rules);
            self.by_topic.insert(topic, span);
        }
    }

    fn bucket(&mut self, draft: Draft) -> Bucket {
        Bucket {
            of_events: append(&mut self.lists, draft.of_events),
            of_entries: append(&mut self.lists, draft.of_entries),
            has_topics: draft.has_topics,
            has_symbols: draft.has_symbols,
        }
    }
}

const ACTIONS: [Action; 8] = [
    Action::Add,
    Action::Change,
    Action::Reduce,
    Action::Delete,
    Action::Execute,
    Action::Trade,
    Action::Break,
    Action::Quote,
];

impl Drafts {
    /// Enters a rule wherever an event may find it.
    fn enter(&mut self, rule: &Rule, index: u32, exact_topic: Option<Box<[u8]>>) {
        let RuleMatch { protocol, types, symbols, topic, .. } = &rule.matching;
        let protocol = protocol.or(topic.as_ref().map(|_| Protocol::Native));
        let is_topic = exact_topic.is_some();
        let note = |draft: &mut Draft| match () {
            () if is_topic => draft.has_topics = true,
            () if !symbols.is_empty() => draft.has_symbols = true,
            () if rule.is_of_entries() => draft.of_entries.push(index),
            () => draft.of_events.push(index),
        };
        for each in Protocol::ALL.into_iter().filter(|each| protocol.is_none_or(|wanted| wanted == *each)) {
            if types.is_empty() {
                note(&mut self.by_protocol[each as usize]);
            }
            for kind in types {
                note(self.by_kind.entry((each as u8, *kind)).or_default());
            }
        }
        if let Some(topic) = exact_topic {
            self.by_topic.entry(topic).or_default().push(index);
        }
        for symbol in symbols {
            let (sort, instrument) = match *symbol {
                Symbol::Name(name) => ((0, u64::from_be_bytes(name)), Instrument::Symbol(name)),
                Symbol::Number(number) => ((1, number), Instrument::Number(number)),
                Symbol::Implied(number) => ((2, number), Instrument::Implied(number)),
            };
            let (place, rules) = self.by_symbol.entry(sort).or_default();
            *place = Some(instrument);
            // A symbol that is listed twice is one.
            if rules.last() != Some(&index) {
                rules.push(index);
            }
        }
    }
}
