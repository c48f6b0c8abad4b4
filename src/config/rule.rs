//! Alert rules, typed: what they match, what they ask, and what they do.
//!
//! Invariant: whoever holds a [`Rule`] holds checked values within the limits; two rules are the same rule when they
//! are equal, and then a new set keeps what the old one remembered.

use crate::event::{Decimal, Nanos, Priority, Protocol, Side};
use crate::limits::{RULE_KEYS, RULE_KEYS_MAX};
use serde::{Deserialize, Serialize};

/// How grave an alert is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// To be looked at.
    #[default]
    Warning,
    /// Something is wrong.
    Error,
    /// Something is wrong and costs money now.
    Critical,
}

impl Severity {
    /// All severities, rising.
    pub const ALL: [Severity; 4] = [Severity::Info, Severity::Warning, Severity::Error, Severity::Critical];

    /// The name used in rules, logs and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Critical => "critical",
        }
    }
}

/// By what kind of source an event came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// From a capture file, taken flat out: its wire time is the capture's.
    Capture,
    /// From a feed's line: an interface, or a capture that is replayed at its own speed.
    Interface,
    /// From a listener, a connector, or the host's figures.
    Socket,
}

/// What the state of a rule is kept by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyBy {
    /// By instrument for rules that look at entries, else by topic for native frames, else by stream.
    #[default]
    Auto,
    /// By instrument of a feed; only entries have one.
    Instrument,
    /// By topic; only native frames have one.
    Topic,
    /// By stream of a shard.
    Stream,
    /// Everything that matches together.
    Rule,
}

/// A symbol or number that a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Symbol {
    /// Up to eight bytes, padded with spaces.
    Name([u8; 8]),
    /// A number.
    Number(u64),
    /// A number's book of implied prices.
    Implied(u64),
}

/// What events a rule is about. What is left out means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleMatch {
    /// Name of the feed, listener or connector, or its beginning with a star behind it.
    pub feed: Option<String>,
    /// The protocol.
    pub protocol: Option<Protocol>,
    /// Pattern of the topic; only native frames have one.
    pub topic: Option<String>,
    /// Message types of the protocol, sorted; empty for all.
    pub types: Vec<u16>,
    /// The kind of source.
    pub source: Option<SourceKind>,
    /// The least priority.
    pub priority_at_least: Option<Priority>,
    /// Instruments; empty for all, and for what is about none.
    pub symbols: Vec<Symbol>,
}

/// A field that is a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NumberField {
    /// An entry's price.
    Price,
    /// An entry's size.
    Size,
    /// An entry's price times its size.
    Notional,
    /// The event's sequence number.
    Sequence,
    /// Bytes of the message.
    PayloadBytes,
    /// From wire to receipt, ns; only where both were read from one clock.
    LatencyNs,
    /// The value of an engine20 message.
    EngineValue,
    /// The number behind `KEY=` in the payload of a native frame.
    Word(String),
}

/// A field that is a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextField {
    /// An entry's instrument.
    Instrument,
    /// A native frame's topic.
    Topic,
    /// What a native frame says; of other protocols the message's bytes.
    Payload,
    /// What stands behind `KEY=` in the payload of a native frame.
    Word(String),
}

/// What of a number is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The number itself.
    #[default]
    Value,
    /// The number less the key's last one.
    Change,
    /// The same without its sign.
    ChangeAbs,
    /// The change in basis points of the key's last number.
    ChangeBps,
    /// The same without its sign.
    ChangeBpsAbs,
}

/// How numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberOp {
    /// `==`
    Equal,
    /// `!=`
    Unequal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// How texts are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextOp {
    /// `==`
    Equal,
    /// `!=`
    Unequal,
    /// `starts_with`
    StartsWith,
    /// `contains`
    Contains,
}

/// A question that a rule asks; a field that is not there answers no, to every operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predicate {
    /// Of a number.
    Number {
        /// Which.
        field: NumberField,
        /// What of it.
        measure: Measure,
        /// How.
        op: NumberOp,
        /// With what.
        value: Decimal,
    },
    /// Of a text.
    Text {
        /// Which.
        field: TextField,
        /// How.
        op: TextOp,
        /// With what.
        value: String,
    },
    /// Of an entry's side.
    Side {
        /// The side.
        side: Side,
        /// Whether it is to be another one.
        is_other: bool,
    },
    /// Of an entry's action, by [`crate::config::ACTION_NAMES`].
    Action {
        /// The action's name.
        name: &'static str,
        /// Whether it is to be another one.
        is_other: bool,
    },
}

