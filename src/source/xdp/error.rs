//! Why XDP can't be had, or can't go on; every text names the interface and says what to do next.
//!
//! Invariant: what the machine lacks is told apart from what was asked for wrongly ([`XdpError::machine_lacks`]).

use super::DriveMode;
use std::io;

/// Errors of the XDP program and of AF_XDP sockets. All of them arise at setup or shutdown.
#[derive(Debug, thiserror::Error)]
pub enum XdpError {
    /// No interface of this name.
    #[error("there is no interface {interface}: `ip link` lists those of this machine")]
    NoInterface {
        /// The name as given.
        interface: String,
    },
    /// The kernel refused for want of a capability.
    #[error("{operation} needs {capability}: run as root, or `setcap {}+ep` the program", setcap(capability))]
    MissingCapability {
        /// What was tried.
        operation: &'static str,
        /// The capabilities that allow it.
        capability: &'static str,
    },
    /// The kernel was built without something.
    #[error("this kernel has no {feature}: a kernel with {option} is needed")]
    KernelLacks {
        /// What is missing.
        feature: &'static str,
        /// The build option that brings it.
        option: &'static str,
    },
    /// The program did not load.
    #[error(
        "the kernel refused to load the XDP program {program}: {source}; `--log debug` shows the verifier's log"
    )]
    Load {
        /// Its name.
        program: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The program could be attached in no mode.
    #[error(
        "the XDP program could not be attached to {interface}: {reasons}; the kernel log (`dmesg`) may say more"
    )]
    Attach {
        /// The interface.
        interface: String,
        /// Each mode with the kernel's answer.
        reasons: String,
    },
    /// Only native mode was wanted, and the driver has none.
    #[error(
        "the driver of {interface} does not take the XDP program in native mode ({source}): allow generic mode, \
         or lower the MTU and switch off LRO (`ethtool -K {interface} lro off`)"
    )]
    NoNativeXdp {
        /// The interface.
        interface: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Another program is there.
    #[error(
        "{interface} already has the XDP program `{name}` (id {id}), which is not ours: \
         `ip link set dev {interface} xdp off` removes it"
    )]
    ForeignProgram {
        /// The interface.
        interface: String,
        /// The program's name.
        name: String,
        /// The program's id.
        id: u32,
    },
    /// Another process steers this interface.
    #[error("{interface} is in use by another running sluice (XDP program id {id}): stop that one first")]
    InUse {
        /// The interface.
        interface: String,
        /// The program's id.
        id: u32,
    },
    /// What is attached could not be found out or changed.
    #[error("{operation} on {interface} failed: {source}")]
    Query {
        /// What was tried.
        operation: &'static str,
        /// The interface.
        interface: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A map operation failed.
    #[error("{operation} failed: {source}")]
    Map {
        /// What was tried, with what it was about.
        operation: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// More rules than the map holds.
    #[error("more than {max} destinations: merge them into rules for any address (`0.0.0.0:PORT`)")]
    TooManyRules {
        /// Places in the rule map.
        max: usize,
    },
    /// The queue has a socket already.
    #[error("queue {queue} of {interface} already has an AF_XDP socket: stop the program that holds it")]
    QueueBusy {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
    },
    /// The interface has no such queue.
    #[error("{interface} has no queue {queue}: `ethtool -l {interface}` shows how many it has")]
    NoQueue {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
    },
    /// Frames of the interface's MTU don't fit a chunk.
    #[error(
        "the MTU of {interface} is {mtu}, more than the {mtu_max} that fit a chunk: \
         `ip link set dev {interface} mtu {mtu_max}`"
    )]
    MtuTooLarge {
        /// The interface.
        interface: String,
        /// Its MTU.
        mtu: u32,
        /// The largest that fits.
        mtu_max: u32,
    },
    /// The locked-memory limit is below the UMEM's size.
    #[error(
        "{bytes} bytes of packet memory exceed the locked-memory limit: `ulimit -l unlimited`, \
         `LimitMEMLOCK=infinity` in the systemd unit, or CAP_IPC_LOCK"
    )]
    MemlockTooLow {
        /// Bytes of the UMEM.
        bytes: usize,
    },
    /// The UMEM could not be had.
    #[error("{bytes} bytes of packet memory could not be had: {source}; lower the number of chunks")]
    Umem {
        /// Bytes of the UMEM.
        bytes: usize,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The socket could not be bound.
    #[error("an AF_XDP socket could not be bound to queue {queue} of {interface}: {source}")]
    Bind {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A ring or chunk count that the kernel doesn't take.
    #[error("{name} = {value}: must be a power of two from 2 to 65536")]
    RingEntries {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: u32,
    },
    /// The drive mode can't be had here.
    #[error("drive mode `{mode}` can't be had on {interface}: {reason}; `interrupt` works everywhere")]
    Drive {
        /// The mode.
        mode: DriveMode,
        /// The interface.
        interface: String,
        /// Why not.
        reason: String,
    },
}

fn setcap(capability: &str) -> String {
    capability.to_lowercase().replace(" and ", ",")
}

impl XdpError {
    /// Whether the machine lacks something (an interface, a right, a kernel feature), in contrast to a wish that no
    /// machine could fulfil or a failure while running.
    pub fn machine_lacks(&self) -> bool {
        match self {
            XdpError::NoInterface { .. }
            | XdpError::MissingCapability { .. }
            | XdpError::KernelLacks { .. }
            | XdpError::NoNativeXdp { .. }
            | XdpError::NoQueue { .. }
            | XdpError::MtuTooLarge { .. }
            | XdpError::MemlockTooLow { .. }
            | XdpError::Umem { .. }
            | XdpError::Drive { .. } => true,
            XdpError::Load { .. }
            | XdpError::Attach { .. }
            | XdpError::ForeignProgram { .. }
            | XdpError::InUse { .. }
            | XdpError::Query { .. }
            | XdpError::Map { .. }
            | XdpError::TooManyRules { .. }
            | XdpError::QueueBusy { .. }
            | XdpError::Bind { .. }
            | XdpError::RingEntries { .. } => false,
        }
    }
}

/// The system error inside a libbpf or AF_XDP error.
pub(super) fn system_error(error: &(dyn std::error::Error + 'static)) -> io::Error {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(code) = current.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return io::Error::from_raw_os_error(code);
        }
        next = current.source();
    }
    // libbpf-rs keeps its io::Error to itself and shows it in its text only.
    let text = format!("{error:#}");
    let code = text.rsplit_once("(os error ").and_then(|(_, tail)| tail.trim_end_matches(')').parse().ok());
    code.map_or_else(|| io::Error::other(text), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_say_what_to_do() {
        let foreign = XdpError::ForeignProgram { interface: "eth7".into(), name: "xdp_pass".into(), id: 9 };
        assert!(foreign.to_string().contains("`ip link set dev eth7 xdp off`"), "{foreign}");
        assert!(!foreign.machine_lacks());
        let missing = XdpError::MissingCapability { operation: "x", capability: "CAP_BPF and CAP_NET_ADMIN" };
        assert!(missing.to_string().contains("`setcap cap_bpf,cap_net_admin+ep`"), "{missing}");
        assert!(missing.machine_lacks());
    }

    #[test]
    fn the_system_error_survives_libbpf() {
        use libbpf_rs::ErrorExt as _;
        let error = libbpf_rs::Error::from_raw_os_error(libc::EBUSY);
        assert_eq!(system_error(&error).raw_os_error(), Some(libc::EBUSY));
        assert_eq!(system_error(&error.context("while attaching")).raw_os_error(), Some(libc::EBUSY));
    }
}
