//! Messages that are held back, copied, for outlets off the hot path: those that count, list or compare.
//!
//! Invariant: a place is one message's until it is released.

use super::Accepted;
use crate::event::{MessageReject, Nanos};
use crate::limits::HELD_MAX;
use crate::wire::Message;

#[derive(Debug)]
struct Copy {
    sequence: u64,
    kind: u16,
    source_ns: Nanos,
    body: Vec<u8>,
    accepted: Accepted,
}

/// Copies of held messages.
#[derive(Debug, Default)]
pub struct HeldCopies {
    copies: Vec<Option<Copy>>,
    free: Vec<u32>,
}

impl HeldCopies {
    /// Copies a message, and returns its place.
    ///
    /// # Errors
    /// [`MessageReject::PoolExhausted`] when [`HELD_MAX`] are held.
    pub fn hold(&mut self, message: &Message<'_>, accepted: &Accepted) -> Result<u32, MessageReject> {
        let copy = Copy {
            sequence: message.sequence,
            kind: message.kind,
            source_ns: message.source_ns,
            body: message.body.to_owned(),
            accepted: *accepted,
        };
        if let Some(place) = self.free.pop() {
            self.copies[place as usize] = Some(copy);
            return Ok(place);
        }
        if self.copies.len() == HELD_MAX {
            return Err(MessageReject::PoolExhausted);
        }
        self.copies.push(Some(copy));
        Ok(self.copies.len() as u32 - 1)
    }

    /// Shows the message at a place, which is free then.
    pub fn release(&mut self, held: u32, show: impl FnOnce(&Message<'_>, &Accepted)) {
        let Some(copy) = self.copies.get_mut(held as usize).and_then(Option::take) else { return };
        self.free.push(held);
        let Copy { sequence, kind, source_ns, body, accepted } = copy;
        show(&Message { sequence, kind, source_ns, body: &body }, &accepted);
    }

    /// How many are held.
    pub fn len(&self) -> usize {
        self.copies.len() - self.free.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
