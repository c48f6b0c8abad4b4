//! The other end of a [`super::LetterPort`]: letters as owned values, off the hot path.
//!
//! Invariant: letters come in the order in which they were written, each exactly once.

use super::port::{ENVELOPE_BYTES, Envelope, PortCounts, Tallies};
use super::reason::Reason;
use super::record::Letter;
use crate::event::{Class, ClockKind, EventHeader, HEADER_BYTES, Marks, Protocol, ShardId};
use rtrb::Consumer;
use std::sync::Arc;
use zerocopy::FromBytes;

/// Bytes of a letter without payload in the ring.
pub(super) const LETTER_BYTES_MIN: usize = ENVELOPE_BYTES + HEADER_BYTES;

/// Whoever takes the letters of one port.
pub struct LetterReader {
    ring: Consumer<u8>,
    tallies: Arc<Tallies>,
}

impl LetterReader {
    pub(super) fn new(ring: Consumer<u8>, tallies: Arc<Tallies>) -> LetterReader {
        LetterReader { ring, tallies }
    }

    /// The next letter, if there is one; `unix_ns` is the time of day.
    pub fn take(&mut self, unix_ns: u64) -> Option<Letter> {
        let mut head = [0; LETTER_BYTES_MIN];
        self.ring.pop_entire_slice(&mut head).ok()?;
        let (envelope, header) = head.split_at(ENVELOPE_BYTES);
        let envelope = Envelope::read_from_bytes(envelope).ok()?;
        let header = EventHeader::read_from_bytes(header).ok()?;
        let mut payload = vec![0; envelope.kept_bytes as usize];
        // The port published the whole record at once.
        self.ring.pop_entire_slice(&mut payload).ok()?;
        Some(letter(&envelope, &header, payload, unix_ns))
    }

    /// How many letters of a reason the port wrote, and how many it only counted.
    pub fn counts(&self, reason: Reason) -> PortCounts {
        self.tallies.of(reason)
    }
}

fn letter(envelope: &Envelope, header: &EventHeader, payload: Vec<u8>, unix_ns: u64) -> Letter {
    Letter {
        reason: Reason::from_code(envelope.reason).expect("the port wrote the code of a reason"),
        at_ns: envelope.at_ns,
        taken_unix_ns: unix_ns,
        attempts: envelope.attempts,
        shard: ShardId(envelope.shard),
        protocol: Protocol::from_u8(header.protocol).unwrap_or(Protocol::Native),
        stream: header.stream,
        line: header.line,
        lane: header.lane,
        session: header.session,
        sequence: header.sequence,
        epoch: header.epoch,
        kind: header.kind,
        class: Class::from_u8(header.class).unwrap_or(Class::Batch),
        marks: Marks(header.marks),
        wire_ns: header.wire_ns,
        receive_ns: header.receive_ns,
        publish_ns: header.publish_ns,
        source_ns: header.source_ns,
        clock: ClockKind::from_u8(header.clock),
        payload,
        payload_bytes: envelope.payload_bytes,
    }
}
