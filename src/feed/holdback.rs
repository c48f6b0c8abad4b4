//! Hot path: which messages a stream holds back behind a gap, in the order of their numbers.
//!
//! Invariant: rings are allocated at boot and lent to streams while they hold anything back; the messages themselves are
//! with the outlet, which gave a place for each.

use super::FeedPolicy;
use crate::limits::{HELD_MAX, HOLDING_BYTES_MAX, HOLDING_STREAMS_MAX};

const NIL: u32 = u32::MAX;

/// The messages of one number, a chain through the store's links.
#[derive(Clone, Copy, Debug)]
struct Chain {
    first: u32,
    last: u32,
}

const EMPTY: Chain = Chain { first: NIL, last: NIL };

/// What one stream holds back.
#[derive(Debug)]
pub(super) struct HoldRing {
    chains: Box<[Chain]>,
    /// The next number to be delivered.
    pub(super) cursor: u64,
    /// The number behind the highest that is known of, held or not.
    pub(super) known_next: u64,
}

impl HoldRing {
    #[inline]
    fn place(&self, sequence: u64) -> usize {
        (sequence % self.chains.len() as u64) as usize
    }
}

/// Rings for streams, and the links between messages of one number.
#[derive(Debug)]
pub(super) struct HoldStore {
    spare: Vec<HoldRing>,
    links: Box<[u32]>,
}

impl HoldStore {
    /// How many streams can hold back windows of that size.
    fn rings_for(window: u64) -> usize {
        let affordable = HOLDING_BYTES_MAX / (window as usize * size_of::<Chain>());
        affordable.min(HOLDING_STREAMS_MAX)
    }

    /// Allocates what feeds with these policies hold back in.
    pub(super) fn for_policies(policies: &[FeedPolicy]) -> HoldStore {
        let in_order = policies.iter().filter(|policy| policy.is_in_order());
        let window = in_order.map(|policy| policy.window).max();
        window.map_or(HoldStore::allocate(0, 0), |window| {
            HoldStore::allocate(HoldStore::rings_for(window), window)
        })
    }

    /// Allocates `rings` rings for windows of up to `window` numbers; none at all for 0.
    pub(super) fn allocate(rings: usize, window: u64) -> HoldStore {
        let ring = || HoldRing {
            chains: std::iter::repeat_n(EMPTY, window as usize).collect(),
            cursor: 0,
            known_next: 0,
        };
        let links = if rings > 0 { HELD_MAX } else { 0 };
        HoldStore {
            spare: std::iter::repeat_with(ring).take(rings).collect(),
            links: std::iter::repeat_n(NIL, links).collect(),
        }
    }

    /// Lends a ring to a stream whose next number to be delivered is `cursor`.
    pub(super) fn lend(&mut self, cursor: u64) -> Option<HoldRing> {
        let mut ring = self.spare.pop()?;
        (ring.cursor, ring.known_next) = (cursor, cursor);
        Some(ring)
    }

    /// Takes back a ring that holds nothing.
    pub(super) fn give_back(&mut self, ring: HoldRing) {
        self.spare.push(ring);
    }

    /// Adds a message, by its place with the outlet, to those of its number.
    #[inline]
    pub(super) fn add(&mut self, ring: &mut HoldRing, sequence: u64, held: u32) {
        let place = ring.place(sequence);
        let chain = &mut ring.chains[place];
        self.links[held as usize] = NIL;
        match chain.first {
            NIL => chain.first = held,
            _ => self.links[chain.last as usize] = held,
        }
        chain.last = held;
    }

    /// Takes out the messages of a number, in the order in which they came.
    #[inline]
    pub(super) fn take(&mut self, ring: &mut HoldRing, sequence: u64) -> Released<'_> {
        let place = ring.place(sequence);
        let chain = std::mem::replace(&mut ring.chains[place], EMPTY);
        Released { next: chain.first, links: &self.links }
    }
}

/// Places of messages that are no longer held back.
pub(super) struct Released<'a> {
    next: u32,
    links: &'a [u32],
}

impl Iterator for Released<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        let held = self.next;
        self.next = *self.links.get(held as usize)?;
        Some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_a_number_keep_their_order() {
        let mut store = HoldStore::allocate(1, 8);
        let mut ring = store.lend(5).expect("a ring");
        assert!(store.lend(5).is_none());
        for (sequence, held) in [(7, 3), (6, 1), (7, 0), (7, 9)] {
            store.add(&mut ring, sequence, held);
        }
        assert_eq!(store.take(&mut ring, 5).count(), 0);
        assert_eq!(store.take(&mut ring, 6).collect::<Vec<_>>(), [1]);
        assert_eq!(store.take(&mut ring, 7).collect::<Vec<_>>(), [3, 0, 9]);
        assert_eq!(store.take(&mut ring, 7).count(), 0);
        store.give_back(ring);
        assert!(store.lend(1).is_some());
    }
}
