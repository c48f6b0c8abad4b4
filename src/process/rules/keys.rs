//! Hot path: what a rule remembers of each key: times of hits, last values, when it may speak again.
//!
//! Invariant: all memory is there from the beginning. A new key that finds no place takes that of the key that was seen
//! longest ago, which is counted.

use crate::config::{Rule, RuleWindow};
use crate::event::{Decimal, Nanos};
use crate::limits::RULE_REWIND_NS;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// What a rule's state is kept by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// What kind of key it is.
    pub(super) tag: u8,
    /// Where, for keys that are one place's own.
    pub(super) place: u32,
    /// Its number, or the bytes of a symbol.
    pub(super) value: u64,
}

/// What became of the entries and events that a rule was asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCounts {
    /// How many it was asked about: those that the index by type, topic and symbol let through.
    pub evaluated: u64,
    /// Alerts.
    pub fired: u64,
    /// Alerts that the cool-down kept back.
    pub suppressed: u64,
    /// Keys that gave their place to another one.
    pub evicted: u64,
    /// Keys that are followed.
    pub keys: u32,
}

impl RuleCounts {
    /// Adds those of the same rule elsewhere, or of an older set.
    pub fn absorb(&mut self, other: &RuleCounts) {
        self.evaluated += other.evaluated;
        self.fired += other.fired;
        self.suppressed += other.suppressed;
        self.evicted += other.evicted;
        self.keys += other.keys;
    }
}

/// No key.
const NOBODY: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct KeyState {
    key: Key,
    /// The newest time.
    newest_ns: Nanos,
    /// Alerts are kept back before this time.
    quiet_until_ns: Nanos,
    /// Times of hits in its window, and where the next one goes.
    hits: u32,
    next_hit: u32,
    /// Neighbours in the order in which keys were seen.
    older: u32,
    newer: u32,
}

const BLANK: KeyState = KeyState {
    key: Key { tag: 0, place: 0, value: 0 },
    newest_ns: 0,
    quiet_until_ns: 0,
    hits: 0,
    next_hit: 0,
    older: NOBODY,
    newer: NOBODY,
};

/// The state of one rule.
pub(super) struct RuleState {
    /// What it was asked and said.
    pub(super) counts: RuleCounts,
    table: HashTable<u32>,
    hasher: RandomState,
    keys: Vec<KeyState>,
    used: u32,
    newest: u32,
    oldest: u32,
    // By key: the window's times, and a last value for each predicate of a change.
    times: Vec<Nanos>,
    window_places: usize,
    last: Vec<Option<Decimal>>,
    changes: usize,
}

impl RuleState {
    /// Allocates what a rule may need, and touches it, so that no page is missing later.
    pub(super) fn allocate(rule: &Rule) -> RuleState {
        let places = rule.keys() as usize;
        let (window_places, changes) = (rule.window_places() as usize, rule.changes());
        let hasher = RandomState::default();
        // Twice the places: with half of them free, what was removed never forces the table to grow.
        let mut table = HashTable::with_capacity(2 * places);
        (0..places as u32).for_each(|place| {
            table.insert_unique(hasher.hash_one(place), place, |place| hasher.hash_one(place));
        });
        table.clear();
        let mut times = Vec::with_capacity(places * window_places);
        times.resize(places * window_places, Nanos::MAX);
        let mut last = Vec::with_capacity(places * changes);
        last.resize(places * changes, None);
        let mut keys = Vec::with_capacity(places);
        keys.resize(places, BLANK);
        let counts = RuleCounts::default();
        let (used, newest, oldest) = (0, NOBODY, NOBODY);
        RuleState { counts, table, hasher, keys, used, newest, oldest, times, window_places, last, changes }
    }

