//! Hot path: frames out of an interface's queue by AF_XDP.
//!
//! Invariant: a frame that the driver drops for want of room behind it is counted, never forgotten.

use super::{FrameSink, SendOutcome, SinkError};
use crate::source::LinkType;
use crate::source::xdp::{LaneSettings, TxFull, TxLane, XdpError};

const ETHERNET_HEADER_BYTES: usize = 14;

/// A sender of Ethernet frames on one queue of an interface. The interface needs no XDP program for it.
#[derive(Debug)]
pub struct XdpSink {
    lane: TxLane,
}

impl XdpSink {
    /// Opens a queue of an interface for sending.
    ///
    /// # Errors
    /// Any [`XdpError`] of sockets.
    pub fn open(interface: &str, settings: &LaneSettings) -> Result<XdpSink, XdpError> {
        Ok(XdpSink { lane: TxLane::open(interface, settings)? })
    }

    /// Frames that the kernel took and the driver then dropped, because the receiver behind it had no room. They
    /// are among those `sent`.
    pub fn dropped(&self) -> u64 {
        self.lane.dropped()
    }

    /// System calls made to wake the kernel.
    pub fn doorbells(&self) -> u64 {
        self.lane.doorbells()
    }
}

impl FrameSink for XdpSink {
    #[inline]
    fn send(&mut self, frame: &[u8], link: LinkType) -> SendOutcome {
        // The kernel would count a frame without a whole header as an invalid descriptor and send nothing.
        if link != LinkType::Ethernet || frame.len() < ETHERNET_HEADER_BYTES {
            return SendOutcome::LinkType;
        }
        match self.lane.send(frame) {
            Ok(()) => SendOutcome::Queued,
            Err(TxFull::Full) => SendOutcome::Full,
            Err(TxFull::TooLong) => SendOutcome::TooLong,
        }
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.lane
            .flush()
            .map_err(|source| SinkError::Send { target: self.lane.report().interface.clone(), source })
    }

    fn sent(&self) -> u64 {
        self.lane.sent()
    }

    fn waits(&self) -> u64 {
        self.lane.waits()
    }

    fn describe(&self) -> String {
        let report = self.lane.report();
        let copy = if report.zero_copy { "zero-copy" } else { "copy" };
        ["af_xdp", copy, &report.interface, "queue", &report.queue.to_string()].join(" ")
    }
}
