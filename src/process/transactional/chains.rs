//! Hot path: events that are parked, one chain for each key, in the order in which they came.
//!
//! Invariant: a key has a chain exactly while an event of it is parked; only the first of a chain is tried. Places are
//! those of one slab of fixed size, which also holds the table's links: nothing allocates.

const NIL: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Place {
    key: u64,
    // The next one of its chain, or the next free place.
    behind: u32,
    // The first one of the next chain in its bucket, and the last one of its own: for the first of a chain only.
    sibling: u32,
    last: u32,
    attempts: u8,
    is_shown: bool,
}

/// A place that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) place: u32,
    /// Whether nothing of its key is in front of it.
    pub(super) is_first: bool,
}

/// Parked events by key.
#[derive(Debug)]
pub(super) struct Chains {
    // The first one of the first chain of each bucket.
    buckets: Box<[u32]>,
    places: Box<[Place]>,
    free: u32,
    len: usize,
    high_water: usize,
}

impl Chains {
    /// How many there can be.
    pub(super) fn places_max(&self) -> usize {
        self.places.len()
    }

    pub(super) fn allocate(places_max: usize) -> Chains {
        let next = |index: usize| if index + 1 < places_max { index as u32 + 1 } else { NIL };
        let place = |index| Place {
            key: 0,
            behind: next(index),
            sibling: NIL,
            last: NIL,
            attempts: 0,
            is_shown: false,
        };
        Chains {
            buckets: (0..(places_max * 2).next_power_of_two()).map(|_| NIL).collect(),
            places: (0..places_max).map(place).collect(),
            free: if places_max > 0 { 0 } else { NIL },
            len: 0,
            high_water: 0,
        }
    }

    /// Events that are parked.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The most that were at a time.
    pub(super) fn high_water(&self) -> usize {
        self.high_water
    }

    /// Attempts that were made of the event at this place.
    pub(super) fn attempts(&self, place: u32) -> u8 {
        self.places.get(place as usize).map_or(0, |parked| parked.attempts)
    }

    /// Keys are hashes already.
    #[inline]
    fn bucket(&self, key: u64) -> usize {
        key as usize & (self.buckets.len() - 1)
    }

    /// The first one of a key.
    #[inline]
    fn first(&self, key: u64) -> Option<u32> {
        let mut at = self.buckets[self.bucket(key)];
        loop {
            let place = self.places.get(at as usize)?;
            if place.key == key {
                return Some(at);
            }
            at = place.sibling;
        }
    }

    /// Whether events of this key are parked.
    #[inline]
    pub(super) fn has(&self, key: u64) -> bool {
        self.len > 0 && self.first(key).is_some()
    }

    /// Parks an event behind those of its key; `None` when there is no place.
    pub(super) fn append(&mut self, key: u64, attempts: u8) -> Option<Taken> {
        let place = self.free;
        let first = self.first(key);
        let bucket = self.bucket(key);
        let parked = self.places.get_mut(place as usize)?;
        self.free = parked.behind;
        let sibling = if first.is_none() { self.buckets[bucket] } else { NIL };
        *parked = Place { key, behind: NIL, sibling, last: place, attempts, is_shown: false };
        match first {
            None => self.buckets[bucket] = place,
            Some(first) => {
                let last = std::mem::replace(&mut self.places[first as usize].last, place);
                self.places[last as usize].behind = place;
            }
        }
        self.len += 1;
        self.high_water = self.high_water.max(self.len);
        Some(Taken { place, is_first: first.is_none() })
    }

    /// Marks the first of a chain as shown to its owner.
    #[inline]
    pub(super) fn show(&mut self, place: u32) {
        if let Some(parked) = self.places.get_mut(place as usize) {
            parked.is_shown = true;
        }
    }

    /// Ends that, once; `None` for a place that was not shown.
    #[inline]
    pub(super) fn take_back(&mut self, place: u32) -> Option<()> {
        let parked = self.places.get_mut(place as usize)?;
        std::mem::take(&mut parked.is_shown).then_some(())
    }

