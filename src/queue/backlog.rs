//! Hot path: what waits at the producer's side of a queue, behind what has been handed over to the consumer.
//!
//! Invariant: tickets leave in the order they came, those apart that were taken out; memory is taken at boot.

use crate::pool::Ticket;
use hashbrown::HashTable;
use std::collections::VecDeque;

/// A waiting ticket; none where it was taken out.
struct Waiting {
    ticket: Option<Ticket>,
    key: u64,
}

/// The newest ticket of a key: where it stands, counted from the first that ever waited here.
#[derive(Clone, Copy)]
struct Newest {
    key: u64,
    position: u64,
}

/// Tickets that wait at the producer, and that it can take out again.
pub(super) struct Backlog {
    places: usize,
    waiting: VecDeque<Waiting>,
    // Position of the first of `waiting`.
    first: u64,
    // How many of `waiting` were taken out.
    empty: usize,
    // The newest of each key, for queues that are conflated.
    newest: Option<HashTable<Newest>>,
}

impl Backlog {
    /// Room for so many tickets; with `by_key`, those of a key can be found.
    pub(super) fn allocate(places: usize, by_key: bool) -> Backlog {
        // What was taken out keeps its place until it comes to the front: at most as many as there are tickets, since
        // then they are closed up.
        let room = if by_key { 2 * places + 1 } else { places };
        Backlog {
            places,
            waiting: VecDeque::with_capacity(room),
            first: 0,
            empty: 0,
            // Twice as large, so that keys that come and go never make it grow.
            newest: by_key.then(|| HashTable::with_capacity(2 * places)),
        }
    }

    /// Tickets that wait.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.waiting.len() - self.empty
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(super) fn has_place(&self) -> bool {
        self.len() < self.places
    }

    /// Puts a ticket to the end. The caller has seen that there is room.
    pub(super) fn push(&mut self, ticket: Ticket, key: u64) {
        if self.waiting.len() == self.waiting.capacity() {
            self.close_up();
        }
        let position = self.first + self.waiting.len() as u64;
        self.waiting.push_back(Waiting { ticket: Some(ticket), key });
        if let Some(newest) = &mut self.newest {
            match newest.find_mut(key, |known| known.key == key) {
                Some(known) => known.position = position,
                None => {
                    newest.insert_unique(key, Newest { key, position }, |known| known.key);
                }
            }
        }
    }

    /// Takes the oldest ticket.
    pub(super) fn pop(&mut self) -> Option<Ticket> {
        while let Some(front) = self.waiting.pop_front() {
            let position = self.first;
            self.first += 1;
            let Some(ticket) = front.ticket else {
                self.empty -= 1;
                continue;
            };
            self.forget(front.key, position);
            return Some(ticket);
        }
        None
    }

    /// Takes the newest ticket of that key out, if one waits.
    pub(super) fn take(&mut self, key: u64) -> Option<Ticket> {
        let newest = self.newest.as_mut()?;
        let known = newest.find_entry(key, |known| known.key == key).ok()?;
        let (Newest { position, .. }, _) = known.remove();
        let ticket = self.waiting.get_mut((position - self.first) as usize)?.ticket.take();
        self.empty += usize::from(ticket.is_some());
        ticket
    }

    fn forget(&mut self, key: u64, position: u64) {
        if let Some(newest) = &mut self.newest
            && let Ok(known) = newest.find_entry(key, |known| known.key == key)
            && known.get().position == position
        {
            known.remove();
        }
    }

    /// Lets tickets take the places of those that were taken out before them.
    #[cold]
    fn close_up(&mut self) {
        if self.empty == 0 {
            return;
        }
        self.waiting.retain(|waiting| waiting.ticket.is_some());
        self.empty = 0;
        if let Some(newest) = &mut self.newest {
            newest.clear();
            for (place, waiting) in self.waiting.iter().enumerate() {
                let (key, position) = (waiting.key, self.first + place as u64);
                match newest.find_mut(key, |known| known.key == key) {
                    Some(known) => known.position = position,
                    None => {
                        newest.insert_unique(key, Newest { key, position }, |known| known.key);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::ShardId;
    use crate::pool::{Pool, PoolPlan};
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(u64),
        Pop,
        Take(u64),
    }

    proptest! {
        /// Whatever is pushed, popped and taken out, in whatever order: as a plain list would have it.
        #[test]
        fn a_backlog_is_a_list(
            by_key in any::<bool>(),
            steps in prop::collection::vec(
                prop_oneof![(0u64..5).prop_map(Step::Push), Just(Step::Pop), (0u64..6).prop_map(Step::Take)],
                0..200,
            ),
        ) {
            const PLACES: usize = 8;
            let plan = PoolPlan { slots: [PLACES as u32 + 1, 0, 0, 0] };
            let mut pool = Pool::create(&plan, ShardId(0), &Pool::memory_wish(None)).expect("memory").0;
            let mut backlog = Backlog::allocate(PLACES, by_key);
            let room = backlog.waiting.capacity();
            let mut list: Vec<(u64, String)> = Vec::new();
            for step in steps {
                match step {
                    Step::Push(key) if list.len() < PLACES => {
                        let ticket = pool.acquire(1).expect("slots enough");
                        list.push((key, format!("{ticket:?}")));
                        backlog.push(ticket, key);
                    }
                    Step::Push(_) => {}
                    Step::Pop => {
                        let expected = (!list.is_empty()).then(|| list.remove(0).1);
                        let found = backlog.pop();
                        prop_assert_eq!(found.as_ref().map(|ticket| format!("{ticket:?}")), expected);
                        found.into_iter().for_each(|ticket| pool.release(ticket));
                    }
                    Step::Take(key) => {
                        let place = list.iter().rposition(|(known, _)| by_key && *known == key);
                        let expected = place.map(|place| list.remove(place).1);
                        // Of what was taken, only the newest is known; older ones of the key stay.
                        let found = backlog.take(key);
                        if let (Some(_), None) = (&expected, &found) {
                            let place = place.expect("a place");
                            list.insert(place, (key, expected.clone().expect("a name")));
                        } else {
                            prop_assert_eq!(found.as_ref().map(|ticket| format!("{ticket:?}")), expected);
                        }
                        found.into_iter().for_each(|ticket| pool.release(ticket));
                    }
                }
                prop_assert_eq!(backlog.len(), list.len());
                prop_assert_eq!(backlog.waiting.capacity(), room, "no memory is taken");
            }
            std::iter::from_fn(|| backlog.pop()).for_each(|ticket| pool.release(ticket));
        }
    }
}
