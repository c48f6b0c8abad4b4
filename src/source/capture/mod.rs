//! Captures as sources of frames: read and unpacked off the hot path, handed over from memory on it.

mod blocks;
mod error;
mod faults;
mod feed;
mod input;
mod itch;
mod loader;
mod order;
mod pacing;
mod pcap;
mod pcapng;
mod reader;
mod source;
mod stats;
mod step;
mod stream;
mod window;

pub use error::CaptureError;
pub use faults::{
    FaultPlan, FaultPlanError, FaultReport, LineChoice, LineFaultReport, LineFaults, NamedLine, PerLine,
};
pub use loader::{CaptureOptions, CaptureReport, MEMORY_BYTES_DEFAULT};
pub use pacing::{Pacer, PacingReport, Speed, SpeedError};
pub use reader::{CaptureReader, Record};
pub use source::CaptureSource;
pub use stats::CaptureStats;
pub use window::{Moment, MomentError, TimeWindow};

#[cfg(test)]
mod testing;
