//! Hot path: MoldUDP64 packets and the ITCH 5.0 messages that they carry.
//!
//! Invariant: the n-th message block of a packet has the number `sequence + n`, also when a block before it was
//! refused; so a damaged message never shifts the numbers of those behind it.

use super::{Numbering, Run, RunKind, Visitor, itch50};
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
pub fn session_number(session: &[u8; 10]) -> u128 {
    let mut wide = [0; 16];
    wide[6..].copy_from_slice(session);
    u128::from_be_bytes(wide)
}

/// The session of [`session_number`] in its ten bytes.
#[inline]
pub fn session_bytes(number: u128) -> [u8; 10] {
    let mut session = [0; 10];
    session.copy_from_slice(&number.to_be_bytes()[6..]);
    session
}

/// Bytes of a request.
pub const REQUEST_BYTES: usize = 20;

/// A request packet: asks a re-request server for `count` messages from number `sequence` on.
#[inline]
pub fn request(session: [u8; 10], sequence: u64, count: u16) -> [u8; REQUEST_BYTES] {
    let mut packet = [0; REQUEST_BYTES];
    packet[..10].copy_from_slice(&session);
    packet[10..18].copy_from_slice(&sequence.to_be_bytes());
    packet[18..].copy_from_slice(&count.to_be_bytes());
    packet
}

