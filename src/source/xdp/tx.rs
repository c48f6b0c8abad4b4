//! Hot path: one TX queue, for sending frames past the kernel's stack.
//!
//! Invariant: a chunk is free, queued or with the kernel; it is written to only while it is free.

use super::interface::Interface;
use super::rings::{Chunk, CompletionRing, Held, TxRing};
use super::socket::{Bound, Way, bind, call_for_tx};
use super::umem::Memory;
use super::{LaneReport, LaneSettings, XdpError};
use nix::errno::Errno;
use std::io;
use std::os::fd::AsRawFd;

/// What a frame may have beside a packet of MTU size: an Ethernet header and a VLAN tag, which is the kernel's own rule
/// for forwarding. A longer one would vanish in the driver.
const LINK_BYTES: usize = 14 + 4;

/// Why [`TxLane::send`] did not take a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxFull {
    /// No free chunk: flush, then offer it again.
    Full,
    /// Longer than the interface's MTU or a chunk allows; it will never fit.
    TooLong,
}

/// An AF_XDP socket for sending on one queue. It needs no XDP program on the interface.
#[derive(Debug)]
pub struct TxLane {
    tx: TxRing,
    completion: CompletionRing,
    memory: Memory,
    /// Chunks that may be written to; room for all is allocated at boot.
    free: Vec<Chunk>,
    queued: Held,
    returned: Held,
    entries: usize,
    frame_bytes_max: usize,
    given: u64,
    sent: u64,
    waits: u64,
    dropped: u64,
    doorbells: u64,
    report: LaneReport,
}

impl TxLane {
    /// Opens a queue of an interface for sending.
    ///
    /// # Errors
    /// Any [`XdpError`] of sockets.
    pub fn open(interface: &str, settings: &LaneSettings) -> Result<TxLane, XdpError> {
        let interface = Interface::find(interface)?;
        let Bound { memory, chunks, tx, completion, report, .. } = bind(&interface, settings, Way::Tx)?;
        let frame_bytes_max = memory.frame_bytes_max().min(interface.mtu()? as usize + LINK_BYTES);
        Ok(TxLane {
            frame_bytes_max,
            queued: Held::none(memory.id()),
            returned: Held::none(memory.id()),
            entries: settings.ring_entries as usize,
            tx,
            completion,
            memory,
            free: chunks,
            given: 0,
            sent: 0,
            waits: 0,
            dropped: 0,
            doorbells: 0,
            report,
        })
    }

    /// What the socket turned out to be.
    pub fn report(&self) -> &LaneReport {
        &self.report
    }

    /// Bytes of the longest frame that can be sent.
    pub fn frame_bytes_max(&self) -> usize {
        self.frame_bytes_max
    }

    /// Copies a frame and queues it; it leaves with the next `flush` at the latest.
    ///
    /// # Errors
    /// [`TxFull`], and the frame is not queued.
    #[inline]
    pub fn send(&mut self, frame: &[u8]) -> Result<(), TxFull> {
        if frame.len() > self.frame_bytes_max {
            return Err(TxFull::TooLong);
        }
        if self.free.is_empty() {
            self.reap();
        }
        let Some(mut chunk) = self.free.pop() else { return Err(TxFull::Full) };
        self.memory.write(&mut chunk, frame);
        if let Err(chunk) = self.queued.push(chunk) {
            self.free.push(chunk);
            return if self.give() { self.send(frame) } else { Err(TxFull::Full) };
        }
        Ok(())
    }

    /// Hands everything queued to the kernel and returns when it took it all. In copy mode a call moves 32 frames.
    ///
    /// # Errors
    /// The kernel's answer, when the interface is down or gone.
    pub fn flush(&mut self) -> io::Result<()> {
        loop {
            self.reap();
            let given = self.give();
            let before = self.with_kernel();
            if given && before == 0 {
                return Ok(());
            }
            if self.tx.needs_wakeup() {
                self.ring()?;
            }
            if self.with_kernel() == before {
                self.waits += 1;
                std::thread::yield_now();
            }
        }
    }

    /// Frames that the kernel took since the start.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Frames that the kernel took and the driver then dropped, because the receiver behind it had no room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Times a flush found the kernel without room.
    pub fn waits(&self) -> u64 {
        self.waits
    }

    /// System calls made to wake the kernel.
    pub fn doorbells(&self) -> u64 {
        self.doorbells
    }

    /// Puts the queued chunks on the ring; false if it has no room for them.
    #[inline]
    fn give(&mut self) -> bool {
        let count = self.queued.count();
        let given = self.tx.give(&mut self.queued);
        self.given += if given { count as u64 } else { 0 };
        given
    }

    /// Chunks on the ring that the kernel has not taken yet; keeps `sent` at what it has.
    #[inline]
    fn with_kernel(&mut self) -> usize {
        let waiting = self.entries - self.tx.free();
        self.sent = self.given - waiting as u64;
        waiting
    }

    /// Calls the kernel to send.
    fn ring(&mut self) -> io::Result<()> {
        self.doorbells += 1;
        match call_for_tx(self.tx.fd().as_raw_fd()) {
            Ok(()) | Err(Errno::EAGAIN | Errno::ENOBUFS) => Ok(()),
            // The driver took one frame and dropped it.
            Err(Errno::EBUSY) => {
                self.dropped += 1;
                Ok(())
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes back the chunks of sent frames.
    #[inline]
    fn reap(&mut self) {
        while self.completion.take(&mut self.returned) > 0 {
            while let Some(chunk) = self.returned.pop() {
                // Never beyond the capacity: all chunks came from this vector.
                self.free.push(chunk);
            }
        }
    }
}
