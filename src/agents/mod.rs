//! Where a source, a decoder, a pool and the queues meet: the agents that threads run.

mod alert_desk;
mod alerts;
mod held;
mod inlets;
mod lanes;
mod notices;
mod outlet;
mod overflow;
mod parking;
mod partition;
mod processor;
mod rule_desk;
mod rule_mailbox;
mod shard;
mod stage;
mod tally;
mod tap;
mod window_way;

pub use alert_desk::{AlertDesk, AlertOutlet, AlertTotals, RuleNames};
pub use alerts::{AlertPort, AlertReader, alert_way};
pub use inlets::Inlets;
pub use notices::{NoticePort, NoticeReader, notice_way};
pub use outlet::{EventOutlet, OutletParts, Overflows};
pub use partition::{
    BURST_FACTOR_MAX, InletPlaces, POP_MAX, Partition, PartitionParts, PartitionReport, Processor, ShardView,
};
pub use processor::{ProcessorAgent, ProcessorReport, processor_agent};
pub use rule_desk::{RuleDesk, RuleLoadError};
pub use rule_mailbox::{RuleInbox, RulePost, rule_mailbox};
pub use shard::{Shard, ShardReport, shard_name};
pub use stage::{RuleStage, Stage, WindowStage, Work};
pub use tally::Tally;
pub use tap::{TapPort, TapReader, tap_way};
pub use window_way::{WindowPort, WindowReader, window_way};
