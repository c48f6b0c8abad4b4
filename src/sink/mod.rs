//! Where frames go: an interface, a UDP destination, nowhere.

mod batch;
mod error;
mod frame_sink;
mod headers;
mod null;
mod packet;
mod udp;
mod xdp;

pub use error::SinkError;
pub use frame_sink::{FrameSink, SendOutcome};
pub use headers::Layers;
pub use null::NullSink;
pub use packet::PacketSink;
pub use udp::{UdpOptions, UdpSink};
pub use xdp::XdpSink;
