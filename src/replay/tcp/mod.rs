//! Replays of TCP flows: the payload of a capture's segments, put back in order, over connections of its own.

mod connections;
mod report;
mod sender;

pub use report::{FlowSent, TcpReport, TcpSkipped, Unsent, UnsentBytes};
pub use sender::{TcpSender, TcpWishes};
