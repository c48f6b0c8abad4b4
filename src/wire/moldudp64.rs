//! Hot path: MoldUDP64 packets and the ITCH 5.0 messages that they carry.
//!
//! Invariant: the n-th message block of a packet has the number `sequence + n`, also when a block before it was
//! refused; so a damaged message never shifts the numbers of those behind it.

use super::{Message, Numbering, Run, RunKind, Visitor, itch50};
use crate::event::{FrameReject, MessageReject};
use zerocopy::big_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// A count that announces the end of the session instead of messages.
const END_OF_SESSION: u16 = 0xffff;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    session: [u8; 10],
    sequence: U64,
    count: U16,
}

const _: () = assert!(size_of::<Header>() == 20);

/// Decodes one downstream packet.
///
/// Unknown ITCH types pass, and so does a block of length 0 (legal; its kind is 0 and its body empty). A known type
/// that is shorter than its specification is refused as `TooShort`; a longer one passes, for fields that a later
/// revision adds.
///
/// # Errors
/// [`FrameReject::PacketTooShort`] when the 20-byte header is not there.
#[inline]
pub fn decode<V: Visitor>(packet: &[u8], visitor: &mut V) -> Result<(), FrameReject> {
    let Ok((header, rest)) = Header::ref_from_prefix(packet) else {
        return Err(FrameReject::PacketTooShort);
    };
    let (kind, count) = match header.count.get() {
        0 => (RunKind::Heartbeat, 0),
        END_OF_SESSION => (RunKind::EndOfSession, 0),
        count => (RunKind::Data, count),
    };
    let sequence = header.sequence.get();
    visitor.run(&Run {
        unit: 0,
        session: session_number(&header.session),
        sequence,
        count: u32::from(count),
        kind,
        numbering: Numbering::Messages,
        send_ns: 0,
    });
    blocks(rest, sequence, count, visitor);
    Ok(())
}

/// The session's ten ASCII bytes as a big-endian number.
#[inline]
fn session_number(session: &[u8; 10]) -> u128 {
    let mut wide = [0; 16];
    wide[6..].copy_from_slice(session);
    u128::from_be_bytes(wide)
}

#[inline]
fn blocks<V: Visitor>(mut rest: &[u8], sequence: u64, count: u16, visitor: &mut V) {
    for index in 0..u64::from(count) {
        let whole = rest
            .split_first_chunk::<2>()
            .and_then(|(length, behind)| behind.split_at_checked(usize::from(u16::from_be_bytes(*length))));
        let Some((body, behind)) = whole else {
            return visitor.refuse(MessageReject::Truncated);
        };
        rest = behind;
        block(sequence.wrapping_add(index), body, visitor);
    }
    if !rest.is_empty() {
        visitor.refuse(MessageReject::TrailingBytes);
    }
}

#[inline]
fn block<V: Visitor>(sequence: u64, body: &[u8], visitor: &mut V) {
    let letter = body.first().copied().unwrap_or(0);
    if itch50::length_of(letter).is_some_and(|length| body.len() < length) {
        return visitor.refuse(MessageReject::TooShort);
    }
    visitor.message(&Message {
        sequence,
        kind: u16::from(letter),
        source_ns: itch50::timestamp(body).unwrap_or(0),
        body,
    });
}
