//! Made-up market-data sessions, for demonstrations and tests where no real capture is at hand.
//!
//! Invariant: the same seed and the same number of messages give the same bytes, on every machine; and what a
//! session says of itself in [`Counts`] is what a decoder must find in it.

mod capture;
mod iex;
mod itch;
mod lines;
mod random;

pub use capture::{SyntheticError, pcap_bytes, write_pcap};
pub use iex::{IEX_MESSAGES_MIN, iex_session};
pub use itch::{ITCH_MESSAGES_MIN, itch_session};
pub use lines::{Counts, LineCounts, Packet, Session};
pub(crate) use random::Random;
