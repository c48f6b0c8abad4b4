//! Hot path: what a rule says when it fires.
//!
//! Invariant: a plain value without a pointer: a ring carries it to a thread that may write.

use crate::config::Severity;
use crate::event::{Decimal, Nanos, Protocol, ShardId};
use crate::wire::Instrument;

/// Bytes of a topic that an alert carries.
const LABEL_BYTES: usize = 46;

/// The beginning of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    bytes: [u8; LABEL_BYTES],
    length: u8,
}

impl Label {
    /// The beginning of a text.
    #[inline]
    pub fn of(text: &[u8]) -> Label {
        let mut bytes = [0; LABEL_BYTES];
        let length = text.len().min(LABEL_BYTES);
        bytes[..length].copy_from_slice(&text[..length]);
        Label { bytes, length: length as u8 }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// What the state of a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertKey {
    /// All that the rule matches.
    Rule,
    /// An instrument of the event's feed.
    Instrument(Instrument),
    /// A topic, told by a hash of its whole name and by its beginning.
    Topic {
        /// The same in every process.
        hash: u64,
        /// The name's beginning; a topic's number in digits.
        name: Label,
    },
    /// The event's stream.
    Stream,
}

/// An alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The version of the set of rules.
    pub version: u32,
    /// Index of the rule in its set.
    pub rule: u32,
    /// How grave it is.
    pub severity: Severity,
    /// Whether it sets the kill switch.
    pub kills: bool,
    /// The event's own time: of the capture where the wire time is a capture's, else when it was received.
    pub event_ns: Nanos,
    /// When it was evaluated.
    pub now_ns: Nanos,
    /// The event's shard.
    pub shard: ShardId,
    /// Index of the event's feed or inlet among all; none of them where nobody configured it.
    pub feed: u32,
    /// The event's stream in its shard.
    pub stream: u32,
    /// The stream's epoch.
    pub epoch: u32,
    /// The event's sequence number.
    pub sequence: u64,
    /// The event's protocol.
    pub protocol: Protocol,
    /// The event's message type.
    pub kind: u16,
    /// What the rule's state is kept by.
    pub key: AlertKey,
    /// The number that the rule's first predicate of a change asked, else that of its first one of a number.
    pub value: Option<Decimal>,
    /// What it was before, for a change.
    pub previous: Option<Decimal>,
    /// How many hits within the window it took; 1 without one.
    pub count: u32,
}
