//! Hot path: the pool as its shard uses it, and the reader that processors use.
//!
//! Invariant: a slot is written only through `&mut Ticket` and read only through `&Ticket`, so Rust's own borrow
//! rules, applied to the ticket, keep its bytes from being written and read at once.
#![expect(unsafe_code, reason = "a borrowed ticket is the permission that the slab asks for")]

use super::classes::SlotClass;
use super::free::FreeLists;
use super::slab::{EventRef, Slab};
use super::ticket::{Mark, Place, Ticket};
use crate::event::{EventHeader, ShardId};
use rtrb::Consumer;
use std::sync::Arc;

/// The event pool of one shard. Made by [`Pool::create`]; all its memory is taken there.
pub struct Pool {
    pub(super) slab: Arc<Slab>,
    pub(super) mark: Mark,
    pub(super) free: FreeLists,
    // One ring home for each attached port; places, not tickets, travel in them.
    pub(super) returns: Vec<Consumer<Place>>,
    pub(super) slots: u32,
}

/// Reads events by their tickets, on any thread. Keeps the pool's memory alive.
#[derive(Clone)]
pub struct SlotReader {
    slab: Arc<Slab>,
    mark: Mark,
}

impl Pool {
    /// The shard that the pool belongs to.
    pub fn owner(&self) -> ShardId {
        self.mark.owner()
    }

    /// A ticket for a slot that holds `payload_bytes`: of the smallest class that fits, or of the next larger one
    /// that has a free slot. `None` if all of these are taken, or if no class is that large. O(1).
    ///
    /// The slot still holds the bytes of its last event until [`write`](Pool::write).
    #[inline]
    pub fn acquire(&mut self, payload_bytes: usize) -> Option<Ticket> {
        let place = self.free.take(SlotClass::for_payload(payload_bytes)?)?;
        Some(Ticket::new(place, self.mark))
    }

    /// Writes an event into the ticket's slot. The header's `payload_bytes` becomes the payload's length.
    ///
    /// # Panics
    /// If the ticket is another pool's, or the payload is longer than the ticket's class holds.
    #[inline]
    pub fn write(&mut self, ticket: &mut Ticket, header: &EventHeader, payload: &[u8]) {
        let place = ticket.place_in(self.mark);
        // SAFETY: the ticket is borrowed exclusively, so nobody else can reach its slot.
        unsafe { self.slab.write(place, header, payload) };
    }

    /// The header in the ticket's slot, to be completed in place (the time of publishing, for one).
    ///
    /// # Panics
    /// If the ticket is another pool's.
    #[inline]
    pub fn header_mut<'a>(&'a mut self, ticket: &'a mut Ticket) -> &'a mut EventHeader {
        let header = self.slab.header(ticket.place_in(self.mark));
        // SAFETY: the pointer is to a valid, aligned header. The result borrows the ticket exclusively, so until it
        // ends nobody else can reach the slot, and it borrows the pool, so the memory stays mapped.
        unsafe { &mut *header }
    }

    /// Takes a ticket back on the shard's own thread. O(1).
    ///
    /// # Panics
    /// If the ticket is another pool's.
    #[inline]
    pub fn release(&mut self, ticket: Ticket) {
        self.free.put(ticket.redeem(self.mark));
    }

    /// Takes back what has come home on the return rings; yields how many slots that were. Once a duty cycle.
    pub fn reclaim(&mut self) -> usize {
        self.reclaim_with(|_| {})
    }

    /// As [`reclaim`](Pool::reclaim), and shows the header of each event that has come home.
    pub fn reclaim_with(&mut self, mut seen: impl FnMut(&EventHeader)) -> usize {
        let mut reclaimed = 0;
        for ring in &mut self.returns {
            let waiting = ring.slots();
            if waiting == 0 {
                continue;
            }
            if let Ok(chunk) = ring.read_chunk(waiting) {
                for place in chunk {
                    // SAFETY: the place came home, so no ticket for its slot exists, and it is not on the free list yet;
                    // the reference ends before it is put there.
                    seen(unsafe { &*self.slab.header(place) });
                    self.free.put(place);
                }
                reclaimed += waiting;
            }
        }
        reclaimed
    }

    /// Whether a slot for `payload_bytes` is free, as [`acquire`](Pool::acquire) would find it. Payloads that no class
    /// holds have one nowhere.
    #[inline]
    pub fn has_slot(&self, payload_bytes: usize) -> bool {
        SlotClass::for_payload(payload_bytes).is_some_and(|class| self.free.has(class))
    }

    /// Free slots of a class. What waits on the return rings is not counted until it is reclaimed.
    #[inline]
    pub fn free(&self, class: SlotClass) -> u32 {
        self.free.count(class)
    }

