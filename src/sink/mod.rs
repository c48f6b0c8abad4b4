//! Where frames go: an interface, a UDP destination, nowhere; where producers are remembered; and dead letters.
//! Where frames go: an interface, a UDP destination, nowhere; where alerts are posted; and where producers are remembered.

mod batch;
pub mod dead_letters;
mod error;
mod frame_sink;
mod headers;
mod null;
mod packet;
mod producer_file;
mod udp;
mod webhook;
mod xdp;

pub use error::SinkError;
pub use frame_sink::{FrameSink, SendOutcome};
pub use headers::Layers;
pub use null::NullSink;
pub use packet::PacketSink;
pub use producer_file::{ProducerFile, ProducerFileError};
pub use udp::{UdpOptions, UdpSink};
pub use webhook::{WebhookCounts, WebhookSettings, Webhooks};
pub use xdp::XdpSink;
