//! Hot path: Cboe PITCH packets (sequenced units), framed down to messages.
//!
//! Invariant: a packet whose length field differs from its length tells the visitor nothing; in all others the
//! messages before the first unframable byte are delivered.

use super::{Message, Numbering, Run, RunKind, Visitor};
use crate::event::{FrameReject, MessageReject, Nanos};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Message type of a unit clear: the receiver forgets all orders of the unit.
pub const UNIT_CLEAR: u8 = 0x97;

/// Bytes of a message's length and type, the least that a message can have.
const MESSAGE_HEADER_BYTES: usize = 2;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct UnitHeader {
    /// Of the packet, with this header.
    length: U16,
    count: u8,
    unit: u8,
    sequence: U32,
}

/// Decodes one packet of a sequenced unit.
///
/// A count of 0 is a heartbeat with the next sequence. Sequence 0 marks packets outside of the numbering
/// ([`Numbering::Unnumbered`]). With a unit clear begins a [`RunKind::Reset`] at the unit clear's own number, whether
/// it counts on or begins again (Cboe counts from 1 each day and does not say what a recovery does), and the unit clear
/// is delivered as its first message; messages before it in the packet are a run of their own.
///
/// # Errors
/// [`FrameReject::PacketTooShort`] below 8 bytes, [`FrameReject::PacketHeader`] when the length field is not the
/// packet's length.
#[inline]
pub fn decode<V: Visitor>(packet: &[u8], visitor: &mut V) -> Result<(), FrameReject> {
    let (header, mut rest) = UnitHeader::ref_from_prefix(packet).map_err(|_| FrameReject::PacketTooShort)?;
    if usize::from(header.length.get()) != packet.len() {
        return Err(FrameReject::PacketHeader);
    }
    let sequence = u64::from(header.sequence.get());
    let step = u64::from(sequence != 0);
    let run = Run {
        unit: u32::from(header.unit),
        session: 0,
        sequence,
        count: u32::from(header.count),
        kind: match (header.count, rest) {
            (0, _) => RunKind::Heartbeat,
            (_, [_, UNIT_CLEAR, ..]) => RunKind::Reset,
            _ => RunKind::Data,
        },
        numbering: if sequence == 0 { Numbering::Unnumbered } else { Numbering::Messages },
        send_ns: 0,
    };
    visitor.run(&run);
    for index in 0..u64::from(header.count) {
        let Some(&length) = rest.first() else {
            visitor.refuse(MessageReject::Truncated);
            return Ok(());
        };
        let length = usize::from(length);
        if length < MESSAGE_HEADER_BYTES {
            visitor.refuse(MessageReject::BadLength);
            return Ok(());
        }
        let Some((message, behind)) = rest.split_at_checked(length) else {
            visitor.refuse(MessageReject::Truncated);
            return Ok(());
        };
        let body = &message[1..];
        if body[0] == UNIT_CLEAR && index > 0 {
            visitor.run(&reset_at(&run, index));
        }
        visitor.message(&Message {
            sequence: sequence + index * step,
            kind: u16::from(body[0]),
            source_ns: time_offset_ns(body),
            body,
        });
        rest = behind;
    }
    if !rest.is_empty() {
        visitor.refuse(MessageReject::TrailingBytes);
    }
    Ok(())
}

/// The run that begins with a unit clear which is message `index` of the packet.
#[cold]
#[inline(never)]
fn reset_at(run: &Run, index: u64) -> Run {
    let sequence = if run.sequence == 0 { 0 } else { run.sequence + index };
    Run { kind: RunKind::Reset, sequence, count: run.count - index as u32, ..*run }
}

