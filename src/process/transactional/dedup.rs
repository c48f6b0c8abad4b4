//! Hot path: the idempotency window: which events were processed within the last hour, exactly.
//!
//! Invariant: an id is found if and only if it was inserted less than the window ago and was not evicted early, which is
//! counted. All memory is taken and touched at the start; nothing is ever rehashed or moved to grow.
//!
//! Entries stand in a ring in the order of their times, so that the oldest is always at hand. A table with three
//! places for each entry finds them: a place has 32 bits of the id's hash and the entry's index. So a new id costs one
//! look into the table; the ring is read only where the 32 bits are equal, to compare the whole id. The same 32 bits say
//! where a place's search began, so that a removed place is closed by moving its neighbours: there are no tombstones, and
//! the millionth eviction costs what the first did.

use super::EventId;
use crate::event::Nanos;
use foldhash::quality::RandomState;
use std::hash::{BuildHasher, Hasher};

/// A place of the table that has no entry. No entry has this index.
const EMPTY: u64 = u64::MAX;

/// Entries whose time is over that an insertion removes: more than the one that it adds.
const EXPIRIES_PER_INSERT: usize = 2;

/// Entries whose time is over that a turn removes: some microseconds.
const EXPIRIES_PER_TURN: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: EventId,
    inserted_ns: Nanos,
}

/// Ids of events that were processed lately.
pub struct DedupWindow {
    // Seeded at random: nobody outside knows which ids are neighbours in the table.
    hasher: RandomState,
    places: Box<[u64]>,
    entries: Box<[Entry]>,
    // Index of the oldest entry, and entries from there on, round and round.
    oldest: usize,
    len: usize,
    window_ns: Nanos,
    newest_ns: Nanos,
    expired: u64,
    evicted_early: u64,
}

/// Places for an entry. With three, adding and evicting took half to three quarters of the time that it took with one and a
/// half, and 14 to 30 % less than with two; buckets of a cache line were no faster, and slower to look up.
const PLACES_PER_ENTRY: usize = 3;

const fn places_for(entries_max: usize) -> usize {
    entries_max * PLACES_PER_ENTRY + 1
}

impl DedupWindow {
    /// Most entries that a window can have.
    pub const ENTRIES_MAX: usize = 1 << 30;

    /// A window of `window_ns` for up to `entries_max` ids (at most [`DedupWindow::ENTRIES_MAX`]); with 0 it remembers
    /// nothing. It takes [`DedupWindow::bytes_for`] them at once.
    pub fn allocate(entries_max: usize, window_ns: Nanos) -> DedupWindow {
        let entries_max = entries_max.min(DedupWindow::ENTRIES_MAX);
        let nothing = Entry { id: EventId::default(), inserted_ns: 0 };
        DedupWindow {
            hasher: RandomState::default(),
            places: (0..places_for(entries_max)).map(|_| EMPTY).collect(),
            entries: (0..entries_max).map(|_| nothing).collect(),
            oldest: 0,
            len: 0,
            window_ns,
            newest_ns: 0,
            expired: 0,
            evicted_early: 0,
        }
    }

    /// Bytes of memory that a window of so many entries takes: 48 for each.
    pub const fn bytes_for(entries_max: usize) -> usize {
        entries_max * size_of::<Entry>() + places_for(entries_max) * size_of::<u64>()
    }

    /// Ids that are remembered, those included whose time is over and that no turn has removed yet.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Ids that there is room for.
    pub fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// Ids that were forgotten when their time was over.
    pub fn expired(&self) -> u64 {
        self.expired
    }

    /// Ids that were forgotten before, since there was no room for a newer one. A copy of theirs is processed again.
    pub fn evicted_early(&self) -> u64 {
        self.evicted_early
    }

