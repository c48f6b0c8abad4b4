//! Hot path: MIAX MACH datagrams: several packets each, every packet a run of its own.
//!
//! Invariant: a datagram whose first packet can't be framed tells the visitor nothing; in all others the packets
//! before the first unframable byte are delivered.

use super::{Message, Numbering, Run, RunKind, Visitor};
use crate::event::{FrameReject, MessageReject, Nanos};
use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

const HEARTBEAT: u8 = 0;
const START_OF_SESSION: u8 = 1;
const END_OF_SESSION: u8 = 2;
const APPLICATION: u8 = 3;

/// Where the packet type stands in the header.
const PACKET_TYPE_AT: usize = 10;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct PacketHeader {
    sequence: U64,
    /// Of the packet, with this header.
    length: U16,
    packet_type: u8,
    /// Changes when the stream restarts.
    session: u8,
}

/// Decodes one datagram.
///
/// An application packet is one message: its kind is the payload's first byte, its body the payload. Heartbeats
/// and the end of a session use up no number: they carry the last one used (in `miax-tom-mach.pcap` all 60
/// heartbeats do), so that their run's sequence is the one behind it. No capture has a start of session; whether
/// it carries 0 (the last one used) or 1 (the next one), a [`RunKind::Reset`] at 1 comes of it. Other packet types
/// are passed as messages whose kind is the packet type and whose body begins at the packet type.
///
/// # Errors
/// [`FrameReject::PacketTooShort`] below 12 bytes, [`FrameReject::PacketHeader`] when the first packet's length
/// is smaller than its header or larger than the datagram.
#[inline]
pub fn decode<V: Visitor>(datagram: &[u8], visitor: &mut V) -> Result<(), FrameReject> {
    let (first, _) = PacketHeader::ref_from_prefix(datagram).map_err(|_| FrameReject::PacketTooShort)?;
    let length = usize::from(first.length.get());
    if length < size_of::<PacketHeader>() || length > datagram.len() {
        return Err(FrameReject::PacketHeader);
    }
    let mut rest = datagram;
    while !rest.is_empty() {
        let Ok((header, _)) = PacketHeader::ref_from_prefix(rest) else {
            visitor.refuse(MessageReject::Truncated);
            return Ok(());
        };
        let length = usize::from(header.length.get());
        if length < size_of::<PacketHeader>() {
            visitor.refuse(MessageReject::BadLength);
            return Ok(());
        }
        let Some((packet, behind)) = rest.split_at_checked(length) else {
            visitor.refuse(MessageReject::Truncated);
            return Ok(());
        };
        decode_packet(header, packet, visitor);
        rest = behind;
    }
    Ok(())
}

/// Tells one packet, of which `packet` is all the bytes.
#[inline]
fn decode_packet<V: Visitor>(header: &PacketHeader, packet: &[u8], visitor: &mut V) {
    let kind = match header.packet_type {
        HEARTBEAT => RunKind::Heartbeat,
        START_OF_SESSION => RunKind::Reset,
        END_OF_SESSION => RunKind::EndOfSession,
        _ => RunKind::Data,
    };
    let carried = header.sequence.get();
    let has_message = kind == RunKind::Data;
    visitor.run(&Run {
        unit: 0,
        session: u128::from(header.session),
        sequence: match kind {
            RunKind::Data => carried,
            RunKind::Reset => carried.max(1),
            RunKind::Heartbeat | RunKind::EndOfSession => carried.saturating_add(1),
        },
        count: u32::from(has_message),
        kind,
        numbering: Numbering::Messages,
        send_ns: 0,
    });
    let payload = &packet[size_of::<PacketHeader>()..];
    if !has_message {
        if !payload.is_empty() {
            visitor.refuse(MessageReject::TrailingBytes);
        }
    } else if header.packet_type != APPLICATION {
        let kind = u16::from(header.packet_type);
        visitor.message(&Message { sequence: carried, kind, source_ns: 0, body: &packet[PACKET_TYPE_AT..] });
    } else if let Some(&letter) = payload.first() {
        visitor.message(&Message {
            sequence: carried,
            kind: u16::from(letter),
            source_ns: time_offset_ns(payload),
            body: payload,
        });
    } else {
        visitor.refuse(MessageReject::TooShort);
    }
}

