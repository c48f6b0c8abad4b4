//! Why the appliance could not do its job, and with what exit code that ends.

use crate::config::ConfigError;
use crate::control::ControlError;
use crate::os::OsError;
use crate::pool::PoolError;
use crate::replay::ReplayError;
use crate::report::Exit;
use crate::runtime::RuntimeError;
use crate::sink::dead_letters::DeadLetterError;
use crate::sink::{ProducerFileError, SinkError};
use crate::source::capture::CaptureError;
use crate::source::host::HostError;
use crate::source::members::MembersError;
use crate::source::net::NetError;
use crate::source::xdp::XdpError;

/// Errors of boot, of a run, and of its end.
#[derive(Debug, thiserror::Error)]
pub enum ApplianceError {
    /// The configuration is not usable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A capture can't be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// An interface can't be received from.
    #[error(transparent)]
    Xdp(#[from] XdpError),
    /// Byte streams or datagrams can't be received.
    #[error(transparent)]
    Net(#[from] NetError),
    /// Multicast groups can't be joined.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// Producers can't be remembered.
    #[error(transparent)]
    Producers(#[from] ProducerFileError),
    /// The host's figures can't be collected.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Frames can't be sent.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A replay failed while sending.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// An event pool can't be made.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A thread can't be started.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The control plane failed.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Dead letters can't be kept.
    #[error(transparent)]
    DeadLetters(#[from] DeadLetterError),
    /// The machine refused something.
    #[error(transparent)]
    Os(#[from] OsError),
    /// Zero-copy was demanded of a queue that copies.
    #[error(
        "zero_copy is \"require\", but queue {queue} of {interface} (driver {driver}) was given copy mode: write \
         zero_copy = \"auto\" to receive by copying, or use a NIC whose driver has AF_XDP zero-copy (such as ice, i40e, \
         igc or mlx5_core), attached in native mode"
    )]
    NoZeroCopy {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// The interface's driver, or words for none.
        driver: String,
    },
    /// A thread panicked: its part of the books is lost.
    #[error("thread {thread} panicked: {message}; this is a defect of Sluice, please report it")]
    Panicked {
        /// The thread.
        thread: String,
        /// What it said.
        message: String,
    },
    /// A replay and its settings do not go together.
    #[error("{0}")]
    Usage(String),
}

impl ApplianceError {
    /// What the error means to the caller of the program.
    pub fn exit(&self) -> Exit {
        match self {
            ApplianceError::Config(_) | ApplianceError::Usage(_) => Exit::Usage,
            ApplianceError::DeadLetters(error) if error.is_of_config() => Exit::Usage,
            ApplianceError::Xdp(error) if error.machine_lacks() => Exit::MachineLacks,
            ApplianceError::Net(error) if error.machine_lacks() => Exit::MachineLacks,
            ApplianceError::Members(error) if error.machine_lacks() => Exit::MachineLacks,
            ApplianceError::Host(_) => Exit::MachineLacks,
            ApplianceError::Pool(_) | ApplianceError::NoZeroCopy { .. } => Exit::MachineLacks,
            ApplianceError::Os(error) if error.machine_lacks() => Exit::MachineLacks,
            ApplianceError::Sink(error) if error.machine_lacks() => Exit::MachineLacks,
            _ => Exit::Failed,
        }
    }
}
