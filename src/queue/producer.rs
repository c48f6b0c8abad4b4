//! Hot path: the pushing end of one lane. Invariant: tickets leave in the order they came; a full lane drops none.

use crate::event::Class;
use crate::ledger::QueueBook;
use crate::pool::Ticket;
use rtrb::Producer;

/// The pushing end of one producer's lane. Wait-free: it shares nothing with other producers.
pub struct QueueProducer {
    class: Class,
    lane: Producer<Ticket>,
    capacity: usize,
    pushed: u64,
}

impl QueueProducer {
    pub(super) fn new(class: Class, lane: Producer<Ticket>) -> QueueProducer {
        QueueProducer { class, capacity: lane.slots(), lane, pushed: 0 }
    }

    /// The class of the queue.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Moves as many tickets as fit from the front of `tickets` into the lane, published at once, and leaves the
    /// rest. Yields how many moved.
    #[inline]
    pub fn push_batch(&mut self, tickets: &mut Vec<Ticket>) -> usize {
        if tickets.is_empty() {
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

    /// Free places in this lane; only the consumer changes it meanwhile, and only upwards.
    #[inline]
    pub fn free(&self) -> usize {
        self.lane.slots()
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

    /// This producer's part of the queue's book: `pushed`. The consumer's part has the rest; `absorb` adds them up.
    pub fn book(&self) -> QueueBook {
        QueueBook { pushed: self.pushed, ..QueueBook::default() }
    }
}
