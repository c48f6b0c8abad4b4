//! Where a source, a decoder, a pool and the queues meet: the agents that threads run.

mod held;
mod inlets;
mod notices;
mod outlet;
mod processor;
mod shard;
mod window_way;

pub use inlets::Inlets;
pub use notices::{NoticePort, NoticeReader, notice_way};
pub use outlet::{EventOutlet, OutletParts};
pub use processor::{Processor, ProcessorAgent, ProcessorParts, ProcessorReport, Tally};
pub use shard::{Shard, ShardReport, shard_name};
pub use window_way::{WindowPort, WindowReader, window_way};
