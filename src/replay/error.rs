//! Why a replay can't start or go on.

use crate::sink::SinkError;
use crate::source::capture::CaptureError;
use std::net::SocketAddr;

/// Errors of replays.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The capture can't be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// Nobody accepts a connection.
    #[error(
        "cannot connect to {address}: {source}; start what is to receive there first, such as `sluice run` with a tcp \
         listener, or correct the address behind --to tcp:"
    )]
    Connect {
        /// The receiver's address.
        address: SocketAddr,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// The frames can't be sent.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Clients can't be served.
    #[error(
        "listening at {address} failed: {source}: choose an address of this machine and a port that is free"
    )]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// The kernel's answer.
        source: std::io::Error,
    },
}
