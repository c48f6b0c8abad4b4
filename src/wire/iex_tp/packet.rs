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

#[cfg(test)]
mod tests {
    use super::super::samples::{HEARTBEAT, TRADE_AND_QUOTE, Told, unhex};
    use super::decode;
    use crate::event::{FrameReject, MessageReject};
    use crate::wire::{Numbering, Run, RunKind};

    /// Offsets in the segment header.
    const PAYLOAD_BYTES_AT: usize = 12;
    const MESSAGES_AT: usize = 14;
    const SEQUENCE_AT: usize = 24;

    fn told(packet: &[u8]) -> Told {
        let mut told = Told::default();
        decode(packet, &mut told).expect("a good header");
        told
    }

    #[test]
    fn decodes_a_real_segment() {
        let told = told(&unhex(TRADE_AND_QUOTE));
        let run = Run {
            unit: 1,
            session: 1_137_508_352,
            sequence: 31_511,
            count: 2,
            kind: RunKind::Data,
            numbering: Numbering::Messages,
            send_ns: 1_499_697_230_630_650_285,
        };
        assert_eq!(told.runs, [run]);
        let facts: Vec<_> = told.messages.iter().map(|m| (m.0, m.1, m.2, m.3.len())).collect();
        let time_ns = 1_499_697_230_626_419_676;
        assert_eq!(facts, [(31_511, u16::from(b'T'), time_ns, 38), (31_512, u16::from(b'Q'), time_ns, 42)]);
        assert_eq!(told.refused, []);
    }

    #[test]
    fn a_segment_without_messages_is_a_heartbeat() {
        let told = told(&unhex(HEARTBEAT));
        assert_eq!(
            (told.runs[0].kind, told.runs[0].sequence, told.runs[0].count),
            (RunKind::Heartbeat, 1, 0)
        );
        assert!(told.messages.is_empty() && told.refused.is_empty());
    }

    #[test]
    fn refuses_headers_that_are_not_its_own() {
        let good = unhex(TRADE_AND_QUOTE);
        let mut told = Told::default();
        let with = |at: usize, value: u8| {
            let mut packet = good.clone();
            packet[at] = value;
            packet
        };
        assert_eq!(decode(&good[..39], &mut told), Err(FrameReject::PacketTooShort));
        assert_eq!(decode(&with(0, 2), &mut told), Err(FrameReject::PacketVersion));
        assert_eq!(decode(&with(2, 6), &mut told), Err(FrameReject::PacketVersion));
        assert_eq!(decode(&with(SEQUENCE_AT + 7, 0x80), &mut told), Err(FrameReject::PacketHeader));
        assert!(told.runs.is_empty() && told.messages.is_empty() && told.refused.is_empty());
        for protocol in 2..=5 {
            assert_eq!(decode(&with(2, protocol), &mut told), Ok(()));
        }
    }

    #[test]
    fn delivers_the_whole_messages_of_a_cut_segment() {
        let good = unhex(TRADE_AND_QUOTE);
        for (length, messages) in [(123, 1), (83, 1), (81, 1), (80, 1), (79, 0), (41, 0), (40, 0)] {
            let told = told(&good[..length]);
            assert_eq!(
                (told.messages.len(), told.refused.as_slice()),
                (messages, &[MessageReject::Truncated][..])
            );
        }
    }

    #[test]
    fn a_header_that_promises_more_than_its_messages_is_told_once() {
        let mut packet = unhex(TRADE_AND_QUOTE);
        packet[PAYLOAD_BYTES_AT] += 1;
        let cut = told(&packet);
        assert_eq!((cut.messages.len(), cut.refused), (2, vec![MessageReject::Truncated]));
        packet[PAYLOAD_BYTES_AT] -= 2;
        let short = told(&packet);
        assert_eq!((short.messages.len(), short.refused), (1, vec![MessageReject::Truncated]));
    }

    #[test]
    fn bytes_behind_the_announced_messages_are_refused_once() {
        let mut packet = unhex(TRADE_AND_QUOTE);
        packet[MESSAGES_AT] = 1;
        let fewer = told(&packet);
        assert_eq!((fewer.messages.len(), fewer.refused), (1, vec![MessageReject::TrailingBytes]));
        let mut packet = unhex(TRADE_AND_QUOTE);
        packet.extend_from_slice(&[0; 9]);
        let longer = told(&packet);
        assert_eq!((longer.messages.len(), longer.refused), (2, vec![MessageReject::TrailingBytes]));
        let mut packet = unhex(HEARTBEAT);
        packet.push(0);
        assert_eq!(told(&packet).refused, [MessageReject::TrailingBytes]);
    }

    #[test]
    fn short_known_messages_are_refused_and_unknown_ones_pass() {
        let mut packet = unhex(HEARTBEAT);
        // A trade of 3 bytes, a message without a type, and an unknown type 'z' of one byte.
        packet.extend_from_slice(&[3, 0, b'T', 0, 0, 0, 0, 1, 0, b'z']);
        packet[PAYLOAD_BYTES_AT] = 10;
        packet[MESSAGES_AT] = 3;
        let told = told(&packet);
        assert_eq!(told.refused, [MessageReject::TooShort, MessageReject::TooShort]);
        assert_eq!(told.messages, [(3, u16::from(b'z'), 0, vec![b'z'])]);
    }
}
