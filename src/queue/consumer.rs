//! Hot path: the popping end of a queue. Invariant: each lane is drained in order, and no lane can starve another.

use crate::event::Class;
use crate::ledger::QueueBook;
use crate::pool::Ticket;
use rtrb::Consumer;

/// The popping end: drains the producers' lanes in turn.
pub struct QueueConsumer {
    class: Class,
    lanes: Vec<Consumer<Ticket>>,
    // The lane that the next batch begins with.
    next: usize,
    popped: u64,
    high_water: u64,
}

impl QueueConsumer {
    pub(super) fn new(class: Class, lanes: Vec<Consumer<Ticket>>) -> QueueConsumer {
        QueueConsumer { class, lanes, next: 0, popped: 0, high_water: 0 }
    }

    /// The class of the queue.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Moves up to `max` tickets to the end of `into`, which should have room for them. Yields how many moved.
    ///
    /// Each call begins with the lane behind the one that the call before began with, so a lane that fills whole
    /// batches delays the others by one batch each at most.
    #[inline]
    pub fn pop_batch(&mut self, max: usize, into: &mut Vec<Ticket>) -> usize {
        let lanes = self.lanes.len();
        let (mut waiting, mut moved) = (0, 0);
        for step in 0..lanes {
            let lane = self.next + step;
            let lane = &mut self.lanes[if lane < lanes { lane } else { lane - lanes }];
            let available = lane.slots();
            waiting += available;
            let count = available.min(max - moved);
            if count == 0 {
                continue;
            }
            if let Ok(chunk) = lane.read_chunk(count) {
                into.extend(chunk);
                moved += count;
            }
        }
        self.next = if self.next + 1 < lanes { self.next + 1 } else { 0 };
        self.popped += moved as u64;
        self.high_water = self.high_water.max(waiting as u64);
        moved
    }

    /// Tickets that wait now.
    pub fn waiting(&self) -> usize {
        self.lanes.iter().map(Consumer::slots).sum()
    }

    /// Whether every producer is gone and every lane is empty: nothing will come any more.
    pub fn is_closed(&self) -> bool {
        // In this order: what a producer pushed before it went is seen by the look at the lane after that at the
        // flag (its Release store on drop pairs with the Acquire load in `is_abandoned`).
        self.lanes.iter().all(|lane| lane.is_abandoned() && lane.is_empty())
    }

    /// Tickets popped so far.
    #[inline]
    pub fn popped(&self) -> u64 {
        self.popped
    }

    /// The consumer's part of the queue's book: `popped` and `high_water`, the most tickets that a pop found waiting.
    /// `pushed` is 0: that is what the producers count for themselves, so that one checks the other.
    pub fn book(&self) -> QueueBook {
        QueueBook { pushed: 0, popped: self.popped, given_up: 0, high_water: self.high_water }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventHeader, ShardId};
    use crate::pool::{Pool, PoolPlan};
    use crate::queue::{QueueProducer, queue};

    fn pool() -> Pool {
        let plan = PoolPlan { slots: [64, 0, 0, 0] };
        Pool::create(&plan, ShardId(0), &Pool::memory_wish(None)).expect("a small pool can be made").0
    }

    fn tickets(pool: &mut Pool, sequences: std::ops::Range<u64>) -> Vec<Ticket> {
        sequences
            .map(|sequence| {
                let mut ticket = pool.acquire(0).expect("slots enough");
                pool.write(&mut ticket, &EventHeader { sequence, ..EventHeader::default() }, b"");
                ticket
            })
            .collect()
    }

    /// The sequences of the tickets, which go back to the pool.
    fn sequences(pool: &mut Pool, tickets: Vec<Ticket>) -> Vec<u64> {
        let reader = pool.reader();
        tickets
            .into_iter()
            .map(|ticket| {
                let sequence = reader.event(&ticket).header.sequence;
                pool.release(ticket);
                sequence
            })
            .collect()
    }

    #[test]
    fn keeps_order_and_leaves_what_does_not_fit() {
        let mut pool = pool();
        let (mut producers, mut consumer) = queue(Class::Realtime, 4, 1);
        let producer: &mut QueueProducer = &mut producers[0];
        let mut batch = tickets(&mut pool, 0..6);
        assert_eq!((producer.push_batch(&mut batch), batch.len(), producer.free()), (4, 2, 0));
        assert_eq!(producer.push_batch(&mut batch), 0);
        let mut popped = Vec::new();
        assert_eq!(consumer.pop_batch(3, &mut popped), 3);
        // Over the end of the ring, so that the chunk is in two parts.
        assert_eq!(producer.push_batch(&mut batch), 2);
        assert_eq!((consumer.waiting(), consumer.pop_batch(64, &mut popped)), (3, 3));
        assert_eq!(sequences(&mut pool, popped), [0, 1, 2, 3, 4, 5]);
        let mut book = consumer.book();
        book.absorb(&producer.book());
        assert_eq!(book, QueueBook { pushed: 6, popped: 6, given_up: 0, high_water: 4 });
        assert_eq!((producer.pushed(), consumer.popped()), (6, 6));
    }

    #[test]
    fn producers_have_their_turns() {
        let mut pool = pool();
        let (mut producers, mut consumer) = queue(Class::Batch, 8, 3);
        for (lane, producer) in producers.iter_mut().enumerate() {
            let first = lane as u64 * 100;
            assert_eq!(producer.push_batch(&mut tickets(&mut pool, first..first + 4)), 4);
        }
        let mut popped = Vec::new();
        for _ in 0..3 {
            assert_eq!(consumer.pop_batch(2, &mut popped), 2);
        }
        assert_eq!(consumer.pop_batch(64, &mut popped), 6);
        let order = [0, 1, 100, 101, 200, 201, 2, 3, 102, 103, 202, 203];
        assert_eq!(sequences(&mut pool, popped), order);
        assert_eq!(consumer.book().high_water, 12);
    }

    #[test]
    fn closed_means_all_gone_and_all_popped() {
        let mut pool = pool();
        let (mut producers, mut consumer) = queue(Class::Transactional, 8, 2);
        let (mut last, first) = (producers.pop().expect("two"), producers.pop().expect("two"));
        last.push_batch(&mut tickets(&mut pool, 7..8));
        drop(first);
        assert!(!consumer.is_closed());
        drop(last);
        assert!(!consumer.is_closed(), "a ticket still waits");
        let mut popped = Vec::new();
        consumer.pop_batch(8, &mut popped);
        assert!(consumer.is_closed());
        assert_eq!(sequences(&mut pool, popped), [7]);
    }

    #[test]
    fn a_producer_sees_that_its_consumer_is_gone() {
        let (producers, consumer) = queue(Class::Batch, 1, 1);
        assert!(!producers[0].is_abandoned());
        drop(consumer);
        assert!(producers[0].is_abandoned());
    }

    #[test]
    #[should_panic(expected = "a batch queue without places")]
    fn a_queue_without_places_is_refused() {
        let _ = queue(Class::Batch, 0, 1);
    }
}
