//! Byte streams and datagrams through io_uring: listeners, connections, connectors and sockets of one shard.

mod connection;
mod connector;
mod error;
mod inlets;
mod lifecycle;
mod limits;
mod port;
mod replies;
mod requests;
mod settings;
mod sockets;
mod waiting;

pub use error::NetError;
pub use port::NetPort;
pub use settings::{GivenStream, InletKind, InletSpec, NetReport, NetSettings, Requester};
