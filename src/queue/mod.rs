//! The three priority queues: tickets on their way from shards to processors.
//!
//! A queue is a bundle of SPSC rings, one lane for each producer, which its consumer drains in turn. One producer
//! makes it an SPSC queue (realtime, one for each shard); several make it an MPSC queue (transactional, batch) whose
//! producers are wait-free, because none ever meets another. Order is kept for each producer, not between them.
//! `bench/queues.rs` measures this against a shared ring and a channel.
//!
//! What a consumer has not been given yet waits with its producer, which can take it back: the oldest, or the newest of a
//! key. So room is made without any word between the two.

mod backlog;
mod build;
mod consumer;
mod producer;

pub use build::{QueuePlan, make_queue, queue};
pub use consumer::QueueConsumer;
pub use producer::QueueProducer;
