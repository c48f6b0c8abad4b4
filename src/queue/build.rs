//! Making a queue, before anything runs hot. Invariant: as many lanes as producers, all of equal capacity.

use super::{QueueConsumer, QueueProducer};
use crate::event::Class;
use rtrb::RingBuffer;

/// A queue of a class: a producer for each pushing thread, and the consumer. Each producer has `capacity_per_producer`
/// places of its own, so none can crowd out another.
///
/// # Panics
/// If either number is 0; the configuration is checked for that before.
pub fn queue(
    class: Class,
    capacity_per_producer: usize,
    producers: usize,
) -> (Vec<QueueProducer>, QueueConsumer) {
    assert!(capacity_per_producer > 0 && producers > 0, "a {} queue without places", class.name());
    let (pushing, lanes) = (0..producers)
        .map(|_| {
            let (producer, consumer) = RingBuffer::new(capacity_per_producer);
            (QueueProducer::new(class, producer), consumer)
        })
        .unzip();
    (pushing, QueueConsumer::new(class, lanes))
}
