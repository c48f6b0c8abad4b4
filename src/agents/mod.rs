//! Where a source, a decoder, a pool and the queues meet: the agents that threads run.

mod held;
mod inlets;
mod lanes;
mod notices;
mod outlet;
mod overflow;
mod parking;
mod partition;
mod processor;
mod shard;
mod tally;
mod window_way;

pub use inlets::Inlets;
pub use notices::{NoticePort, NoticeReader, notice_way};
pub use outlet::{EventOutlet, OutletParts, Overflows};
pub use partition::{
    BURST_FACTOR_MAX, InletPlaces, POP_MAX, Partition, PartitionParts, PartitionReport, Processor, ShardView,
};
pub use processor::{ProcessorAgent, ProcessorReport, processor_agent};
pub use shard::{Shard, ShardReport, shard_name};
pub use tally::Tally;
pub use window_way::{WindowPort, WindowReader, window_way};
