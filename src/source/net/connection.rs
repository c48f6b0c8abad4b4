//! Hot path: one connection's place: its socket, what came and was not taken yet, and what the kernel still does for it.
//! Invariant: a place is free again only when no request of the kernel names it any more.

use crate::event::{CloseReason, Nanos};
use crate::os::uring::Chunk;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is none.
    #[default]
    Free,
    /// We asked a server for it.
    Connecting,
    /// Bytes come and go.
    Open,
    /// It ends: what is still to be said is said, requests are being withdrawn.
    Closing,
}

/// A place for a connection.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) phase: Phase,
    pub(super) inlet: u16,
    pub(super) generation: u32,
    pub(super) socket: Option<OwnedFd>,
    pub(super) peer: Option<IpAddr>,
    /// Whether a receive is with the kernel, and whether its end was asked for.
    pub(super) receiving: bool,
    pub(super) withdrawing: bool,
    /// Chunks that came and are not taken, oldest first, and before them what was copied out of older ones.
    pub(super) pending: VecDeque<Chunk>,
    pub(super) spilled: Vec<u8>,
    pub(super) spilled_at: usize,
    /// Since when it waits for room.
    pub(super) waiting_since: Option<Nanos>,
    /// Why no byte will come any more.
    pub(super) end: Option<CloseReason>,
    /// When bytes came last, or were asked for after a pause of ours.
    pub(super) asked_ns: Nanos,
    /// Whether its reading side was shut, because the appliance stops.
    pub(super) shut: bool,
    /// Whether it is on the list of those to be served, and on that of those without a buffer.
    pub(super) listed: bool,
    pub(super) starved: bool,
    /// Bytes of a reply that is being sent, since when, and whether there is more to say behind it.
    pub(super) sending: usize,
    pub(super) sending_since: Nanos,
    pub(super) more_to_say: bool,
    /// Whether its peer was told something since it began to close, and that nothing follows.
    pub(super) spoke: bool,
    pub(super) finished: bool,
    /// Whether nothing is left to do but to wait for the ends of its requests: none is made any more.
    pub(super) over: bool,
    pub(super) reason: Option<CloseReason>,
    pub(super) closing_since: Nanos,
}

/// Chunks that a connection can hold before its list of them grows.
const PENDING_CHUNKS: usize = 64;

impl Slot {
    /// A free place.
    pub(super) fn new() -> Slot {
        Slot { pending: VecDeque::with_capacity(PENDING_CHUNKS), ..Slot::default() }
    }

    /// Whether nothing that came is left to be shown.
    #[inline]
    pub(super) fn is_served(&self) -> bool {
        self.pending.is_empty() && self.spilled_at == self.spilled.len()
    }

    /// Bytes that came and are not taken.
    pub(super) fn pending_bytes(&self) -> u64 {
        let chunks: usize = self.pending.iter().map(Chunk::len).sum();
        (chunks + self.spilled.len() - self.spilled_at) as u64
    }

    /// Makes the place free for another connection.
    pub(super) fn clear(&mut self) {
        debug_assert!(self.pending.is_empty() && !self.receiving && self.sending == 0);
        let pending = std::mem::take(&mut self.pending);
        let generation = crate::os::uring::Token::next_generation(self.generation);
        // Its index may still be on the lists.
        let (listed, starved) = (self.listed, self.starved);
        *self = Slot { pending, generation, listed, starved, ..Slot::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_free_again_is_on_the_lists_that_it_was_on() {
        let mut slot = Slot { listed: true, starved: true, phase: Phase::Closing, over: true, ..Slot::new() };
        slot.clear();
        assert!(slot.listed && slot.starved, "so that it is entered once");
        assert_eq!((slot.phase, slot.over, slot.generation), (Phase::Free, false, 1));
    }
}