/// What the header of a downstream packet says: session, first number, and how many messages follow; `None` of those for
/// the end of the session.
#[inline]
pub fn header(packet: &[u8]) -> Option<([u8; 10], u64, Option<u16>)> {
    let (header, _) = Header::ref_from_prefix(packet).ok()?;
    let count = Some(header.count.get()).filter(|count| *count != END_OF_SESSION);
    Some((header.session, header.sequence.get(), count))
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
        match itch50::whole_message(sequence.wrapping_add(index), body) {
            Ok(message) => visitor.message(&message),
            Err(reason) => visitor.refuse(reason),
        }
    }
    if !rest.is_empty() {
        visitor.refuse(MessageReject::TrailingBytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Protocol;
    use crate::wire::Message;
    use crate::wire::harness::{Exercise, exercise};
    use proptest::prelude::*;

    /// The whole first packet of moldudp64-nasdaq-38msgs.pcap: one D.
    const ONE: &str = "303030303130303539420000000000e149d000010013440ab100001f1acf4c4eb70000000001665d6a";

    /// The start of its second packet, which announces 38 messages: the header and the first three, all A.
    const START: &str = "303030303130303539420000000001220e5d0026\
        002441197200001f23e0981ae10000000000792f9f42000000014d45544120202020000c4950\
        002441197200001f23e0981ae100000000006b3f7f53000000644d4554412020202000368634\
        002441197200001f23e0981ae100000000000113af42000000024d45544120202020000c4888";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    #[derive(Debug, Default, PartialEq)]
    struct Recorder {
        runs: Vec<Run>,
        messages: Vec<(u64, u16, u64, Vec<u8>)>,
        refusals: Vec<MessageReject>,
    }

    impl Visitor for Recorder {
        fn run(&mut self, run: &Run) {
            self.runs.push(*run);
        }

        fn message(&mut self, message: &Message<'_>) {
            self.messages.push((message.sequence, message.kind, message.source_ns, message.body.to_vec()));
        }

        fn refuse(&mut self, reason: MessageReject) {
            self.refusals.push(reason);
        }
    }

    fn record(packet: &[u8]) -> Recorder {
        let mut recorder = Recorder::default();
        decode(packet, &mut recorder).expect("the header is there");
        recorder
    }

    fn packet(sequence: u64, count: u16, blocks: &[&[u8]]) -> Vec<u8> {
        let mut packet = b"SESSION001".to_vec();
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&count.to_be_bytes());
        for block in blocks {
            packet.extend_from_slice(&(block.len() as u16).to_be_bytes());
            packet.extend_from_slice(block);
        }
        packet
    }

    #[test]
    fn reads_a_real_packet() {
        let found = record(&bytes(ONE));
        let run = Run {
            unit: 0,
            session: 0x3030_3030_3130_3035_3942,
            sequence: 14_764_496,
            count: 1,
            kind: RunKind::Data,
            numbering: Numbering::Messages,
            send_ns: 0,
        };
        assert_eq!(found.runs, [run]);
        assert_eq!(found.refusals, []);
        // 0x1f1acf4c4eb7 ns after midnight is 34,200.0 s, the opening at 09:30.
        let body = bytes(&ONE[44..]);
        assert_eq!(found.messages, [(14_764_496, u16::from(b'D'), 0x1f1a_cf4c_4eb7, body)]);
    }

    #[test]
    fn a_request_is_20_bytes_of_session_number_and_count() {
        let golden = "303030303130303539420000000001220e5d0026";
        let session = session_bytes(0x3030_3030_3130_3035_3942);
        let packet = request(session, 19_009_117, 38);
        assert_eq!(packet[..], bytes(golden));
        assert_eq!(session_number(&session), 0x3030_3030_3130_3035_3942);
        assert_eq!(header(&packet), Some((*b"000010059B", 19_009_117, Some(38))));
        assert_eq!(header(&request(session, 1, END_OF_SESSION)), Some((session, 1, None)));
        assert_eq!(header(&packet[..19]), None);
    }

    #[test]
    fn a_cut_packet_gives_its_whole_messages_and_one_refusal() {
        let found = record(&bytes(START));
        assert_eq!(found.runs[0].count, 38);
        assert_eq!(found.refusals, [MessageReject::Truncated]);
        let numbers: Vec<u64> = found.messages.iter().map(|m| m.0).collect();
        assert_eq!(numbers, [19_009_117, 19_009_118, 19_009_119]);
        assert!(found.messages.iter().all(|m| m.1 == u16::from(b'A') && m.3.len() == 36));
    }

    #[test]
    fn heartbeats_and_ends_of_session_have_no_messages() {
        for (count, kind) in [(0, RunKind::Heartbeat), (END_OF_SESSION, RunKind::EndOfSession)] {
            let found = record(&packet(77, count, &[]));
            assert_eq!((found.runs[0].kind, found.runs[0].sequence, found.runs[0].count), (kind, 77, 0));
            assert_eq!((found.messages.len(), found.refusals.len()), (0, 0));
            let trailing = record(&packet(77, count, &[b"x"]));
            assert_eq!(trailing.refusals, [MessageReject::TrailingBytes]);
        }
        let short = Exercise { rejected: Some(FrameReject::PacketTooShort), ..Exercise::default() };
        assert_eq!(exercise(Protocol::Moldudp64Itch50, &packet(77, 0, &[])[..19]), short);
    }

    #[test]
    fn odd_messages_keep_the_numbering() {
        let delete = bytes(&ONE[44..]);
        let longer = [&delete[..], b"new field"].concat();
        let found = record(&packet(u64::MAX, 5, &[b"", b"?unknown type", &delete[..18], &longer, b"~"]));
        let kinds: Vec<(u64, u16)> = found.messages.iter().map(|m| (m.0, m.1)).collect();
        assert_eq!(kinds, [(u64::MAX, 0), (0, 63), (2, 68), (3, 126)]);
        assert_eq!(found.refusals, [MessageReject::TooShort]);
        // The unknown type has room for a timestamp, so it has one; the one-byte message has none.
        assert_eq!(found.messages[1].2, u64::from_be_bytes(*b"\0\0own ty"));
        assert_eq!((found.messages[0].2, found.messages[3].2), (0, 0));
        let trailing = record(&packet(1, 1, &[&delete, &delete]));
        assert_eq!((trailing.messages.len(), trailing.refusals), (1, vec![MessageReject::TrailingBytes]));
    }

    proptest! {
        /// Damage in one place leaves all messages before it as they were.
        #[test]
        fn damage_spares_what_is_before_it(place in 20usize..134, byte in any::<u8>(), cut in 20usize..=134) {
            let good = bytes(START);
            let mut damaged = good.clone();
            damaged[place] = byte;
            damaged.truncate(cut);
            let found = record(&damaged);
            let spared = (place.min(cut) - 20) / 38;
            prop_assert!(found.messages.len() >= spared);
            prop_assert_eq!(&found.messages[..spared], &record(&good).messages[..spared]);
            exercise(Protocol::Moldudp64Itch50, &damaged);
        }

        #[test]
        fn any_bytes_behind_any_header_are_decoded(count in any::<u16>(), rest in prop::collection::vec(any::<u8>(), 0..300)) {
            let bytes = [packet(1, count, &[]), rest].concat();
            exercise(Protocol::Moldudp64Itch50, &bytes);
        }
    }
}