    /// Whether it remembers anything.
    #[inline]
    pub(super) fn remembers(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The place of a key, which is the one seen last from now on, and its time: that of the event, unless an earlier one
    /// was later.
    #[inline]
    pub(super) fn enter(&mut self, key: Key, event_ns: Nanos) -> (usize, Nanos) {
        let hash = self.hasher.hash_one(key);
        let keys = &self.keys;
        let place = match self.table.find(hash, |place| keys[*place as usize].key == key) {
            Some(place) => {
                let place = *place;
                self.unlink(place);
                place
            }
            None => self.admit(key, hash),
        };
        self.link_newest(place);
        let state = &mut self.keys[place as usize];
        if event_ns.saturating_add(RULE_REWIND_NS) < state.newest_ns {
            self.begin_again(place);
        }
        let state = &mut self.keys[place as usize];
        state.newest_ns = state.newest_ns.max(event_ns);
        (place as usize, state.newest_ns)
    }

    /// A place for a new key.
    #[cold]
    #[inline(never)]
    fn admit(&mut self, key: Key, hash: u64) -> u32 {
        let place = if (self.used as usize) < self.keys.len() {
            self.used += 1;
            self.counts.keys = self.used;
            self.used - 1
        } else {
            let oldest = self.oldest;
            let old_hash = self.hasher.hash_one(self.keys[oldest as usize].key);
            if let Ok(found) = self.table.find_entry(old_hash, |place| *place == oldest) {
                found.remove();
            }
            self.unlink(oldest);
            self.counts.evicted += 1;
            oldest
        };
        self.begin_again(place);
        self.keys[place as usize].key = key;
        let (keys, hasher) = (&self.keys, &self.hasher);
        self.table.insert_unique(hash, place, |place| hasher.hash_one(keys[*place as usize].key));
        place
    }

    /// Forgets what a key's window, cool-down and last values are.
    #[cold]
    fn begin_again(&mut self, place: u32) {
        let state = &mut self.keys[place as usize];
        *state = KeyState { key: state.key, older: state.older, newer: state.newer, ..BLANK };
        let first = place as usize * self.changes;
        self.last[first..first + self.changes].fill(None);
    }

    #[inline]
    fn unlink(&mut self, place: u32) {
        let KeyState { older, newer, .. } = self.keys[place as usize];
        match self.keys.get_mut(older as usize) {
            Some(neighbour) => neighbour.newer = newer,
            None => self.oldest = newer,
        }
        match self.keys.get_mut(newer as usize) {
            Some(neighbour) => neighbour.older = older,
            None => self.newest = older,
        }
    }

    #[inline]
    fn link_newest(&mut self, place: u32) {
        let before = self.newest;
        let state = &mut self.keys[place as usize];
        (state.older, state.newer) = (before, NOBODY);
        match self.keys.get_mut(before as usize) {
            Some(neighbour) => neighbour.newer = place,
            None => self.oldest = place,
        }
        self.newest = place;
    }

    /// A key's last value for a predicate of a change, which is `value` from now on.
    #[inline]
    pub(super) fn replace_last(&mut self, place: usize, change: usize, value: Decimal) -> Option<Decimal> {
        self.last[place * self.changes + change].replace(value)
    }

    /// Enters a hit in a key's window. Says whether as many as the threshold are within it now.
    #[inline]
    pub(super) fn hit(&mut self, place: usize, time_ns: Nanos, window: RuleWindow) -> bool {
        let threshold = self.window_places as u32;
        let times = &mut self.times[place * self.window_places..(place + 1) * self.window_places];
        let state = &mut self.keys[place];
        times[state.next_hit as usize] = time_ns;
        state.next_hit = if state.next_hit + 1 == threshold { 0 } else { state.next_hit + 1 };
        state.hits = (state.hits + 1).min(threshold);
        // Times of a key never go back: when the oldest of the last ones is within, all are.
        state.hits == threshold && time_ns - times[state.next_hit as usize] < window.span_ns
    }

    /// Whether a key may speak at this time; then it is quiet for `cooldown_ns`.
    #[inline]
    pub(super) fn may_fire(&mut self, place: usize, time_ns: Nanos, cooldown_ns: Nanos) -> bool {
        let state = &mut self.keys[place];
        let may = time_ns >= state.quiet_until_ns;
        if may {
            state.quiet_until_ns = time_ns.saturating_add(cooldown_ns);
        }
        may
    }
}