    /// Counts an attempt.
    #[inline]
    pub(super) fn set_attempts(&mut self, place: u32, attempts: u8) {
        if let Some(parked) = self.places.get_mut(place as usize) {
            parked.attempts = attempts;
        }
    }

    /// Takes the first of a chain out of it; returns the one behind it, which is the first then.
    pub(super) fn remove_first(&mut self, first: u32) -> Option<u32> {
        let parked = *self.places.get(first as usize)?;
        let next = parked.behind;
        let successor = match self.places.get_mut(next as usize) {
            Some(behind) => {
                (behind.last, behind.sibling) = (parked.last, parked.sibling);
                next
            }
            None => parked.sibling,
        };
        self.relink(&parked, first, successor);
        let place = &mut self.places[first as usize];
        (place.behind, place.is_shown) = (self.free, false);
        self.free = first;
        self.len -= 1;
        (next != NIL).then_some(next)
    }

    /// Puts `successor` in the place of `first` in its bucket's list.
    fn relink(&mut self, parked: &Place, first: u32, successor: u32) {
        let bucket = self.bucket(parked.key);
        let mut at = self.buckets[bucket];
        if at == first {
            self.buckets[bucket] = successor;
            return;
        }
        while let Some(place) = self.places.get_mut(at as usize) {
            if place.sibling == first {
                place.sibling = successor;
                return;
            }
            at = place.sibling;
        }
        debug_assert!(false, "the first of a chain is in its bucket");
    }

    /// The first of any chain, looked for from this bucket on; and that bucket.
    pub(super) fn any_from(&self, bucket: usize) -> Option<(u32, usize)> {
        let found = self.buckets.get(bucket..)?.iter().position(|first| *first != NIL)?;
        Some((self.buckets[bucket + found], bucket + found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{HashMap, VecDeque};

    proptest! {
        /// Keys that share buckets keep their own chains, in order, in as many places as there are.
        #[test]
        fn chains_follow_queues(steps in prop::collection::vec((0u64..12, any::<bool>()), 1..300)) {
            let mut chains = Chains::allocate(8);
            let mut model: HashMap<u64, VecDeque<u32>> = HashMap::new();
            for (number, append) in steps {
                // Four keys in each of three buckets of sixteen.
                let key = number % 3 + (number / 3) * 16;
                let queue = model.entry(key).or_default();
                prop_assert_eq!(chains.has(key), !queue.is_empty());
                if append {
                    let was_full = chains.len() == 8;
                    let taken = chains.append(key, number as u8);
                    prop_assert_eq!(taken.is_none(), was_full);
                    prop_assert_eq!(taken.map(|taken| taken.is_first), taken.map(|_| queue.is_empty()));
                    queue.extend(taken.map(|taken| taken.place));
                } else if let Some(first) = queue.pop_front() {
                    prop_assert_eq!(chains.attempts(first), number as u8);
                    prop_assert_eq!(chains.remove_first(first), queue.front().copied());
                }
                prop_assert_eq!(chains.len(), model.values().map(VecDeque::len).sum::<usize>());
            }
            prop_assert!(chains.high_water() <= 8);
            while let Some((first, _)) = chains.any_from(0) {
                let queue = model.values_mut().find(|queue| queue.front() == Some(&first)).expect("a chain's first");
                queue.pop_front();
                chains.remove_first(first);
            }
            prop_assert!(model.values().all(VecDeque::is_empty) && chains.len() == 0);
        }
    }

    #[test]
    fn a_shown_place_is_taken_back_once() {
        let mut chains = Chains::allocate(1);
        let taken = chains.append(5, 1).expect("room");
        assert_eq!(chains.append(6, 1), None);
        assert_eq!(chains.take_back(taken.place), None);
        chains.show(taken.place);
        assert_eq!(chains.take_back(taken.place), Some(()));
        assert_eq!((chains.take_back(taken.place), chains.take_back(99)), (None, None));
    }
}