impl Predicate {
    /// Whether it asks an entry, and not the event as a whole.
    pub fn is_of_entry(&self) -> bool {
        match self {
            Predicate::Side { .. } | Predicate::Action { .. } => true,
            Predicate::Number { field, .. } => {
                matches!(field, NumberField::Price | NumberField::Size | NumberField::Notional)
            }
            Predicate::Text { field, .. } => *field == TextField::Instrument,
        }
    }

    /// Whether it compares with the key's last value.
    pub fn is_change(&self) -> bool {
        matches!(self, Predicate::Number { measure, .. } if *measure != Measure::Value)
    }
}

/// How often, and in what time, an event must pass before the rule fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleWindow {
    /// How often: 1 to [`crate::limits::RULE_WINDOW_COUNT_MAX`].
    pub count: u32,
    /// In what time, ns.
    pub span_ns: Nanos,
}

/// What an alert does, beside being counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleAction {
    /// Writes a line to the log.
    Log,
    /// Writes a line of JSON to the control file, under this topic.
    Publish(String),
    /// Posts it as JSON to this URL.
    Webhook(String),
    /// Sets the kill switch.
    KillSwitch,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its identity in a set.
    pub id: String,
    /// Its name for people; the id where none is given.
    pub name: String,
    /// Whether it is evaluated.
    pub enabled: bool,
    /// How grave its alerts are.
    pub severity: Severity,
    /// What it is about.
    pub matching: RuleMatch,
    /// What it asks; all must hold.
    pub predicates: Vec<Predicate>,
    /// How often they must.
    pub window: Option<RuleWindow>,
    /// How long it is quiet for a key after an alert, ns; 0 for never.
    pub cooldown_ns: Nanos,
    /// What its state is kept by.
    pub key_by: KeyBy,
    /// Keys that it follows; `None` for as many as it is likely to need.
    pub keys_max: Option<u32>,
    /// What its alerts do.
    pub actions: Vec<RuleAction>,
}

impl Rule {
    /// Whether its alerts are posted anywhere.
    pub fn posts(&self) -> bool {
        self.actions.iter().any(|action| matches!(action, RuleAction::Webhook(_)))
    }

    /// Whether it looks at entries one by one, and not at the event as a whole.
    pub fn is_of_entries(&self) -> bool {
        !self.matching.symbols.is_empty()
            || self.key_by == KeyBy::Instrument
            || self.predicates.iter().any(Predicate::is_of_entry)
    }

    /// Predicates that compare with a key's last value.
    pub fn changes(&self) -> usize {
        self.predicates.iter().filter(|predicate| predicate.is_change()).count()
    }

    /// Times that each key of its window remembers.
    pub fn window_places(&self) -> u32 {
        self.window.map_or(0, |window| window.count)
    }

    /// Keys that it follows at a time; 0 for a rule that remembers nothing.
    pub fn keys(&self) -> u32 {
        /// Feeds that a listed symbol may be on at a time.
        const FEEDS_OF_A_SYMBOL: u32 = 4;
        let remembers = self.window.is_some() || self.cooldown_ns > 0 || self.changes() > 0;
        let symbols = self.matching.symbols.len() as u32;
        match (remembers, self.keys_max, self.key_by) {
            (false, ..) => 0,
            (true, Some(keys), _) => keys,
            (true, None, KeyBy::Rule) => 1,
            (true, None, KeyBy::Auto | KeyBy::Instrument) if symbols > 0 => {
                (symbols * FEEDS_OF_A_SYMBOL).min(RULE_KEYS_MAX)
            }
            (true, None, _) => RULE_KEYS,
        }
    }

    /// Bytes that its keys take.
    pub fn state_bytes(&self) -> u64 {
        /// A key with its times and links, and its places in the table that finds it.
        const KEY_BYTES: u64 = 96;
        const TIME_BYTES: u64 = size_of::<Nanos>() as u64;
        const VALUE_BYTES: u64 = size_of::<Option<Decimal>>() as u64;
        let each =
            KEY_BYTES + u64::from(self.window_places()) * TIME_BYTES + self.changes() as u64 * VALUE_BYTES;
        u64::from(self.keys()) * each
    }
}
