//! The three priority queues: tickets on their way from shards to processors.
//!
//! A queue is a bundle of SPSC rings, one lane for each producer, which its consumer drains in turn. One producer
//! makes it an SPSC queue (realtime, one for each shard); several make it an MPSC queue (transactional, batch) whose
//! producers are wait-free, because none ever meets another. Order is kept for each producer, not between them.
//! `bench/queues.rs` measures this against a shared ring and a channel.

mod build;
mod consumer;
mod producer;

pub use build::queue;
pub use consumer::QueueConsumer;
pub use producer::QueueProducer;