/// Nanoseconds since the second that the last system time message ('1') named, for the Top of Market messages
/// that begin with this offset; else 0. (A '1' itself carries whole seconds since the Unix epoch, so 0.)
#[inline]
fn time_offset_ns(payload: &[u8]) -> Nanos {
    match payload {
        [b'B' | b'O' | b'W' | b'A' | b'D' | b'd' | b'T' | b'X' | b'H', a, b, c, d, ..] => {
            Nanos::from(u32::from_le_bytes([*a, *b, *c, *d]))
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorder::{Recorder, record};
    use super::*;
    use proptest::prelude::*;

    fn packet(sequence: u64, packet_type: u8, session: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = sequence.to_le_bytes().to_vec();
        bytes.extend(u16::try_from(payload.len() + 12).unwrap().to_le_bytes());
        bytes.extend([packet_type, session]);
        bytes.extend(payload);
        bytes
    }

    fn decoded(bytes: &[u8]) -> Recorder {
        record(|recorder| decode(bytes, recorder))
    }

    #[test]
    fn every_packet_is_a_run() {
        // The two packets of the first datagram of miax-tom-mach.pcap.
        let time = [b'1', 0x54, 0x7a, 0x06, 0x58];
        let bid = [b'B', 0x6f, 0x0b, 0x01, 0, 0x84, 0x0a, 0, 4, 0xf4, 1, 0x90, 0, 0, 0, 0x41];
        let found = decoded(&[packet(24_364_476, 3, 1, &time), packet(24_364_477, 3, 1, &bid)].concat());
        assert_eq!(found.runs.len(), 2);
        assert!(found.runs.iter().all(|r| (r.kind, r.count, r.session, r.unit) == (RunKind::Data, 1, 1, 0)));
        assert_eq!(found.messages[0], (24_364_476, u16::from(b'1'), 0, time.to_vec()));
        assert_eq!(found.messages[1], (24_364_477, u16::from(b'B'), 68_463, bid.to_vec()));
    }

    #[test]
    fn control_packets_carry_the_last_number() {
        for (packet_type, carried, kind, next) in [
            (0, 41, RunKind::Heartbeat, 42),
            (1, 0, RunKind::Reset, 1),
            (1, 1, RunKind::Reset, 1),
            (2, 41, RunKind::EndOfSession, 42),
        ] {
            let found = decoded(&packet(carried, packet_type, 6, &[]));
            assert_eq!((found.runs[0].kind, found.runs[0].sequence, found.runs[0].session), (kind, next, 6));
            assert_eq!((found.messages.len(), found.refused.len()), (0, 0));
        }
        assert_eq!(decoded(&packet(u64::MAX, 0, 0, &[])).runs[0].sequence, u64::MAX);
    }

    #[test]
    fn unknown_packets_pass_and_damage_is_named() {
        let unknown = decoded(&packet(9, 7, 2, b"zz"));
        assert_eq!(unknown.messages[0], (9, 7, 0, vec![7, 2, b'z', b'z']));
        assert_eq!(decoded(&[0; 11]).rejected, Some(FrameReject::PacketTooShort));
        assert_eq!(decoded(&[0; 12]).rejected, Some(FrameReject::PacketHeader));
        let good = packet(9, 3, 2, b"Txxxx");
        assert_eq!(decoded(&good[..16]).rejected, Some(FrameReject::PacketHeader));
        let cut = decoded(&[&good[..], &good[..16]].concat());
        assert_eq!((cut.messages.len(), &cut.refused[..]), (1, &[MessageReject::Truncated][..]));
        let stub = decoded(&[&good[..], &good[..5]].concat());
        assert_eq!((stub.messages.len(), &stub.refused[..]), (1, &[MessageReject::Truncated][..]));
        let bad_length = decoded(&[&good[..], &[0; 12]].concat());
        assert_eq!(
            (bad_length.messages.len(), &bad_length.refused[..]),
            (1, &[MessageReject::BadLength][..])
        );
        let empty = decoded(&[packet(9, 3, 2, &[]), good].concat());
        assert_eq!((empty.messages.len(), &empty.refused[..]), (1, &[MessageReject::TooShort][..]));
        let laden = decoded(&packet(9, 0, 2, b"x"));
        assert_eq!((laden.messages.len(), &laden.refused[..]), (0, &[MessageReject::TrailingBytes][..]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..600), fit in 12u8..60) {
            let mut bytes = bytes;
            // Lengths that fit now and then, so that the walk gets past the first packet.
            for at in (8..bytes.len().saturating_sub(1)).step_by(usize::from(fit)) {
                bytes[at] = fit;
                bytes[at + 1] = 0;
            }
            decoded(&bytes).assert_total(bytes.len(), 6);
        }

        #[test]
        fn damage_spares_what_stands_before_it(
            sizes in proptest::collection::vec(1usize..40, 1..20),
            at in any::<proptest::sample::Index>(),
            value in any::<u8>(),
        ) {
            let good: Vec<u8> =
                (0u64..).zip(&sizes).flat_map(|(i, size)| packet(i, 3, 1, &vec![b'B'; *size])).collect();
            let mut bad = good.clone();
            let at = at.index(bad.len());
            bad[at] = value;
            let (good, bad_found) = (decoded(&good), decoded(&bad));
            bad_found.assert_total(bad.len(), 6);
            bad_found.assert_prefix_of(&good, at, 12);
        }
    }
}
