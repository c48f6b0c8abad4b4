//! Replays: captures sent to an interface, a UDP destination or TCP connections, or served to clients, at their own pace,
//! another, or none; what was sent given again to those who ask for it; and made-up captures for machines that have none.

pub mod rerequest;
pub mod soup_server;
pub mod synthetic;
pub mod tcp;

mod error;
mod progress;
mod rewrite;
mod sender;
mod store;
mod urgency;

pub use crate::source::capture::{Pacer, PacingReport, Speed};
pub use error::ReplayError;
pub use progress::ReplayBar;
pub use rewrite::{Rewrite, Rewritten, VlanChange};
pub use sender::{SendProgress, SendReport, Sender, Skipped};
pub use urgency::RealTime;
