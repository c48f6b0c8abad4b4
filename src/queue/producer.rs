//! Hot path: the pushing end of one lane: a ring to the consumer, and a backlog behind it.
//!
//! Invariant: tickets leave in the order they came; a full lane drops none. What is in the ring is the consumer's; what
//! is in the backlog can be taken out again.

use super::backlog::Backlog;
use crate::event::Class;
use crate::ledger::QueueBook;
use crate::pool::Ticket;
use rtrb::Producer;

/// The pushing end of one producer's lane. Wait-free: it shares nothing with other producers.
pub struct QueueProducer {
    class: Class,
    lane: Producer<Ticket>,
    ring_places: usize,
    backlog: Backlog,
    capacity: usize,
    pushed: u64,
    given_up: u64,
    high_water: u64,
}

impl QueueProducer {
    pub(super) fn new(
        class: Class,
        lane: Producer<Ticket>,
        capacity: usize,
        backlog: Backlog,
    ) -> QueueProducer {
        let ring_places = lane.slots();
        QueueProducer { class, lane, ring_places, backlog, capacity, pushed: 0, given_up: 0, high_water: 0 }
    }

    /// The class of the queue.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Moves as many tickets as fit from the front of `tickets` into the ring, published at once, and leaves the
    /// rest. Yields how many moved. None does while others are kept back.
    #[inline]
    pub fn push_batch(&mut self, tickets: &mut Vec<Ticket>) -> usize {
        if tickets.is_empty() || !self.backlog.is_empty() {
            return 0;
        }
        let count = tickets.len().min(self.lane.slots());
        let Ok(chunk) = self.lane.write_chunk_uninit(count) else { return 0 };
        // What was written to the slots happens before this chunk's commit (Release), which pairs with the Acquire
        // load in `Consumer::slots`, called by `QueueConsumer::pop_batch`.
        let moved = chunk.fill_from_iter(tickets.drain(..count));
        self.pushed += moved as u64;
        moved
    }

    /// Keeps tickets back that the ring has no place for, as far as the lane has places, and `max` at most; leaves the
    /// rest. Yields how many. `key_of` tells the key of each, for queues with keys.
    #[cold]
    #[inline(never)]
    pub fn keep_back(
        &mut self,
        tickets: &mut Vec<Ticket>,
        max: usize,
        mut key_of: impl FnMut(&Ticket) -> u64,
    ) -> usize {
        let count = tickets.len().min(self.free()).min(max);
        for ticket in tickets.drain(..count) {
            let key = key_of(&ticket);
            self.backlog.push(ticket, key);
        }
        self.pushed += count as u64;
        self.high_water = self.high_water.max(self.waiting() as u64);
        count
    }

    /// Whether one more ticket can be let in although the lane is full.
    #[inline]
    pub fn has_place_beyond(&self) -> bool {
        self.backlog.has_place()
    }

    /// Lets one ticket in although the lane is full: the caller has made room here or elsewhere, and has seen that there
    /// is a place beyond.
    pub fn push_beyond(&mut self, ticket: Ticket, key: u64) {
        self.backlog.push(ticket, key);
        self.pushed += 1;
        self.high_water = self.high_water.max(self.waiting() as u64);
    }

    /// Hands over to the consumer what waits at this side, as far as the ring has places. Yields how many moved.
    #[inline]
    pub fn advance(&mut self) -> usize {
        let count = self.backlog.len().min(self.lane.slots());
        if count == 0 {
            return 0;
        }
        let Ok(chunk) = self.lane.write_chunk_uninit(count) else { return 0 };
        let backlog = &mut self.backlog;
        chunk.fill_from_iter(std::iter::from_fn(|| backlog.pop()))
    }

    /// Takes back the oldest ticket that the consumer has not been given.
    pub fn take_oldest(&mut self) -> Option<Ticket> {
        let taken = self.backlog.pop();
        self.given_up += u64::from(taken.is_some());
        taken
    }

    /// Takes back the newest ticket of that key that the consumer has not been given; only from queues with keys.
    pub fn take_key(&mut self, key: u64) -> Option<Ticket> {
        let taken = self.backlog.take(key);
        self.given_up += u64::from(taken.is_some());
        taken
    }

    /// Tickets that wait: handed over or not.
    #[inline]
    pub fn waiting(&self) -> usize {
        self.backlog.len() + self.ring_places - self.lane.slots()
    }

    /// Tickets that wait at this side, and can be taken back.
    #[inline]
    pub fn kept_back(&self) -> usize {
        self.backlog.len()
    }

    /// Places for tickets that can be taken back.
    #[inline]
    pub fn keepable(&self) -> usize {
        self.capacity - self.ring_places
    }

    /// Free places in this lane; only the consumer changes it meanwhile, and only upwards.
    #[inline]
    pub fn free(&self) -> usize {
        self.capacity.saturating_sub(self.waiting())
    }

    /// Places of this lane.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Tickets pushed so far.
    #[inline]
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Whether the consumer is gone, so that what is pushed will never be popped.
    pub fn is_abandoned(&self) -> bool {
        self.lane.is_abandoned()
    }

    /// This producer's part of the queue's book: `pushed`, `given_up`, and the most that waited. The consumer's part has
    /// the rest; `absorb` adds them up.
    pub fn book(&self) -> QueueBook {
        QueueBook { pushed: self.pushed, popped: 0, given_up: self.given_up, high_water: self.high_water }
    }
}
