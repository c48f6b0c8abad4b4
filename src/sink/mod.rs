//! Where frames and events go: an interface, a UDP destination, nowhere.

mod error;
mod frame_sink;
mod xdp;

pub use error::SinkError;
pub use frame_sink::{FrameSink, SendOutcome};
pub use xdp::XdpSink;
