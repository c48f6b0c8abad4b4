//! CME MDP 3.0: packets of SBE messages, their repeating groups, entries and listings.
//!
//! Invariant: offsets come from the schema, lengths from the packet, and no length is believed before it was
//! checked against the bytes that are there. A template's layout only ever grows at the end (CME gives a new
//! number to an incompatible one), so a longer block of a later schema version decodes as well.

mod body;
mod describe;
mod entries;
pub mod layout;
mod packet;
#[cfg(test)]
mod samples;
mod snapshot;

pub use describe::describe;
pub use entries::entries;
pub use packet::decode;
pub use snapshot::snapshot_point;
