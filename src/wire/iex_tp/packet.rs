//! Hot path: the IEX-TP segment: a header of 40 bytes, then length-prefixed messages.
//!
//! Invariant: whatever the header claims, nothing outside `packet` is read or handed out.

use super::messages::bytes_min;
use crate::event::{FrameReject, MessageReject, Nanos};
use crate::wire::{Message, Numbering, Run, RunKind, Visitor};
use zerocopy::little_endian::{I64, U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Version of the transport that this decoder knows.
const VERSION: u8 = 1;

/// Where a message keeps its time, behind type and flags.
const TIME_AT: usize = 2;

/// The segment header.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct SegmentHeader {
    version: u8,
    reserved: u8,
    protocol: U16,
    channel: U32,
    session: U32,
    payload_bytes: U16,
    messages: U16,
    stream_offset: I64,
    first_sequence: I64,
    send_time_ns: I64,
}
const _: () = assert!(size_of::<SegmentHeader>() == 40);

/// DEEP 1.0, TOPS 1.6, TOPS 1.5 and DEEP+; they share framing and all types that they have in common.
#[inline]
const fn known_protocol(id: u16) -> bool {
    matches!(id, 0x8002..=0x8005)
}

/// Decodes one segment: one run of the header's channel and session, numbered by message.
///
/// A segment without messages is a heartbeat and is reported with its first sequence as it stands: one that
/// falls back to 1 announces a restart, which is the feed's to judge. Unknown message types pass.
///
/// # Errors
/// `PacketTooShort` below 40 bytes, `PacketVersion` for another transport version or an unknown protocol id,
/// `PacketHeader` for a negative sequence number.
#[inline]
pub fn decode<V: Visitor>(packet: &[u8], visitor: &mut V) -> Result<(), FrameReject> {
    let Ok((header, rest)) = SegmentHeader::ref_from_prefix(packet) else {
        return Err(FrameReject::PacketTooShort);
    };
    if header.version != VERSION || !known_protocol(header.protocol.get()) {
        return Err(FrameReject::PacketVersion);
    }
    let Ok(sequence) = u64::try_from(header.first_sequence.get()) else {
        return Err(FrameReject::PacketHeader);
    };
    let count = header.messages.get();
    visitor.run(&Run {
        unit: header.channel.get(),
        session: u128::from(header.session.get()),
        sequence,
        count: u32::from(count),
        kind: if count == 0 { RunKind::Heartbeat } else { RunKind::Data },
        numbering: Numbering::Messages,
        send_ns: known_time(header.send_time_ns.get()),
    });
    let announced = usize::from(header.payload_bytes.get());
    let payload = &rest[..announced.min(rest.len())];
    match walk(payload, count, sequence, visitor) {
        Err(reason) => visitor.refuse(reason),
        Ok(_) if rest.len() < announced => visitor.refuse(MessageReject::Truncated),
        Ok(used) if used < rest.len() => visitor.refuse(MessageReject::TrailingBytes),
        Ok(_) => {}
    }
    Ok(())
}

/// Tells the visitor the `count` messages in `payload` and returns the bytes they took; `Err` when one runs past
/// the end.
#[inline]
fn walk<V: Visitor>(
    payload: &[u8],
    count: u16,
    sequence: u64,
    visitor: &mut V,
) -> Result<usize, MessageReject> {
    let mut rest = payload;
    for index in 0..u64::from(count) {
        let Some((length, behind)) = rest.split_first_chunk::<2>() else {
            return Err(MessageReject::Truncated);
        };
        let Some((body, behind)) = behind.split_at_checked(usize::from(u16::from_le_bytes(*length))) else {
            return Err(MessageReject::Truncated);
        };
        rest = behind;
        match body.first() {
            Some(&letter) if body.len() >= bytes_min(letter) => visitor.message(&Message {
                sequence: sequence + index,
                kind: u16::from(letter),
                source_ns: source_time(body),
                body,
            }),
            _ => visitor.refuse(MessageReject::TooShort),
        }
    }
    Ok(payload.len() - rest.len())
}

/// The time in a message; 0 for messages too short to hold one.
#[inline]
fn source_time(body: &[u8]) -> Nanos {
    match body.get(TIME_AT..).and_then(|from_time| from_time.first_chunk::<8>()) {
        Some(time) => known_time(i64::from_le_bytes(*time)),
        None => 0,
    }
}

/// A signed time as the appliance writes it: negative ones are not known.
#[inline]
const fn known_time(time_ns: i64) -> Nanos {
    if time_ns > 0 { time_ns.unsigned_abs() } else { 0 }
}
