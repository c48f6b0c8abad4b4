//! Making and binding a socket, its options and its statistics.
//!
//! Invariant: a socket is the only one of its memory, so chunks can't stray into another socket's rings.

#![expect(
    unsafe_code,
    reason = "xsk-rs' constructor is unsafe; socket options of AF_XDP have no safe wrapper"
)]

use super::error::system_error;
use super::interface::Interface;
use super::occupant::{RETRIES, RETRY_PAUSE};
use super::program::QUEUES_MAX;
use super::rings::{Chunk, CompletionRing, FillRing, RxRing, TxRing};
use super::settings::{CopyMode, LaneReport};
use super::umem::{Memory, chunk_bytes_for};
use super::{DriveMode, LaneSettings, XdpError};
use nix::errno::Errno;
use nix::sys::socket::MsgFlags;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::thread;
use xsk_rs::config::{BindFlags, Interface as XskInterface, LibxdpFlags, QueueSize, SocketConfig};
use xsk_rs::socket::{RxQueue, Socket, TxQueue};
use xsk_rs::umem::{CompQueue, FillQueue};

/// Entries of rings that a one-way socket has to have and doesn't use.
const IDLE_RING_ENTRIES: u32 = 64;
/// The time that the kernel may busy-poll in one call, µs; with MSG_DONTWAIT one round is made anyway.
const BUSY_POLL_US: libc::c_int = 20;
/// Frames that the kernel may process in one busy-poll round: a burst.
const BUSY_POLL_BUDGET: libc::c_int = crate::limits::BURST_MAX as libc::c_int;

/// Which way a socket is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It receives.
    Rx,
    /// It sends.
    Tx,
}

/// A bound socket in its parts.
#[derive(Debug)]
pub(super) struct Bound {
    /// Its packet memory.
    pub(super) memory: Memory,
    /// All of its chunks.
    pub(super) chunks: Vec<Chunk>,
    /// Its rings.
    pub(super) rx: RxRing,
    /// Its rings.
    pub(super) fill: FillRing,
    /// Its rings.
    pub(super) tx: TxRing,
    /// Its rings.
    pub(super) completion: CompletionRing,
    /// What it turned out to be.
    pub(super) report: LaneReport,
}

/// Allocates packet memory and binds a socket to a queue.
pub(super) fn bind(interface: &Interface, settings: &LaneSettings, way: Way) -> Result<Bound, XdpError> {
    settings.check()?;
    if settings.queue >= QUEUES_MAX {
        return Err(XdpError::NoQueue { interface: interface.name.clone(), queue: settings.queue });
    }
    let chunk_bytes = chunk_bytes_for(&interface.name, interface.mtu()?)?;
    let allocation = Memory::allocate(settings, chunk_bytes)?;
    let memory = allocation.memory;
    let (tx, rx, fill, completion) = bind_patiently(interface, settings, way, &memory)?;
    let id = memory.id();
    let rx = RxRing::new(rx, id);
    let fd = rx.fd().as_raw_fd();
    if settings.drive == DriveMode::BusyPoll && way == Way::Rx {
        prefer_busy_poll(fd).map_err(|e| XdpError::Drive {
            mode: settings.drive,
            interface: interface.name.clone(),
            reason: format!("the kernel refused SO_PREFER_BUSY_POLL: {e}"),
        })?;
    }
    let zero_copy = is_zero_copy(fd).map_err(|source| XdpError::Query {
        operation: "reading XDP_OPTIONS",
        interface: interface.name.clone(),
        source,
    })?;
    let report = LaneReport {
        interface: interface.name.clone(),
        queue: settings.queue,
        zero_copy,
        pages: allocation.pages,
        chunk_bytes,
        chunks: settings.chunks,
        memory_bytes: allocation.bytes,
        drive: settings.drive,
    };
    let fill = FillRing::new(fill, id);
    let (tx, completion) = (TxRing::new(tx, id), CompletionRing::new(completion, id));
    Ok(Bound { memory, chunks: allocation.chunks, rx, fill, tx, completion, report })
}

type Queues = (TxQueue, RxQueue, FillQueue, CompQueue);

