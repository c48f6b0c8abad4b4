//! Hot path: NYSE Pillar (XDP) packets, framed down to messages.
//!
//! Invariant: a packet whose size field differs from its length tells the visitor nothing; in all others the
//! messages before the first unframable byte are delivered.

use super::{Message, Numbering, Run, RunKind, Visitor};
use crate::event::{FrameReject, MessageReject, Nanos};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Delivery flags with a meaning of their own. The others (10 failover, 11 original, 13 and 15 retransmission) carry
/// messages under their own numbers, and so do flags that are not known.
const HEARTBEAT: u8 = 1;
const SEQUENCE_RESET: u8 = 12;
/// The one packet of a refresh, its first, a further one and its last.
const REFRESH: std::ops::RangeInclusive<u8> = 17..=20;
const MESSAGE_UNAVAILABLE: u8 = 21;

/// Message type of the answer that a range of messages can't be retransmitted.
const UNAVAILABLE: u16 = 31;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct PacketHeader {
    /// Of the packet, with this header.
    size: U16,
    delivery_flag: u8,
    count: u8,
    sequence: U32,
    send_seconds: U32,
    send_nanos: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct MessageHeader {
    /// Of the message, with this header.
    size: U16,
    kind: U16,
}

/// Decodes one packet.
///
/// Flag 1 is a heartbeat with the next sequence, and so is any other packet without messages; flag 12 is a
/// [`RunKind::Reset`] at its own number, whose message (type 1) is delivered too. Refreshes (snapshots) and the answer
/// that messages are unavailable stand outside of the stream's numbering, whatever number their packet has: they are
/// [`Numbering::Unnumbered`], so that they neither fill nor make a gap. A retransmission is data of old numbers, sent
/// now. An unknown flag is no reason to lose the messages behind it: the packet is data.
///
/// # Errors
/// [`FrameReject::PacketTooShort`] below 16 bytes, [`FrameReject::PacketHeader`] when the size field is not the
/// packet's length.
#[inline]
pub fn decode<V: Visitor>(packet: &[u8], visitor: &mut V) -> Result<(), FrameReject> {
    let (header, mut rest) =
        PacketHeader::ref_from_prefix(packet).map_err(|_| FrameReject::PacketTooShort)?;
    if usize::from(header.size.get()) != packet.len() {
        return Err(FrameReject::PacketHeader);
    }
    let sequence = u64::from(header.sequence.get());
    let send_ns = seconds_and_nanos(header.send_seconds.get(), header.send_nanos.get());
    // A heartbeat has no messages, whatever its count says: what stands behind it is trailing.
    let count = if header.delivery_flag == HEARTBEAT { 0 } else { header.count };
    let apart = is_apart(header.delivery_flag);
    visitor.run(&Run {
        unit: 0,
        session: 0,
        sequence,
        count: u32::from(count),
        kind: match (header.delivery_flag, count) {
            (SEQUENCE_RESET, _) => RunKind::Reset,
            (_, 0) if !apart => RunKind::Heartbeat,
            _ => RunKind::Data,
        },
        numbering: if apart { Numbering::Unnumbered } else { Numbering::Messages },
        send_ns,
    });
    for index in 0..u64::from(count) {
        let Ok((message, _)) = MessageHeader::ref_from_prefix(rest) else {
            visitor.refuse(MessageReject::Truncated);
            return Ok(());
        };
        let size = usize::from(message.size.get());
        if size < size_of::<MessageHeader>() {
            visitor.refuse(MessageReject::BadLength);
            return Ok(());
        }
        let Some((bytes, behind)) = rest.split_at_checked(size) else {
            visitor.refuse(MessageReject::Truncated);
            return Ok(());
        };
        let kind = message.kind.get();
        let body = &bytes[size_of::<U16>()..];
        visitor.message(&Message {
            sequence: sequence + index,
            kind,
            source_ns: source_time(kind, body, send_ns),
            body,
        });
        rest = behind;
    }
    if !rest.is_empty() {
        visitor.refuse(MessageReject::TrailingBytes);
    }
    Ok(())
}

/// Whether a packet with this delivery flag stands outside of the stream's numbering.
#[inline]
fn is_apart(delivery_flag: u8) -> bool {
    REFRESH.contains(&delivery_flag) || delivery_flag == MESSAGE_UNAVAILABLE
}

/// The numbers that a message (a `Message::body`) says can't be had any more; `None` for all other types, and for
/// bodies that are cut or name no range.
#[cold]
pub fn unavailable(kind: u16, body: &[u8]) -> Option<std::ops::RangeInclusive<u64>> {
    let numbers = body.get(size_of::<U16>()..)?.first_chunk::<8>()?;
    let (first, last) = numbers.split_at(4);
    let first = u64::from(U32::read_from_bytes(first).ok()?.get());
    let last = u64::from(U32::read_from_bytes(last).ok()?.get());
    (kind == UNAVAILABLE && first <= last).then_some(first..=last)
}

#[inline]
fn seconds_and_nanos(seconds: u32, nanos: u32) -> Nanos {
    u64::from(seconds) * NANOS_PER_SECOND + u64::from(nanos)
}

/// The exchange's time of a message, ns since the Unix epoch, or 0 for types that carry none.
///
/// Order and trade messages carry only the nanoseconds of their second. That second is the send time's, or the one
/// before it when the message would else be younger than its packet (so retransmissions, sent much later, come out
/// too young).
#[inline]
fn source_time(kind: u16, body: &[u8], send_ns: Nanos) -> Nanos {
    match (kind, body) {
        (100..=104 | 110..=114, [_, _, a, b, c, d, ..]) => {
            let nanos = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
            let time = send_ns - send_ns % NANOS_PER_SECOND + nanos;
            if time > send_ns { time.saturating_sub(NANOS_PER_SECOND) } else { time }
        }
        (1 | 34 | 105 | 106, [_, _, a, b, c, d, e, f, g, h, ..]) => {
            seconds_and_nanos(u32::from_le_bytes([*a, *b, *c, *d]), u32::from_le_bytes([*e, *f, *g, *h]))
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorder::{Recorder, record};
    use super::*;
    use proptest::prelude::*;

    const SECONDS: u32 = 1_700_000_000;

    fn packet(flag: u8, sequence: u32, send_nanos: u32, messages: &[(u16, &[u8])]) -> Vec<u8> {
        let body: Vec<u8> = messages
            .iter()
            .flat_map(|(kind, fields)| {
                let size = u16::try_from(fields.len() + 4).unwrap();
                [&size.to_le_bytes()[..], &kind.to_le_bytes(), fields].concat()
            })
            .collect();
        let mut bytes = u16::try_from(body.len() + 16).unwrap().to_le_bytes().to_vec();
        bytes.extend([flag, u8::try_from(messages.len()).unwrap()]);
        bytes.extend(sequence.to_le_bytes());
        bytes.extend(SECONDS.to_le_bytes());
        bytes.extend(send_nanos.to_le_bytes());
        bytes.extend(body);
        bytes
    }

    fn decoded(bytes: &[u8]) -> Recorder {
        record(|recorder| decode(bytes, recorder))
    }

    #[test]
    fn frames_messages_with_their_numbers_and_times() {
        let second = u64::from(SECONDS) * NANOS_PER_SECOND;
        let status = [&SECONDS.to_le_bytes()[..], &9u32.to_le_bytes(), &[0; 8]].concat();
        let found = decoded(&packet(
            11,
            40,
            500,
            &[
                (100, &400u32.to_le_bytes()),
                (103, &999_999_999u32.to_le_bytes()),
                (34, &status),
                (3, &[1; 40]),
            ],
        ));
        let run = found.runs[0];
        assert_eq!((run.kind, run.sequence, run.count, run.send_ns), (RunKind::Data, 40, 4, second + 500));
        let told: Vec<_> = found.messages.iter().map(|m| (m.0, m.1, m.2)).collect();
        let before = second - 1;
        assert_eq!(told, [(40, 100, second + 400), (41, 103, before), (42, 34, second + 9), (43, 3, 0)]);
        assert_eq!(found.messages[0].3, [100, 0, 0x90, 1, 0, 0]);
        assert!(found.refused.is_empty());
    }

    #[test]
    fn a_capture_may_begin_with_a_sequence_reset() {
        let reset = decoded(&packet(12, 1, 0, &[(1, &[0; 10])]));
        assert_eq!((reset.runs[0].kind, reset.runs[0].sequence), (RunKind::Reset, 1));
        assert_eq!((reset.messages[0].0, reset.messages[0].1), (1, 1));
    }

    #[test]
    fn heartbeats_and_flags() {
        let heartbeat = decoded(&packet(1, 77, 0, &[]));
        assert_eq!((heartbeat.runs[0].kind, heartbeat.runs[0].sequence), (RunKind::Heartbeat, 77));
        assert_eq!(decoded(&packet(11, 77, 0, &[])).runs[0].kind, RunKind::Heartbeat);
        for flag in [10, 11, 13, 15, 0, 99, 255] {
            let found = decoded(&packet(flag, 5, 0, &[(2, &[0; 12])]));
            assert_eq!((found.runs[0].kind, found.messages.len()), (RunKind::Data, 1), "flag {flag}");
            assert_eq!(found.runs[0].numbering, Numbering::Messages, "flag {flag}");
        }
        let laden = decoded(&packet(1, 5, 0, &[(2, &[0; 12])]));
        assert_eq!((laden.messages.len(), &laden.refused[..]), (0, &[MessageReject::TrailingBytes][..]));
    }

    #[test]
    fn refreshes_and_refusals_stand_outside_of_the_numbering() {
        for flag in [17, 18, 19, 20, 21] {
            for messages in [&[][..], &[(35, &[0; 12][..]), (106, &[0; 20])]] {
                let found = decoded(&packet(flag, 5, 0, messages));
                let run = found.runs[0];
                assert_eq!((run.kind, run.numbering), (RunKind::Data, Numbering::Unnumbered), "flag {flag}");
                assert_eq!((run.count as usize, found.messages.len()), (messages.len(), messages.len()));
            }
        }
    }

    #[test]
    fn tells_which_messages_are_unavailable() {
        // Numbers 700 to 731 of product 1, channel 3.
        let fields = [&700u32.to_le_bytes()[..], &731u32.to_le_bytes(), &[1, 3]].concat();
        let found = decoded(&packet(21, 1, 0, &[(31, &fields)]));
        let (_, kind, _, body) = &found.messages[0];
        assert_eq!(unavailable(*kind, body), Some(700..=731));
        assert_eq!(unavailable(*kind, &body[..9]), None);
        assert_eq!(unavailable(34, body), None);
        let backwards = [&[31, 0][..], &fields[4..8], &fields[..4]].concat();
        assert_eq!(unavailable(31, &backwards), None);
    }

    #[test]
    fn names_what_it_refuses() {
        assert_eq!(decoded(&[16; 15]).rejected, Some(FrameReject::PacketTooShort));
        let good = packet(11, 5, 0, &[(2, &[0; 12])]);
        let with = |at: usize, value: u8| {
            let mut bad = good.clone();
            bad[at] = value;
            decoded(&bad)
        };
        assert_eq!(with(0, 31).rejected, Some(FrameReject::PacketHeader));
        assert_eq!(with(3, 2).refused, [MessageReject::Truncated]);
        assert_eq!(with(16, 17).refused, [MessageReject::Truncated]);
        assert_eq!(with(16, 3).refused, [MessageReject::BadLength]);
        assert_eq!(with(16, 15).refused, [MessageReject::TrailingBytes]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..600), fit: bool) {
            let mut bytes = bytes;
            if fit && bytes.len() >= 2 {
                let size = u16::try_from(bytes.len()).unwrap().to_le_bytes();
                bytes[..2].copy_from_slice(&size);
            }
            decoded(&bytes).assert_total(bytes.len(), size_of::<MessageHeader>());
        }

        #[test]
        fn damage_spares_what_stands_before_it(
            sizes in proptest::collection::vec(0usize..40, 1..20),
            at in any::<proptest::sample::Index>(),
            value in any::<u8>(),
        ) {
            let bodies: Vec<Vec<u8>> = sizes.iter().map(|size| vec![7; *size]).collect();
            let parts: Vec<(u16, &[u8])> = bodies.iter().map(|body| (100, body.as_slice())).collect();
            let good = packet(11, 10, 1, &parts);
            let mut bad = good.clone();
            let at = 16 + at.index(bad.len() - 16);
            bad[at] = value;
            let (good, bad_found) = (decoded(&good), decoded(&bad));
            bad_found.assert_total(bad.len(), size_of::<MessageHeader>());
            bad_found.assert_prefix_of(&good, at - 16, 2);
        }
    }
}
