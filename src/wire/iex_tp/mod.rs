//! IEX-TP segments carrying TOPS or DEEP: framing, every message type, entries and listings.
//!
//! Invariant: `decode` tells at most one message or refusal per announced message, and every body it hands out
//! lies inside the packet.

mod describe;
mod entries;
pub mod messages;
mod packet;
#[cfg(test)]
mod samples;

pub use describe::describe;
pub use entries::entries;
pub use packet::decode;
