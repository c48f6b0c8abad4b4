//! Captures as sources of frames: read and unpacked off the hot path, handed over from memory on it.

mod error;
mod input;
mod itch;
mod pcap;
mod pcapng;
mod reader;
mod stats;
mod step;

pub use error::CaptureError;
pub use reader::{CaptureReader, Record};
pub use stats::CaptureStats;
#[cfg(test)]
mod testing;
