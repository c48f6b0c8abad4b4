//! Hot path: what tells an event from all others, where anything does.
//!
//! Invariant: two events have the same identity only if their sender says that they are one, or, for version 1 frames,
//! if they are equal to the last byte (but for a chance of 2^-128 that no sender can raise).

use crate::event::Protocol;
use crate::process::Subject;
use crate::wire::{native, native_v2};
use std::hash::{BuildHasher, Hasher, RandomState};

/// What an event is known by: its producer and its number there, or 128 bits of a hash of its content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EventId {
    high: u64,
    low: u64,
}

impl EventId {
    /// The identity of a producer's numbered event.
    pub const fn numbered(producer: u64, sequence: u64) -> EventId {
        EventId { high: producer, low: sequence }
    }

    /// Producer, or the upper half of the content's hash.
    pub(super) const fn high(&self) -> u64 {
        self.high
    }

    /// Number, or the lower half of the content's hash.
    pub(super) const fn low(&self) -> u64 {
        self.low
    }
}

/// How events are identified.
///
/// Native frames of version 2 go by producer and number, whatever else they say: an id that comes again under another
/// topic or with another payload is a copy. Version 1 frames have nothing that identifies them; where it is wished they
/// go by their content: priority, topic and payload. Numberless frames of version 2 and the messages of market data
/// have no identity: what the latter have (stream and sequence) was judged when lines were arbitrated.
#[derive(Clone, Debug)]
pub(super) struct Identities {
    contents: Option<RandomState>,
}

impl Identities {
    pub(super) fn new(of_contents: bool) -> Identities {
        Identities { contents: of_contents.then(RandomState::new) }
    }

    /// An event's identity; `None` for those without.
    #[inline]
    pub(super) fn of(&self, subject: &Subject<'_>) -> Option<EventId> {
        if subject.protocol() != Protocol::Native {
            return None;
        }
        if subject.payload.starts_with(&native_v2::MAGIC) {
            let event = native_v2::read_event(subject.payload).ok()?;
            let numbered = event.producer != 0 && event.sequence != 0;
            return numbered.then(|| EventId::numbered(event.producer, event.sequence));
        }
        let hasher = self.contents.as_ref()?;
        native::parse_body(subject.payload).ok()?;
        Some(content_id(hasher, subject.payload))
    }
}

/// Two words of SipHash under a key of this process: strangers send these frames, and must not be able to make one that
/// passes for another.
#[inline]
fn content_id(hasher: &RandomState, body: &[u8]) -> EventId {
    let half = |which: u8| {
        let mut hasher = hasher.build_hasher();
        hasher.write_u8(which);
        hasher.write(body);
        hasher.finish()
    };
    EventId { high: half(0), low: half(1) }
}