/// Binds, and retries while the queue is busy: a closed socket keeps it so for 20 to 40 ms.
fn bind_patiently(
    interface: &Interface,
    settings: &LaneSettings,
    way: Way,
    memory: &Memory,
) -> Result<Queues, XdpError> {
    let failed = |source| bind_refusal(interface, settings.queue, source);
    let config = socket_config(settings, way).map_err(failed)?;
    let name: XskInterface = interface.name.parse().map_err(|e| failed(io::Error::other(e)))?;
    let mut tries = 0;
    loop {
        // SAFETY: the memory is of this socket alone, and the loading of a program is inhibited, which is what xsk-rs
        // asks for.
        match unsafe { Socket::new(config, memory.umem(), &name, settings.queue) } {
            Ok((tx, rx, Some((fill, completion)))) => return Ok((tx, rx, fill, completion)),
            Ok((_, _, None)) => {
                return Err(failed(io::Error::other("the memory has a socket on this queue already")));
            }
            Err(error) => {
                let source = system_error(&error);
                tries += 1;
                if source.raw_os_error() != Some(libc::EBUSY) || tries == RETRIES {
                    return Err(failed(source));
                }
            }
        }
        thread::sleep(RETRY_PAUSE);
    }
}

fn socket_config(settings: &LaneSettings, way: Way) -> io::Result<SocketConfig> {
    let entries = |n| QueueSize::new(n).map_err(io::Error::other);
    let (rx, tx) = match way {
        Way::Rx => (settings.ring_entries, IDLE_RING_ENTRIES),
        Way::Tx => (IDLE_RING_ENTRIES, settings.ring_entries),
    };
    let mut flags = BindFlags::XDP_USE_NEED_WAKEUP;
    if settings.copy == CopyMode::Copy {
        flags |= BindFlags::XDP_COPY;
    }
    Ok(SocketConfig::builder()
        .rx_queue_size(entries(rx)?)
        .tx_queue_size(entries(tx)?)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(flags)
        .build())
}

fn bind_refusal(interface: &Interface, queue: u32, source: io::Error) -> XdpError {
    let interface = interface.name.clone();
    match source.raw_os_error() {
        Some(libc::EBUSY) => XdpError::QueueBusy { interface, queue },
        Some(libc::EINVAL) => XdpError::NoQueue { interface, queue },
        Some(libc::ENODEV) => XdpError::NoInterface { interface },
        Some(libc::EPERM | libc::EACCES) => {
            XdpError::MissingCapability { operation: "binding an AF_XDP socket", capability: "CAP_NET_RAW" }
        }
        _ => XdpError::Bind { interface, queue, source },
    }
}

fn prefer_busy_poll(fd: RawFd) -> io::Result<()> {
    let options = [
        (libc::SO_PREFER_BUSY_POLL, 1),
        (libc::SO_BUSY_POLL, BUSY_POLL_US),
        (libc::SO_BUSY_POLL_BUDGET, BUSY_POLL_BUDGET),
    ];
    for (option, value) in options {
        let value: libc::c_int = value;
        // SAFETY: the option's value is an int, which `value` is, and it outlives the call.
        let result = unsafe {
            libc::setsockopt(
                fd,
                libc::SOL_SOCKET,
                option,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn is_zero_copy(fd: RawFd) -> io::Result<bool> {
    let mut options = libc::xdp_options { flags: 0 };
    let mut length = size_of::<libc::xdp_options>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `options`, and the length back; both outlive the call.
    let result = unsafe {
        libc::getsockopt(fd, libc::SOL_XDP, libc::XDP_OPTIONS, (&raw mut options).cast(), &raw mut length)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
}

/// Calls the kernel to go on receiving, or to make one busy-poll round.
#[inline]
pub(super) fn call_for_rx(fd: RawFd) {
    // What it answers is of no use: the ring tells whether something came.
    let _ = nix::sys::socket::recv(fd, &mut [], MsgFlags::MSG_DONTWAIT);
}

/// Calls the kernel to go on sending.
///
/// # Errors
/// The kernel's answer, also the passing ones (`EAGAIN`, `EBUSY`, `ENOBUFS`).
#[inline]
pub(super) fn call_for_tx(fd: RawFd) -> Result<(), Errno> {
    nix::sys::socket::send(fd, &[], MsgFlags::MSG_DONTWAIT).map(|_| ())
}
