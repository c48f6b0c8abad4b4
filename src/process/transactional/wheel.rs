//! Hot path: a hierarchical timing wheel for places of a slab.
//!
//! Invariant: a place is never named before it is due, and by the first poll whose time is a resolution later it is.
//! Nothing is allocated after the start: a place is in one list at most, and lists are linked through the places.
//!
//! A level has 64 lists; a list of level n spans 64^n ticks. Eleven levels span all ticks that 64 bits can count, so that
//! no delay is too long. Whatever waits on a level differs from the present tick in that level's six bits and not above:
//! so the lowest list in use of the lowest level in use is the next one, whatever there is, and empty times cost nothing.

use crate::event::Nanos;

const NIL: u32 = u32::MAX;

/// Bits of a tick that a level looks at.
const LEVEL_BITS: u32 = 6;
const LISTS_PER_LEVEL: usize = 1 << LEVEL_BITS;
/// Levels that 64 bits need.
const LEVELS: usize = u64::BITS.div_ceil(LEVEL_BITS) as usize;

#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
}

const NOTHING: List = List { head: NIL, tail: NIL };

#[derive(Clone, Copy, Debug)]
struct Link {
    next: u32,
    due_tick: u64,
}

/// Places that wait for their time. Those that are due are named in the order in which they became so; among places of
/// the same tick the order is none in particular, but the same for the same calls.
#[derive(Debug)]
pub struct TimingWheel {
    resolution_ns: Nanos,
    tick: u64,
    // For each level a bit for each list that is not empty.
    in_use: [u64; LEVELS],
    lists: [[List; LISTS_PER_LEVEL]; LEVELS],
    due: List,
    links: Box<[Link]>,
    len: usize,
}

/// The level on which a tick is waited for: that of the highest bit in which it differs from the present one.
#[inline]
fn level_of(present: u64, tick: u64) -> usize {
    let differing = (present ^ tick) | 1;
    (differing.ilog2() / LEVEL_BITS) as usize
}

#[inline]
fn list_of(level: usize, tick: u64) -> usize {
    (tick >> (LEVEL_BITS * level as u32)) as usize % LISTS_PER_LEVEL
}

impl TimingWheel {
    /// A wheel for places from 0 to `places_max` - 1, in ticks of `resolution_ns` (1 at least).
    pub fn allocate(places_max: usize, resolution_ns: Nanos) -> TimingWheel {
        TimingWheel {
            resolution_ns: resolution_ns.max(1),
            tick: 0,
            in_use: [0; LEVELS],
            lists: [[NOTHING; LISTS_PER_LEVEL]; LEVELS],
            due: NOTHING,
            links: (0..places_max).map(|_| Link { next: NIL, due_tick: 0 }).collect(),
            len: 0,
        }
    }

    /// Places that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no place waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lets a place wait until `due_ns`; with 0 it is due at once, behind those that are. The place is below `places_max`
    /// and does not wait yet; another one changes nothing.
    #[inline]
    pub fn insert(&mut self, place: u32, due_ns: Nanos) {
        let due_tick = due_ns.div_ceil(self.resolution_ns);
        let Some(link) = self.links.get_mut(place as usize) else { return };
        link.due_tick = due_tick;
        self.len += 1;
        self.enter(place, due_tick);
    }

    #[inline]
    fn enter(&mut self, place: u32, due_tick: u64) {
        if due_tick <= self.tick {
            return append(&mut self.due, &mut self.links, place);
        }
        let level = level_of(self.tick, due_tick);
        let list = list_of(level, due_tick);
        self.in_use[level] |= 1 << list;
        append(&mut self.lists[level][list], &mut self.links, place);
    }

    /// A place that is due by `now`, which waits no longer.
    ///
    /// A call moves one list of the wheel at most while others are due already: places that keep becoming due at once
    /// hold up nobody whose time has come.
    #[inline]
    pub fn poll(&mut self, now: Nanos) -> Option<u32> {
        if self.len == 0 {
            self.tick = self.tick.max(now / self.resolution_ns);
            return None;
        }
        while self.advance(now / self.resolution_ns) && self.due.head == NIL {}
        let place = self.due.head;
        let link = self.links.get(place as usize)?;
        self.due.head = link.next;
        if link.next == NIL {
            self.due.tail = NIL;
        }
        self.len -= 1;
        Some(place)
    }

    /// Forgets all that wait.
    pub fn clear(&mut self) {
        self.in_use = [0; LEVELS];
        self.lists = [[NOTHING; LISTS_PER_LEVEL]; LEVELS];
        self.due = NOTHING;
        self.len = 0;
    }

