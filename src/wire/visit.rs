//! Hot path: what a decoder tells its caller, by callbacks that inline away.

use crate::event::{MessageReject, Nanos};

/// What the sequence number of a run counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// Every message has its own number: the run's first message has `Run::sequence`, the next one that + 1.
    Messages,
    /// The packet has one number, which all its messages share (CME MDP 3.0).
    Packets,
    /// The protocol numbers nothing that a receiver could rely on (native frames, whose senders share a port).
    Unnumbered,
}

/// What a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunKind {
    /// Messages follow.
    Data,
    /// No message; `Run::sequence` is the next number that the stream will use.
    Heartbeat,
    /// The stream restarts: `Run::sequence` is its next number. Messages may follow.
    Reset,
    /// The sender ends the session; `Run::sequence` is the next number it would have used.
    EndOfSession,
}

/// A run of consecutive messages under one sequence header. Most packets are one run; a MACH datagram is several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The stream among those of its group: IEX channel, Cboe unit; else 0.
    pub unit: u32,
    /// Identity of the sender's session, as the protocol writes it (MoldUDP64: 10 ASCII bytes big-endian in the
    /// low 80 bits; IEX, ICE and MACH: session number); 0 where the protocol has none. A change starts an epoch.
    pub session: u128,
    /// Number of the first message (or of the packet), or the next number for heartbeats.
    pub sequence: u64,
    /// Messages that the header announces, from this run on where a packet is several. A damaged packet may hold fewer.
    pub count: u32,
    /// What the run is.
    pub kind: RunKind,
    /// What the sequence counts.
    pub numbering: Numbering,
    /// When the sender sent it, ns since the Unix epoch, or 0.
    pub send_ns: Nanos,
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its sequence number; the packet's for [`Numbering::Packets`]; for [`Numbering::Unnumbered`] 0, or the sender's
    /// own number, which is information only (native version 2).
    pub sequence: u64,
    /// Its type: the protocol's letter, or template/type number. Native frames: the priority byte.
    pub kind: u16,
    /// The sender's time in the message, in the protocol's time base (ITCH: since midnight), or 0.
    pub source_ns: Nanos,
    /// The message as it stands in the packet, from its type field on (so without length prefix).
    pub body: &'a [u8],
}

/// Receives what a decoder finds, in the order of the packet.
pub trait Visitor {
    /// A run begins; the messages that follow belong to it.
    fn run(&mut self, run: &Run);
    /// A message of the run.
    fn message(&mut self, message: &Message<'_>);
    /// Something in a message's place that is not a valid message. When the rest of the packet can't be framed
    /// any more, this is the last callback, once.
    fn refuse(&mut self, reason: MessageReject);
}
