//! AF_XDP: frames from a NIC queue into user space, past the kernel's network stack.
//!
//! [`Steering`] is the XDP program on an interface, one per interface: it decides which frames are ours. An
//! [`XdpSource`] is one queue's socket with its own memory and rings, one per lane. [`TxLane`] is the way back out.
//!
//! Order of a run: `Steering::attach`, one `XdpSource::open` per queue, then poll. Order of shutdown: `stop` each
//! source, poll it until it is `exhausted`, read its kernel book, drop the sources, drop the steering. In that order
//! the kernel's book balances exactly; in any other nothing is left behind either.

mod attach;
mod counters;
mod drive;
mod error;
mod interface;
mod occupant;
mod program;
mod rings;
mod rules;
mod settings;
mod skeleton;
mod socket;
mod source;
#[cfg(test)]
mod steer_tests;
mod tx;
mod umem;

pub use attach::{AttachMode, AttachWish, StampClock, Steering, SteeringReport, SteeringSettings};
pub use drive::DriveMode;
pub use error::XdpError;
pub use rules::RuleSet;
pub use settings::{CopyMode, LaneReport, LaneSettings, PageFallback};
pub use source::XdpSource;
pub use tx::{TxFull, TxLane};