    /// Goes on to the next list in use that begins by `tick`, and lets its places wait on lower levels or be due; returns
    /// whether there was one.
    #[inline]
    fn advance(&mut self, tick: u64) -> bool {
        let Some(level) = self.in_use.iter().position(|lists| *lists != 0) else {
            self.tick = self.tick.max(tick);
            return false;
        };
        let list = self.in_use[level].trailing_zeros();
        let shift = LEVEL_BITS * level as u32;
        // Above the highest level there are no bits.
        let above = self.tick.checked_shr(shift + LEVEL_BITS).unwrap_or(0);
        let begins = (above << LEVEL_BITS | u64::from(list)) << shift;
        if begins > tick {
            self.tick = self.tick.max(tick);
            return false;
        }
        self.tick = begins;
        self.in_use[level] &= !(1 << list);
        let mut place = std::mem::replace(&mut self.lists[level][list as usize], NOTHING).head;
        while let Some(link) = self.links.get(place as usize) {
            let (next, due_tick) = (link.next, link.due_tick);
            self.enter(place, due_tick);
            place = next;
        }
        true
    }
}

#[inline]
fn append(list: &mut List, links: &mut [Link], place: u32) {
    if let Some(link) = links.get_mut(place as usize) {
        link.next = NIL;
    }
    match links.get_mut(list.tail as usize) {
        Some(last) => last.next = place,
        None => list.head = place,
    }
    list.tail = place;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    const MS: Nanos = 1_000_000;

    #[test]
    fn nothing_is_named_early_nor_a_resolution_late() {
        let mut wheel = TimingWheel::allocate(4, MS);
        wheel.insert(0, 10 * MS);
        wheel.insert(1, 10 * MS + 1);
        wheel.insert(2, 3_600_000 * MS);
        assert_eq!(wheel.poll(10 * MS - 1), None);
        assert_eq!(wheel.poll(10 * MS), Some(0));
        assert_eq!(wheel.poll(11 * MS - 1), None);
        assert_eq!(wheel.poll(11 * MS), Some(1));
        assert_eq!((wheel.poll(3_599_999 * MS), wheel.len()), (None, 1));
        assert_eq!(wheel.poll(3_600_000 * MS), Some(2));
        assert!(wheel.is_empty() && wheel.poll(u64::MAX).is_none());
    }

    #[test]
    fn the_end_of_time_is_waited_for_too() {
        let mut wheel = TimingWheel::allocate(2, 1);
        wheel.insert(0, u64::MAX);
        wheel.insert(1, u64::MAX - 1);
        assert_eq!(wheel.poll(u64::MAX - 2), None);
        assert_eq!(wheel.poll(u64::MAX - 1), Some(1));
        assert_eq!(wheel.poll(u64::MAX), Some(0));
        wheel.insert(7, 0);
        assert!(wheel.is_empty(), "there is no place 7");
    }

    #[test]
    fn what_is_due_at_once_holds_up_nobody() {
        let mut wheel = TimingWheel::allocate(2, MS);
        wheel.insert(0, 5 * MS);
        wheel.insert(1, 0);
        let mut named = Vec::new();
        for _ in 0..3 {
            let place = wheel.poll(5 * MS).expect("one is due");
            named.push(place);
            if place == 1 {
                wheel.insert(1, 0);
            }
        }
        assert!(named.contains(&0), "{named:?}");
    }

    #[test]
    fn it_forgets_all_and_goes_on() {
        let mut wheel = TimingWheel::allocate(3, MS);
        (0..3).for_each(|place| wheel.insert(place, Nanos::from(place) * 100 * MS));
        wheel.clear();
        assert_eq!((wheel.len(), wheel.poll(900 * MS)), (0, None));
        wheel.insert(2, 901 * MS);
        assert_eq!((wheel.poll(900 * MS), wheel.poll(901 * MS)), (None, Some(2)));
    }

    proptest! {
        /// At each time it names exactly those places whose tick has come, and in the order of a heap's ticks when it is
        /// polled tick by tick.
        #[test]
        fn it_follows_a_heap(
            resolution_ns in 1u64..50,
            steps in prop::collection::vec(
                (prop::collection::vec((0u32..32, 0u32..40), 0..4), 0u32..36), 1..120,
            ),
        ) {
            let mut wheel = TimingWheel::allocate(400, resolution_ns);
            let mut heap = BinaryHeap::new();
            let mut free: Vec<u32> = (0..400).collect();
            let mut now: Nanos = 0;
            for (entered, later) in steps {
                for (bits, jitter) in entered {
                    let due_ns = (now + (1 << bits) + Nanos::from(jitter)).saturating_sub(20);
                    let Some(place) = free.pop() else { break };
                    wheel.insert(place, due_ns);
                    heap.push(Reverse((due_ns.div_ceil(resolution_ns), place)));
                }
                now += (1 << later) - 1;
                let tick = now / resolution_ns;
                let (mut named, mut expected) = (Vec::new(), Vec::new());
                while let Some(place) = wheel.poll(now) {
                    named.push(place);
                }
                while heap.peek().is_some_and(|Reverse((due, _))| *due <= tick) {
                    expected.extend(heap.pop().map(|Reverse((_, place))| place));
                }
                free.extend(&named);
                named.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(named, expected);
                prop_assert_eq!(wheel.len(), heap.len());
            }
        }
    }
}
