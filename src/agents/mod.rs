//! Where a source, a decoder, a pool and the queues meet: the agents that threads run.

mod inlets;
mod outlet;
mod processor;
mod shard;

pub use inlets::Inlets;
pub use outlet::{EventOutlet, OutletParts};
pub use processor::{Processor, ProcessorAgent, ProcessorParts, ProcessorReport, Tally};
pub use shard::{Shard, ShardReport, shard_name};
