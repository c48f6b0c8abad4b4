//! Why the appliance could not do its job, and with what exit code that ends.

use crate::config::ConfigError;
use crate::os::OsError;
use crate::pool::PoolError;
use crate::runtime::RuntimeError;
use crate::source::capture::CaptureError;

/// Errors of boot, of a run, and of its end.
#[derive(Debug, thiserror::Error)]
pub enum ApplianceError {
    /// The configuration is not usable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A capture can't be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// An event pool can't be made.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A thread can't be started.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The machine refused something.
    #[error(transparent)]
    Os(#[from] OsError),
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
