//! Hot path: an event as processors look at it.
//!
//! Invariant: what is read of a payload is read by the decoder of its protocol; any bytes give an answer.

use super::key;
use crate::event::{Class, EventHeader, Protocol, ShardId};
use crate::wire::native::NativeEvent;
use crate::wire::{self, Entry};

/// An event, and where it comes from.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The shard that accepted it.
    pub shard: ShardId,
    /// Index of its feed or inlet among all: those of the configuration in their order, feeds first, then each shard's
    /// inlets; behind them a shard's own that nobody configured.
    pub feed: u32,
    /// Its header.
    pub header: &'a EventHeader,
    /// The message, from its type field on.
    pub payload: &'a [u8],
}

impl<'a> Subject<'a> {
    /// Its protocol.
    #[inline]
    pub fn protocol(&self) -> Protocol {
        Protocol::from_u8(self.header.protocol).unwrap_or(Protocol::Native)
    }

    /// Its class.
    #[inline]
    pub fn class(&self) -> Class {
        Class::from_u8(self.header.class).unwrap_or(Class::Batch)
    }

    /// Topic and payload of a native frame; `None` for other protocols.
    #[inline]
    pub fn native(&self) -> Option<NativeEvent<'a>> {
        if self.protocol() != Protocol::Native {
            return None;
        }
        wire::native::read(self.payload).ok()
    }

    /// Tells `found` what the message says of books and trades.
    #[inline]
    pub fn entries(&self, found: &mut impl FnMut(Entry)) {
        wire::entries(self.protocol(), self.header.kind, self.payload, found);
    }

    /// The key of what must be processed in the order in which it came: [`key::order_key`].
    #[inline]
    pub fn order_key(&self) -> u64 {
        key::order_key(self.protocol(), self.header.stream, self.payload)
    }

    /// The key of events of which the newest may stand for all: [`key::conflation_key`].
    #[inline]
    pub fn conflation_key(&self) -> u64 {
        key::conflation_key(self.protocol(), self.header.kind, self.header.stream, self.payload)
    }
}
