//! The load generator: producers of native events, one thread each, over TCP, Unix sockets and UDP.
//!
//! Architecture invariant: the load is open loop. When an event is due follows from the schedule alone; a sender or a
//! server that falls behind shows in the latencies, which are counted from that moment, and never in the schedule.
//! What an acknowledged session sent is proven at its end: each sequence number is acknowledged or reported.

mod backoff;
mod bank;
mod bar;
mod datagrams;
mod error;
mod plan;
mod producer;
mod report;
mod run;
mod schedule;
mod session;
mod shape;
mod stream;
mod transport;
mod window;

#[cfg(test)]
mod testing;

pub use bar::LoadBar;
pub use error::LoadError;
pub use plan::{Burst, Content, FrameVersion, LoadPlan, PAYLOAD_BYTES_MAX, SessionWish};
pub use report::{Gap, LoadReport, ProducerReport};
pub use run::{LoadProgress, run};
pub use transport::Target;