    #[inline]
    fn tag(&self, id: &EventId) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u64(id.high());
        hasher.write_u64(id.low());
        (hasher.finish() >> 32) as u32
    }

    /// Where the search for an id with these bits begins.
    #[inline]
    fn home(&self, tag: u32) -> usize {
        ((u64::from(tag) * self.places.len() as u64) >> 32) as usize
    }

    #[inline]
    fn behind(&self, place: usize) -> usize {
        if place + 1 == self.places.len() { 0 } else { place + 1 }
    }

    /// Places from one to another, onward.
    #[inline]
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.places.len() - from }
    }

    #[inline]
    fn is_current(&self, entry: &Entry, now: Nanos) -> bool {
        now.saturating_sub(entry.inserted_ns) < self.window_ns
    }

    /// Whether an id was inserted less than the window ago.
    #[inline]
    pub fn contains(&self, id: &EventId, now: Nanos) -> bool {
        let tag = self.tag(id);
        let mut place = self.home(tag);
        // It ends: two thirds of all places are empty.
        loop {
            let held = self.places[place];
            if held == EMPTY {
                return false;
            }
            if (held >> 32) as u32 == tag
                && let entry = &self.entries[held as u32 as usize]
                && entry.id == *id
                && self.is_current(entry, now)
            {
                return true;
            }
            place = self.behind(place);
        }
    }

    /// Remembers an id that [`DedupWindow::contains`] has just not found, from `now` on. Where there is no room, the
    /// oldest is forgotten.
    #[inline]
    pub fn insert(&mut self, id: &EventId, now: Nanos) {
        let capacity = self.entries.len();
        if capacity == 0 || self.window_ns == 0 {
            return;
        }
        // The ring stays in the order of times, whatever a clock says.
        self.newest_ns = self.newest_ns.max(now);
        let now = self.newest_ns;
        self.expire(now, EXPIRIES_PER_INSERT);
        if self.len == capacity {
            self.evicted_early += 1;
            self.remove_oldest();
        }
        let end = self.oldest + self.len;
        let index = if end >= capacity { end - capacity } else { end };
        self.entries[index] = Entry { id: *id, inserted_ns: now };
        self.len += 1;
        let tag = self.tag(id);
        let mut place = self.home(tag);
        while self.places[place] != EMPTY {
            place = self.behind(place);
        }
        self.places[place] = u64::from(tag) << 32 | index as u64;
    }

    /// Forgets some of the ids whose time is over: for each turn of a processor's loop. It takes bounded time.
    #[inline]
    pub fn turn(&mut self, now: Nanos) {
        self.expire(now, EXPIRIES_PER_TURN);
    }

    #[inline]
    fn expire(&mut self, now: Nanos, entries_max: usize) {
        for _ in 0..entries_max {
            if self.len == 0 || self.is_current(&self.entries[self.oldest], now) {
                return;
            }
            self.expired += 1;
            self.remove_oldest();
        }
    }

    fn remove_oldest(&mut self) {
        let tag = self.tag(&self.entries[self.oldest].id);
        let held = u64::from(tag) << 32 | self.oldest as u64;
        let mut place = self.home(tag);
        while self.places[place] != held {
            debug_assert_ne!(self.places[place], EMPTY, "an entry is in the table");
            place = self.behind(place);
        }
        self.close(place);
        self.oldest = self.behind_entry(self.oldest);
        self.len -= 1;
    }

    #[inline]
    fn behind_entry(&self, index: usize) -> usize {
        if index + 1 == self.entries.len() { 0 } else { index + 1 }
    }

    /// Empties a place, and moves those behind it that would be cut off from where their search begins.
    #[inline]
    fn close(&mut self, mut hole: usize) {
        let mut place = self.behind(hole);
        loop {
            let held = self.places[place];
            if held == EMPTY {
                break;
            }
            let home = self.home((held >> 32) as u32);
            if self.distance(home, place) >= self.distance(hole, place) {
                self.places[hole] = held;
                hole = place;
            }
            place = self.behind(place);
        }
        self.places[hole] = EMPTY;
    }
}

