//! Why a load could not be sent.

use super::Target;

/// What ends a producer before its work is done; others go on.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No connection for as long as one is tried.
    #[error("{target}: {source}; is a server listening there? `sluice run` with a listener is one")]
    Unreachable {
        /// Where to.
        target: Target,
        /// What the kernel said last.
        source: std::io::Error,
    },
    /// The connection was lost, and is not to be made again or did not last.
    #[error(
        "{target}: the connection was lost ({reason}); --give-up and --reconnect say how long it is tried again"
    )]
    Lost {
        /// Where to.
        target: Target,
        /// How, last.
        reason: String,
    },
    /// The server ended the session for a reason that would end the next one too.
    #[error("{target}: the server refused producer {producer}: {reason}; {advice}")]
    Refused {
        /// Where to.
        target: Target,
        /// Whose session.
        producer: u64,
        /// The server's reason.
        reason: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// The server contradicts what it or this sender said.
    #[error("{target}: producer {producer}: {what}")]
    Broken {
        /// Where to.
        target: Target,
        /// Whose session.
        producer: u64,
        /// The contradiction, and what it means.
        what: String,
    },
    /// A datagram can't be sent.
    #[error("{target}: {source}; a datagram takes 65,507 bytes at most, and the route must exist")]
    Datagram {
        /// Where to.
        target: Target,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A thread can't be started.
    #[error("can't start a thread for each producer: {0}; ask for fewer --producers")]
    Thread(std::io::Error),
    /// A thread ended without a report.
    #[error("a producer's thread panicked; this is a defect of Sluice, please report it")]
    Panicked,
}
