//! Why a sink can't be made or can't go on; every text names the interface or address and says what to do next.

use std::net::SocketAddr;

/// Errors of sinks, at setup and while sending.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// No interface of this name.
    #[error("there is no interface {name}: `ip link` lists those of this machine")]
    NoInterface {
        /// The name as given.
        name: String,
    },
    /// A socket could not be made or set up.
    #[error("{operation} for {target} failed: {source}{}", hint(source))]
    Setup {
        /// The system call.
        operation: &'static str,
        /// Interface or address.
        target: String,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// Sending failed for good.
    #[error("sending to {target} failed: {source}{}", hint(source))]
    Send {
        /// Interface or address.
        target: String,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// A multicast destination and no way to choose the interface.
    #[error(
        "{address} has another address family than the interface address {interface}: give both of one family"
    )]
    Family {
        /// The destination.
        address: SocketAddr,
        /// The address of the outgoing interface.
        interface: std::net::IpAddr,
    },
}

impl SinkError {
    /// Whether the machine lacks something, in contrast to a failure while sending or a contradiction.
    pub fn machine_lacks(&self) -> bool {
        matches!(self, SinkError::NoInterface { .. } | SinkError::Setup { .. })
    }
}

/// What to do about the kernel's commonest answers.
fn hint(error: &std::io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "; run as root or give the program CAP_NET_RAW",
        Some(libc::ENETDOWN) => "; bring the interface up with `ip link set NAME up`",
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH) => {
            "; add a route to it, `ip route get ADDRESS` shows what is missing"
        }
        Some(libc::ENODEV | libc::ENXIO) => "; the interface went away, `ip link` lists those that are there",
        Some(libc::EMSGSIZE) => "; the packet is larger than the path allows, raise the interface's MTU",
        _ => "",
    }
}