impl std::fmt::Debug for DedupWindow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("DedupWindow");
        shown.field("len", &self.len).field("capacity", &self.entries.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::allocations_of_this_thread;
    use proptest::prelude::*;
    use std::collections::{HashSet, VecDeque};

    fn id(number: u64) -> EventId {
        EventId::numbered(1 + number % 3, number)
    }

    /// Every entry is found from where its search begins, and nothing else is in the table.
    fn assert_whole(window: &DedupWindow) {
        let used = window.places.iter().filter(|place| **place != EMPTY).count();
        assert_eq!(used, window.len);
        for (place, held) in window.places.iter().enumerate().filter(|(_, held)| **held != EMPTY) {
            let mut at = window.home((held >> 32) as u32);
            while at != place {
                assert_ne!(window.places[at], EMPTY, "a hole on the way");
                at = window.behind(at);
            }
        }
    }

    #[test]
    fn an_id_is_known_for_the_window_and_not_longer() {
        let mut window = DedupWindow::allocate(8, 100);
        assert!(!window.contains(&id(1), 1_000));
        window.insert(&id(1), 1_000);
        assert!(window.contains(&id(1), 1_000) && window.contains(&id(1), 1_099));
        assert!(!window.contains(&id(1), 1_100), "also where no turn has removed it");
        assert_eq!((window.len(), window.expired()), (1, 0));
        window.insert(&id(1), 1_100);
        assert!(window.contains(&id(1), 1_199));
        window.turn(1_200);
        assert_eq!((window.len(), window.expired(), window.evicted_early()), (0, 2, 0));
    }

    #[test]
    fn without_room_the_oldest_goes_first_and_is_counted() {
        let mut window = DedupWindow::allocate(4, 1_000);
        (0..6).for_each(|number| window.insert(&id(number), number));
        let known: Vec<u64> = (0..6).filter(|number| window.contains(&id(*number), 6)).collect();
        assert_eq!(known, [2, 3, 4, 5]);
        assert_eq!((window.len(), window.evicted_early(), window.expired()), (4, 2, 0));
    }

    #[test]
    fn a_window_of_nothing_knows_nothing() {
        for mut window in [DedupWindow::allocate(0, 1_000), DedupWindow::allocate(8, 0)] {
            window.insert(&id(1), 5);
            window.turn(6);
            assert!(!window.contains(&id(1), 5) && window.is_empty());
        }
    }

    #[test]
    fn a_clock_that_goes_back_breaks_no_order() {
        let mut window = DedupWindow::allocate(4, 100);
        window.insert(&id(1), 1_000);
        window.insert(&id(2), 500);
        assert!(window.contains(&id(2), 500) && window.contains(&id(2), 1_099));
        window.turn(1_100);
        assert!(window.is_empty());
    }

    #[test]
    fn memory_is_what_is_said_and_taken_once() {
        assert_eq!(DedupWindow::bytes_for(1 << 20), 48 * (1 << 20) + 8);
        let mut window = DedupWindow::allocate(1 << 12, 1 << 20);
        let before = allocations_of_this_thread();
        for number in 0..100_000 {
            if !window.contains(&id(number), number) {
                window.insert(&id(number), number);
            }
            window.turn(number);
        }
        assert_eq!(allocations_of_this_thread(), before);
        assert_eq!(window.evicted_early(), 100_000 - (1 << 12));
        assert_whole(&window);
    }

    /// The search is as long after a million evictions as when the window had just filled: places looked at for ids
    /// that are not there, which is what time is spent on.
    #[test]
    fn a_search_stays_short_however_often_ids_are_replaced() {
        let mut window = DedupWindow::allocate(1 << 14, u64::MAX);
        let searched = |window: &DedupWindow| {
            let one = |number: u64| {
                let mut place = window.home(window.tag(&EventId::numbered(9, number)));
                let mut count = 1;
                while window.places[place] != EMPTY {
                    place = window.behind(place);
                    count += 1;
                }
                count
            };
            (0..20_000).map(one).sum::<u64>() / 200
        };
        (0..1 << 14).for_each(|number| window.insert(&id(number), number));
        let full = searched(&window);
        (1 << 14..1 << 20).for_each(|number| window.insert(&id(number), number));
        let replaced = searched(&window);
        // In hundredths; 162 by theory for a table of which a third is taken.
        assert!((150..180).contains(&full) && (150..180).contains(&replaced), "{full}, {replaced}");
    }

    proptest! {
        /// A window knows exactly what a list with times knows.
        #[test]
        fn it_follows_a_list(
            capacity in 1usize..40, window_ns in 1u64..200,
            steps in prop::collection::vec((0u64..50, 0u64..20, any::<bool>()), 1..400),
        ) {
            let mut window = DedupWindow::allocate(capacity, window_ns);
            let mut list: VecDeque<(u64, Nanos)> = VecDeque::new();
            let (mut now, mut evicted) = (0, 0);
            for (number, later, turn) in steps {
                now += later;
                list.retain(|(_, inserted_ns)| now - inserted_ns < window_ns);
                if turn {
                    window.turn(now);
                }
                let known = list.iter().any(|(listed, _)| *listed == number);
                prop_assert_eq!(window.contains(&id(number), now), known);
                if !known {
                    window.insert(&id(number), now);
                    if list.len() == capacity {
                        list.pop_front();
                        evicted += 1;
                    }
                    list.push_back((number, now));
                }
                prop_assert_eq!(window.evicted_early(), evicted);
                assert_whole(&window);
            }
            let listed: HashSet<u64> = list.iter().map(|(number, _)| *number).collect();
            for number in 0..50 {
                prop_assert_eq!(window.contains(&id(number), now), listed.contains(&number));
            }
        }
    }
}