    /// Slots that are not free: behind a ticket, or on their way home.
    pub fn in_flight(&self) -> u32 {
        self.slots - SlotClass::ALL.into_iter().map(|class| self.free.count(class)).sum::<u32>()
    }

    /// Bytes of packets that can be taken on such that every message in them finds a slot, whatever their sizes.
    /// Right for messages of at least two bytes on the wire each, as in every protocol decoded here.
    #[inline]
    pub fn room_bytes(&self) -> usize {
        self.free.room_bytes()
    }

    /// A reader for this pool's events.
    pub fn reader(&self) -> SlotReader {
        SlotReader { slab: Arc::clone(&self.slab), mark: self.mark }
    }
}

impl SlotReader {
    /// Asks the CPU to fetch the event's header, which another core has written: a burst of tickets is asked for
    /// before the first one is read, so that their cache misses overlap.
    #[inline]
    pub fn prefetch(&self, ticket: &Ticket) {
        self.slab.prefetch(ticket.place_in(self.mark));
    }

    /// The shard whose events this reads.
    pub fn owner(&self) -> ShardId {
        self.mark.owner()
    }

    /// The event behind a ticket.
    ///
    /// # Panics
    /// If the ticket is another pool's.
    #[inline]
    pub fn event<'a>(&'a self, ticket: &'a Ticket) -> EventRef<'a> {
        let place = ticket.place_in(self.mark);
        // SAFETY: the result borrows the ticket, so until it ends nobody can borrow the ticket exclusively to write,
        // nor release it; and it borrows the reader, so the memory stays mapped.
        unsafe { self.slab.event(place) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{PAYLOAD_BYTES_MAX, SLOT_PAYLOAD_BYTES};
    use crate::pool::PoolPlan;
    use proptest::prelude::*;

    fn pool(slots: [u32; 4]) -> Pool {
        let wish = Pool::memory_wish(None);
        Pool::create(&PoolPlan { slots }, ShardId(2), &wish).expect("a small pool can be made").0
    }

    fn payload(length: usize, seed: usize) -> Vec<u8> {
        (0..length).map(|i| (i * 31 + seed) as u8).collect()
    }

    #[test]
    fn every_slot_keeps_its_own_event() {
        let mut pool = pool([3, 3, 3, 3]);
        let reader = pool.reader();
        let mut held = Vec::new();
        for (seed, bytes) in SLOT_PAYLOAD_BYTES.into_iter().cycle().take(12).enumerate() {
            let mut ticket = pool.acquire(bytes).expect("three of each class");
            assert_eq!(ticket.class().payload_bytes(), bytes);
            let header = EventHeader { sequence: seed as u64, payload_bytes: 7, ..EventHeader::default() };
            pool.write(&mut ticket, &header, &payload(bytes, seed));
            pool.header_mut(&mut ticket).publish_ns = 1_000 + seed as u64;
            held.push((seed, bytes, ticket));
        }
        assert_eq!(pool.in_flight(), 12);
        for (seed, bytes, ticket) in held {
            let event = reader.event(&ticket);
            assert_eq!(event.header.sequence, seed as u64);
            assert_eq!(event.header.publish_ns, 1_000 + seed as u64);
            assert_eq!(event.header.payload_bytes as usize, bytes);
            assert_eq!(event.payload, payload(bytes, seed));
            assert_eq!(event.payload.as_ptr() as usize % 64, 0);
            pool.release(ticket);
        }
        assert_eq!(pool.in_flight(), 0);
    }

    #[test]
    fn an_empty_class_is_helped_by_larger_ones_only() {
        let mut pool = pool([1, 0, 1, 1]);
        let classes: Vec<Ticket> = std::iter::from_fn(|| pool.acquire(10)).collect();
        assert_eq!(classes.iter().map(|t| t.class().index()).collect::<Vec<_>>(), [0, 2, 3]);
        assert!(pool.acquire(0).is_none());
        assert_eq!(pool.room_bytes(), 0);
        let mut classes = classes.into_iter();
        classes.next().into_iter().for_each(|ticket| pool.release(ticket));
        assert!(pool.acquire(65).is_none(), "a smaller slot is no help");
        assert!(pool.acquire(PAYLOAD_BYTES_MAX + 1).is_none());
        classes.for_each(|ticket| pool.release(ticket));
        assert_eq!(SlotClass::ALL.map(|class| pool.free(class)), [1, 0, 1, 1]);
    }

    #[test]
    fn the_slot_that_came_home_last_goes_out_first() {
        let mut pool = pool([4, 0, 0, 0]);
        let mut port = pool.attach();
        let mut tickets: Vec<Ticket> = std::iter::from_fn(|| pool.acquire(1)).collect();
        let last = tickets[3].place_in(pool.mark);
        port.give_back(&mut tickets);
        assert_eq!((pool.free(SlotClass::ALL[0]), pool.reclaim(), pool.reclaim()), (0, 4, 0));
        let warm = pool.acquire(1).expect("four are free");
        assert_eq!(warm.place_in(pool.mark), last);
        pool.release(warm);
    }

    #[test]
    fn a_lying_length_is_cut_to_the_slot() {
        let mut pool = pool([1, 0, 0, 0]);
        let mut ticket = pool.acquire(1).expect("one is free");
        pool.write(&mut ticket, &EventHeader::default(), b"x");
        pool.header_mut(&mut ticket).payload_bytes = u32::MAX;
        assert_eq!(pool.reader().event(&ticket).payload.len(), 64);
        pool.release(ticket);
    }

    #[test]
    #[should_panic(expected = "longer than its slot")]
    fn a_payload_longer_than_its_slot_is_refused() {
        let mut pool = pool([1, 0, 0, 0]);
        let mut ticket = pool.acquire(64).expect("one is free");
        pool.write(&mut ticket, &EventHeader::default(), &[0; 65]);
    }

    #[test]
    fn tickets_of_another_pool_are_refused_everywhere() {
        let uses: [fn(&mut Pool, Ticket); 4] = [
            |pool, ticket| pool.release(ticket),
            |pool, mut ticket| pool.write(&mut ticket, &EventHeader::default(), b""),
            |pool, mut ticket| pool.header_mut(&mut ticket).sequence = 1,
            |pool, ticket| assert!(pool.reader().event(&ticket).payload.is_empty()),
        ];
        for misuse in uses {
            // Both pools are shard 2's: the mark tells them apart, not the owner.
            let (mut one, mut other) = (pool([1, 0, 0, 0]), pool([1, 0, 0, 0]));
            let ticket = other.acquire(1).expect("one is free");
            let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| misuse(&mut one, ticket)));
            let text = refused.expect_err("must panic");
            let text = text.downcast_ref::<String>().expect("a formatted text");
            assert!(text.starts_with("a ticket of another pool (shard 2)"), "{text}");
        }
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "dropped without release")]
    fn a_dropped_ticket_panics_in_debug_builds() {
        drop(pool([1, 0, 0, 0]).acquire(1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever the sizes, messages that add up to `room_bytes` all find slots, also when slots are given back
        /// in between.
        #[test]
        fn all_messages_within_the_room_find_slots(
            slots in [0u32..40, 0u32..20, 0u32..6, 0u32..4],
            held in prop::collection::vec(0usize..3_000, 0..30),
            sizes in prop::collection::vec(
                prop_oneof![Just(2usize), 2usize..70, 60usize..200, 190usize..4_000, Just(65_536)],
                1..60,
            ),
            homecomings in prop::collection::vec(any::<bool>(), 60),
        ) {
            prop_assume!(slots.iter().sum::<u32>() > 0);
            let mut pool = pool(slots);
            let mut held: Vec<Ticket> = held.into_iter().filter_map(|bytes| pool.acquire(bytes)).collect();
            let mut room = pool.room_bytes();
            let mut taken = Vec::new();
            for (bytes, home) in sizes.into_iter().cycle().zip(homecomings.into_iter().cycle()) {
                // The last message takes what is left.
                let bytes = bytes.min(room);
                if bytes < 2 {
                    break;
                }
                room -= bytes;
                if home {
                    held.pop().into_iter().for_each(|ticket| pool.release(ticket));
                }
                let found = pool.acquire(bytes);
                let missed = found.is_none();
                taken.extend(found);
                if missed {
                    taken.drain(..).chain(held.drain(..)).for_each(|ticket| pool.release(ticket));
                    prop_assert!(false, "no slot for {} bytes although {} bytes of room are left", bytes, room);
                }
            }
            taken.into_iter().chain(held).for_each(|ticket| pool.release(ticket));
            prop_assert_eq!(pool.in_flight(), 0);
        }

        /// The room is not smaller than it must be: for some class, messages of the least length that needs it,
        /// one more than the room holds, do not all find a slot.
        #[test]
        fn the_room_is_tight(slots in [0u32..40, 0u32..20, 0u32..6, 0u32..4]) {
            prop_assume!(slots.iter().sum::<u32>() > 0);
            let mut pool = pool(slots);
            let room = pool.room_bytes();
            let mut exceeded = false;
            for class in SlotClass::ALL {
                let bytes = class.wire_bytes_min();
                let found: Vec<Ticket> = (0..=room / bytes).map_while(|_| pool.acquire(bytes)).collect();
                exceeded |= found.len() <= room / bytes;
                found.into_iter().for_each(|ticket| pool.release(ticket));
            }
            prop_assert!(exceeded);
        }
    }
}
