//! The ledger: every frame, message and event has exactly one counted fate, and three books prove it.
//!
//! Counters are plain fields with one writer. They are summed when their agents close, and published for others
//! to see in housekeeping ([`Board`]).

mod board;
mod books;
mod connections;
mod flows;
mod histogram;
mod knobs;
mod stream_feeds;
mod streams;

pub use board::{Board, Boards, Counter};
pub use books::{EventBook, FrameBook, Imbalance, KernelBook, Ledger, MessageBook, QueueBook, RoutingBook};
pub use connections::ConnectionBook;
pub use flows::FlowBook;
pub use histogram::{IntervalRecorder, LatencyRecorder, Percentiles};
pub use knobs::{Kill, KilledBy, Knobs, Level};
pub use stream_feeds::StreamFeeds;
pub use streams::{LineBook, StreamBook, TypeCounts};
