//! Decoders: bytes in, runs of messages out.
//!
//! Architecture invariant: every decoder is a pure total function. Any bytes give messages and counted
//! refusals, in time and memory bounded by the packet's length; no I/O, no clock, no allocation, no panic.

mod decode;
mod entry;
#[cfg(test)]
mod recorder;
mod recovery;
mod stream;
mod visit;

pub mod cboe_pitch;
pub mod cme_mdp3;
pub mod detect;
pub mod engine20;
pub mod fix;
pub mod harness;
pub mod ice_impact;
pub mod iex_tp;
pub mod itch50;
pub mod link;
pub mod miax_mach;
pub mod moldudp64;
pub mod native;
pub mod native_v2;
pub mod nyse_pillar;
pub mod soupbin;

pub use decode::{decode, describe, entries};
pub use entry::{Action, Entry, Instrument};
pub use recovery::{SnapshotPoint, snapshot_point, unavailable};
pub use stream::{
    Control, Flow, Progress, Stop, StreamVisitor, UNNUMBERED_RUN, decode_stream, is_stream_protocol,
};
pub use visit::{Message, Numbering, Run, RunKind, Visitor};
