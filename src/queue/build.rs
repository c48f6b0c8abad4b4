//! Making a queue, before anything runs hot. Invariant: as many lanes as producers, all of equal capacity.

use super::backlog::Backlog;
use super::{QueueConsumer, QueueProducer};
use crate::event::Class;
use rtrb::RingBuffer;

/// How a queue is made.
#[derive(Clone, Copy, Debug)]
pub struct QueuePlan {
    /// Its class.
    pub class: Class,
    /// Places of each producer's own, so that none can crowd out another; not 0.
    pub capacity: usize,
    /// Those of them that are the ring to the consumer, at most `capacity`; what waits in the others can be taken back.
    pub ring_places: usize,
    /// Tickets that a producer may let in beyond them, for room that it makes elsewhere.
    pub beyond: usize,
    /// Pushing threads; not 0.
    pub producers: usize,
    /// Whether tickets can be taken back by key.
    pub by_key: bool,
}

/// Makes a queue with a producer for each pushing thread, and the consumer.
///
/// # Panics
/// If there are no places or producers; the configuration is checked for that before.
pub fn make_queue(plan: &QueuePlan) -> (Vec<QueueProducer>, QueueConsumer) {
    let QueuePlan { class, capacity, ring_places, beyond, producers, by_key } = *plan;
    assert!(capacity > 0 && producers > 0, "a {} queue without places", class.name());
    let (pushing, lanes) = (0..producers)
        .map(|_| {
            let (producer, consumer) = RingBuffer::new(ring_places);
            let backlog = Backlog::allocate(capacity - ring_places + beyond, by_key);
            (QueueProducer::new(class, producer, capacity, backlog), consumer)
        })
        .unzip();
    (pushing, QueueConsumer::new(class, lanes))
}

/// Makes a queue from which nothing is taken back.
///
/// # Panics
/// As [`make_queue`].
pub fn queue(
    class: Class,
    capacity_per_producer: usize,
    producers: usize,
) -> (Vec<QueueProducer>, QueueConsumer) {
    let (capacity, ring_places) = (capacity_per_producer, capacity_per_producer);
    make_queue(&QueuePlan { class, capacity, ring_places, beyond: 0, producers, by_key: false })
}