/// Nanoseconds since the second that the unit's last time message (0x20) named, for the types of the US feeds
/// that carry this offset as their first field; else 0. (0x20 itself carries whole seconds, so 0; the Asia-Pacific
/// feeds' types 0x37 to 0x3E, which begin with a time of 8 bytes, are left at 0.)
#[inline]
fn time_offset_ns(body: &[u8]) -> Nanos {
    match body {
        [0x21..=0x2D | 0x2F..=0x31 | 0x95..=0x98 | 0xAD..=0xAF, a, b, c, d, ..] => {
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

    fn packet(unit: u8, sequence: u32, messages: &[&[u8]]) -> Vec<u8> {
        let body: Vec<u8> = messages
            .iter()
            .flat_map(|m| std::iter::once(u8::try_from(m.len() + 1).unwrap()).chain(m.iter().copied()))
            .collect();
        let mut bytes = u16::try_from(body.len() + 8).unwrap().to_le_bytes().to_vec();
        bytes.push(u8::try_from(messages.len()).unwrap());
        bytes.push(unit);
        bytes.extend(sequence.to_le_bytes());
        bytes.extend(body);
        bytes
    }

    fn decoded(bytes: &[u8]) -> Recorder {
        record(|recorder| decode(bytes, recorder))
    }

    #[test]
    fn frames_messages_with_their_numbers_and_times() {
        // A time message, then an order deleted 447,000 ns behind it.
        let delete = [&[0x29][..], &447_000u32.to_le_bytes(), &7u64.to_le_bytes()].concat();
        let found = decoded(&packet(3, 900, &[&[0x20, 1, 0, 0, 0], &delete]));
        let run = found.runs[0];
        assert_eq!((run.unit, run.sequence, run.count), (3, 900, 2));
        assert_eq!((run.kind, run.numbering), (RunKind::Data, Numbering::Messages));
        assert_eq!(found.messages[0], (900, 0x20, 0, vec![0x20, 1, 0, 0, 0]));
        assert_eq!(found.messages[1], (901, 0x29, 447_000, delete));
        assert!(found.refused.is_empty());
    }

    #[test]
    fn tells_heartbeat_reset_and_unsequenced_packets() {
        assert_eq!(decoded(&[8, 0, 0, 2, 77, 0, 0, 0]).runs[0].kind, RunKind::Heartbeat);
        assert_eq!(decoded(&[8, 0, 0, 2, 77, 0, 0, 0]).runs[0].sequence, 77);
        let clear = decoded(&packet(1, 1, &[&[UNIT_CLEAR, 5, 0, 0, 0], &[0x20, 0, 0, 0, 0]]));
        assert_eq!((clear.runs[0].kind, clear.messages.len()), (RunKind::Reset, 2));
        let free = decoded(&packet(1, 0, &[&[0x2E, 65], &[0x2E, 66]]));
        assert_eq!(free.runs[0].numbering, Numbering::Unnumbered);
        assert!(free.messages.iter().all(|m| m.0 == 0));
    }

    #[test]
    fn a_unit_clear_inside_a_packet_begins_a_run() {
        let time = [0x20, 0, 0, 0, 0];
        let clear = [UNIT_CLEAR, 5, 0, 0, 0];
        let found = decoded(&packet(4, 70, &[&time, &time, &clear, &time, &clear]));
        let runs: Vec<_> = found.runs.iter().map(|run| (run.kind, run.sequence, run.count)).collect();
        assert_eq!(runs, [(RunKind::Data, 70, 5), (RunKind::Reset, 72, 3), (RunKind::Reset, 74, 1)]);
        assert!(found.runs.iter().all(|run| run.unit == 4 && run.numbering == Numbering::Messages));
        let told: Vec<_> = found.messages.iter().map(|message| (message.0, message.1)).collect();
        assert_eq!(told, [(70, 0x20), (71, 0x20), (72, 0x97), (73, 0x20), (74, 0x97)]);
        // Outside of the numbering there is no number to restart from, but the books are cleared all the same.
        let free = decoded(&packet(4, 0, &[&time, &clear]));
        assert_eq!((free.runs[1].kind, free.runs[1].numbering), (RunKind::Reset, Numbering::Unnumbered));
        assert_eq!((free.runs[1].sequence, free.runs[1].count), (0, 1));
    }

    #[test]
    fn names_what_it_refuses() {
        assert_eq!(decoded(&[8, 0, 0]).rejected, Some(FrameReject::PacketTooShort));
        assert_eq!(decoded(&[9, 0, 0, 0, 0, 0, 0, 0]).rejected, Some(FrameReject::PacketHeader));
        let good = packet(1, 5, &[&[0x20, 0, 0, 0, 0]]);
        let mut announced_more = good.clone();
        announced_more[2] = 2;
        assert_eq!(decoded(&announced_more).refused, [MessageReject::Truncated]);
        let mut too_long = good.clone();
        too_long[8] = 7;
        assert_eq!(decoded(&too_long).refused, [MessageReject::Truncated]);
        let mut too_small = good.clone();
        too_small[8] = 1;
        assert_eq!(decoded(&too_small).refused, [MessageReject::BadLength]);
        let mut behind = packet(1, 5, &[&[0x20, 0, 0, 0, 0], &[0x20]]);
        behind[2] = 1;
        let behind = decoded(&behind);
        assert_eq!((behind.messages.len(), &behind.refused[..]), (1, &[MessageReject::TrailingBytes][..]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..600), fit: bool) {
            let mut bytes = bytes;
            if fit && bytes.len() >= 2 {
                let length = u16::try_from(bytes.len()).unwrap().to_le_bytes();
                bytes[..2].copy_from_slice(&length);
            }
            decoded(&bytes).assert_total(bytes.len(), MESSAGE_HEADER_BYTES);
        }

        #[test]
        fn damage_spares_what_stands_before_it(
            sizes in proptest::collection::vec(1usize..40, 1..20),
            at in any::<proptest::sample::Index>(),
            value in any::<u8>(),
        ) {
            let bodies: Vec<Vec<u8>> = sizes.iter().map(|size| vec![0x22; *size]).collect();
            let parts: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
            let good = packet(1, 10, &parts);
            let mut bad = good.clone();
            let at = 8 + at.index(bad.len() - 8);
            bad[at] = value;
            let (good, bad_found) = (decoded(&good), decoded(&bad));
            bad_found.assert_total(bad.len(), MESSAGE_HEADER_BYTES);
            bad_found.assert_prefix_of(&good, at - 8, 1);
        }
    }
}
