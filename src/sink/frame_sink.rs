//! Hot path: what every sender of frames offers. A frame that `send` answered with `Queued` is sent, or the next
//! `flush` fails: a sink never loses one silently.

use super::SinkError;
use crate::source::LinkType;

/// What became of one frame given to a sink. Each outcome has exactly one counter at the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The sink copied the frame; it leaves with the next `flush` at the latest.
    Queued,
    /// No room: flush, then offer the same frame again.
    Full,
    /// Longer than the sink can send; it will never fit.
    TooLong,
    /// The sink can't send frames of this link type (a packet without an Ethernet header to an interface,
    /// where a frame of under 14 bytes is one too).
    LinkType,
    /// The sink sends UDP payloads, and the frame carries none.
    NotUdp,
}

/// A way out for frames. It is owned by one thread.
pub trait FrameSink {
    /// Copies a frame into the sink's batch. `link` says what its first bytes are. Never waits.
    fn send(&mut self, frame: &[u8], link: LinkType) -> SendOutcome;

    /// Hands everything queued to the kernel and returns when it took it all, so that the time after it is the
    /// time at which the frames left this program. Waits for room in the kernel's queue if it has to.
    ///
    /// # Errors
    /// When the kernel refuses for good (the interface went away, the destination can't be reached); the text
    /// names the interface or address.
    fn flush(&mut self) -> Result<(), SinkError>;

    /// Frames that the kernel took since the sink was made.
    fn sent(&self) -> u64;

    /// Times the kernel had no room and a flush had to wait.
    fn waits(&self) -> u64;

    /// What it is, for reports: `af_xdp zero-copy veth0 queue 0`, `af_packet veth0`, `udp 10.0.0.1:5000`, `null`.
    fn describe(&self) -> String;
}
