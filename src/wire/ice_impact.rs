//! Hot path: ICE iMpact packets, framed down to messages.
//!
//! Invariant: only a packet shorter than its header tells the visitor nothing; in all others the messages before
//! the first unframable byte are delivered.

use super::{Message, Numbering, Run, RunKind, Visitor};
use crate::event::{FrameReject, MessageReject};
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

const NANOS_PER_MILLI: u64 = 1_000_000;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct PacketHeader {
    session: U16,
    sequence: U32,
    count: U16,
    /// Since the Unix epoch.
    sent_millis: U64,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct MessageHeader {
    kind: u8,
    /// Of the fields behind this header.
    body_length: U16,
}

/// Decodes one packet.
///
/// There is no reset message: the session number stays the same on a channel until the server begins anew, after its
/// maintenance window or a failure, and other channels may use the same one; so a change of it is the restart. The
/// sequence numbers messages, and a count of 0 is a heartbeat with the next one (in `ice-impact.pcap` both
/// hold for every packet). Messages' times differ in place by type, so [`Message::source_ns`] is 0; the packet's
/// send time has milliseconds.
///
/// # Errors
/// [`FrameReject::PacketTooShort`] below 16 bytes.
#[inline]
pub fn decode<V: Visitor>(packet: &[u8], visitor: &mut V) -> Result<(), FrameReject> {
    let (header, mut rest) =
        PacketHeader::ref_from_prefix(packet).map_err(|_| FrameReject::PacketTooShort)?;
    let sequence = u64::from(header.sequence.get());
    let count = header.count.get();
    visitor.run(&Run {
        unit: 0,
        session: u128::from(header.session.get()),
        sequence,
        count: u32::from(count),
        kind: if count == 0 { RunKind::Heartbeat } else { RunKind::Data },
        numbering: Numbering::Messages,
        send_ns: header.sent_millis.get().saturating_mul(NANOS_PER_MILLI),
    });
    for index in 0..u64::from(count) {
        let Ok((message, _)) = MessageHeader::ref_from_prefix(rest) else {
            visitor.refuse(MessageReject::Truncated);
            return Ok(());
        };
        let length = size_of::<MessageHeader>() + usize::from(message.body_length.get());
        let Some((body, behind)) = rest.split_at_checked(length) else {
            visitor.refuse(MessageReject::Truncated);
            return Ok(());
        };
        let kind = u16::from(message.kind);
        visitor.message(&Message { sequence: sequence + index, kind, source_ns: 0, body });
        rest = behind;
    }
    if !rest.is_empty() {
        visitor.refuse(MessageReject::TrailingBytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::recorder::{Recorder, record};
    use super::*;
    use proptest::prelude::*;

    fn packet(sequence: u32, messages: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = 1291u16.to_be_bytes().to_vec();
        bytes.extend(sequence.to_be_bytes());
        bytes.extend(u16::try_from(messages.len()).unwrap().to_be_bytes());
        bytes.extend(1_534_845_600_696u64.to_be_bytes());
        for (kind, fields) in messages {
            bytes.push(*kind);
            bytes.extend(u16::try_from(fields.len()).unwrap().to_be_bytes());
            bytes.extend(*fields);
        }
        bytes
    }

    fn decoded(bytes: &[u8]) -> Recorder {
        record(|recorder| decode(bytes, recorder))
    }

    #[test]
    fn frames_messages_with_their_numbers_and_times() {
        let found = decoded(&packet(253_572, &[(b'T', b"S"), (b'F', &[0; 24]), (b'T', b"E")]));
        let run = found.runs[0];
        assert_eq!((run.unit, run.session, run.sequence, run.count), (0, 1291, 253_572, 3));
        assert_eq!((run.kind, run.send_ns), (RunKind::Data, 1_534_845_600_696_000_000));
        assert_eq!(found.messages[0], (253_572, u16::from(b'T'), 0, vec![b'T', 0, 1, b'S']));
        assert_eq!((found.messages[2].0, found.messages[1].3.len()), (253_574, 27));
        let heartbeat = decoded(&packet(9, &[]));
        assert_eq!((heartbeat.runs[0].kind, heartbeat.runs[0].sequence), (RunKind::Heartbeat, 9));
    }

    #[test]
    fn another_session_number_is_another_session_of_the_same_stream() {
        let mut restarted = packet(1, &[(b'T', b"S")]);
        restarted[..2].copy_from_slice(&1292u16.to_be_bytes());
        let run = decoded(&restarted).runs[0];
        assert_eq!((run.unit, run.session, run.sequence, run.kind), (0, 1292, 1, RunKind::Data));
    }

    #[test]
    fn names_what_it_refuses() {
        assert_eq!(decoded(&[0; 15]).rejected, Some(FrameReject::PacketTooShort));
        let good = packet(5, &[(b'T', b"S")]);
        let with = |at: usize, value: u8| {
            let mut bad = good.clone();
            bad[at] = value;
            decoded(&bad)
        };
        assert_eq!(with(7, 2).refused, [MessageReject::Truncated]);
        assert_eq!(with(18, 2).refused, [MessageReject::Truncated]);
        assert_eq!(with(18, 0).refused, [MessageReject::TrailingBytes]);
        assert_eq!(with(7, 0).refused, [MessageReject::TrailingBytes]);
        assert_eq!(decoded(&[&[0xff; 8][..], &[0xff; 8]].concat()).runs[0].send_ns, u64::MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            decoded(&bytes).assert_total(bytes.len(), size_of::<MessageHeader>());
        }

        #[test]
        fn damage_spares_what_stands_before_it(
            sizes in proptest::collection::vec(0usize..40, 1..20),
            at in any::<proptest::sample::Index>(),
            value in any::<u8>(),
        ) {
            let bodies: Vec<Vec<u8>> = sizes.iter().map(|size| vec![7; *size]).collect();
            let parts: Vec<(u8, &[u8])> = bodies.iter().map(|body| (b'E', body.as_slice())).collect();
            let good = packet(10, &parts);
            let mut bad = good.clone();
            let at = 16 + at.index(bad.len() - 16);
            bad[at] = value;
            let (good, bad_found) = (decoded(&good), decoded(&bad));
            bad_found.assert_total(bad.len(), size_of::<MessageHeader>());
            bad_found.assert_prefix_of(&good, at - 16, 0);
        }
    }
}
