//! Why a listener can't listen. Invariant: every text names the listener and what to do next.

use crate::os::uring::UringError;
use std::io;
use std::path::PathBuf;

/// What is wrong with a listener, a connector or the ring.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// No io_uring.
    #[error(transparent)]
    Uring(#[from] UringError),
    /// An address can't be listened on.
    #[error(
        "listener {name}: cannot {what} {address}: {source}; `ss -lntup` shows who has it, `ip address` which there are"
    )]
    Listen {
        /// The listener.
        name: String,
        /// What was tried.
        what: &'static str,
        /// The address.
        address: String,
        /// The kernel's word.
        source: io::Error,
    },
    /// A Unix socket's path is in use.
    #[error("listener {name}: a process answers on {}: stop it, or give this listener another path", path.display())]
    UnixInUse {
        /// The listener.
        name: String,
        /// The path.
        path: PathBuf,
    },
    /// A Unix socket can't be made.
    #[error("listener {name}: cannot {what} {}: {source}; the folder must exist and be writable to this user", path.display())]
    Unix {
        /// The listener.
        name: String,
        /// What was tried.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// The kernel's word.
        source: io::Error,
    },
    /// A multicast group can't be joined.
    #[error(
        "listener {name}: cannot join {group} on {interface}: {source}; the interface must be up and have an address, and \
         `sysctl net.ipv4.igmp_max_memberships` limits how many are joined"
    )]
    Join {
        /// The listener.
        name: String,
        /// The group.
        group: String,
        /// The interface, or words for the routing table's choice.
        interface: String,
        /// The kernel's word.
        source: io::Error,
    },
    /// An interface has no usable address.
    #[error("listener {name}: {source}")]
    Interface {
        /// The listener.
        name: String,
        /// Why.
        source: crate::os::OsError,
    },
}

impl NetError {
    /// Whether the machine lacks something, in contrast to a wrong wish.
    pub fn machine_lacks(&self) -> bool {
        matches!(self, NetError::Uring(_))
    }
}
