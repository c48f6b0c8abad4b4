//! The header of an event: the one cache line at the start of its slot that tells all but the payload.

use crate::limits::CACHE_LINE_BYTES;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of an [`EventHeader`] in a slot: one cache line.
pub const HEADER_BYTES: usize = CACHE_LINE_BYTES;

/// What is known of an event beside its payload. Plain integers, so that any bytes are a valid header;
/// the typed meaning stands beside each field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct EventHeader {
    /// Sequence number in its stream (of the packet, where the protocol numbers packets).
    pub sequence: u64,
    /// When the frame was on the wire, ns on the clock that `clock` names.
    pub wire_ns: u64,
    /// When the shard took the frame up, CLOCK_MONOTONIC ns.
    pub receive_ns: u64,
    /// When the event was pushed to its queue, CLOCK_MONOTONIC ns.
    pub publish_ns: u64,
    /// The sender's own time in the message, in the protocol's time base, or 0.
    pub source_ns: u64,
    /// [`crate::event::StreamIndex`] in the shard's stream table.
    pub stream: u32,
    /// Bytes of payload behind the header.
    pub payload_bytes: u32,
    /// Run of the stream between restarts, from 0.
    pub epoch: u32,
    /// Message type: the protocol's letter or template number.
    pub kind: u16,
    /// Which of its shard's lanes received it; the shard's port counts as one more.
    pub lane: u8,
    /// What its place in the sequence means: [`crate::event::Marks`] as u8.
    pub marks: u8,
    /// [`crate::event::Protocol`] as u8.
    pub protocol: u8,
    /// [`crate::event::Class`] as u8.
    pub class: u8,
    /// [`crate::event::LineIndex`] that brought it first.
    pub line: u8,
    /// [`crate::event::ClockKind`] of `wire_ns` as u8.
    pub clock: u8,
    /// The acknowledged session that it came in: its producer's place + 1; 0 for none.
    pub session: u32,
}

const _: () = assert!(size_of::<EventHeader>() == HEADER_BYTES);
