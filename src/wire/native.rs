//! Hot path: native event frames, version 1, as EventStreamCore's senders write them.
//!
//! Invariant: a datagram is one frame, and has exactly one fate: one message, or one refusal. The body of a message
//! is the frame without its length prefix, so that frames from a TCP stream, where the stream's reader takes the
//! prefix off, read the same way.

use super::{Flow, Message, Numbering, Progress, Run, RunKind, Stop, StreamVisitor, Visitor};
use crate::event::{CloseReason, FrameReject, MessageReject, Priority};

/// Longest body that the ancestor takes from a TCP stream: 10 MiB. A longer one ends the connection.
const BODY_BYTES_MAX: u64 = 10 << 20;

/// Bytes of a frame's length prefix.
const PREFIX_BYTES: usize = 4;

/// Priority byte and topic length, in front of the topic.
const BODY_HEADER_BYTES: usize = 3;

/// A frame's fields. The topic is not checked for UTF-8: the ancestor's senders may write any bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativeFrame<'a> {
    /// How urgent its sender says it is.
    pub priority: Priority,
    /// What it is about; one byte at least.
    pub topic: &'a [u8],
    /// What it says; may be empty.
    pub payload: &'a [u8],
}

/// Decodes one UDP payload: `u32 frame_len`, then `frame_len` bytes of body, and nothing behind them.
///
/// # Errors
/// [`FrameReject::PacketTooShort`] when there is no length prefix. Anything else that is wrong is one refused
/// message: `Truncated` for a length beyond the datagram, `TrailingBytes` for one short of it.
#[inline]
pub fn decode<V: Visitor>(packet: &[u8], visitor: &mut V) -> Result<(), FrameReject> {
    let Some((prefix, body)) = packet.split_first_chunk::<4>() else {
        return Err(FrameReject::PacketTooShort);
    };
    visitor.run(&Run {
        unit: 0,
        session: 0,
        sequence: 0,
        count: 1,
        kind: RunKind::Data,
        numbering: Numbering::Unnumbered,
        send_ns: 0,
    });
    // Both sides in u64, so that no length prefix can overflow, whatever a usize holds.
    let announced = u64::from(u32::from_be_bytes(*prefix));
    let present = body.len() as u64;
    if announced > present {
        visitor.refuse(MessageReject::Truncated);
    } else if announced < present {
        visitor.refuse(MessageReject::TrailingBytes);
    } else {
        match parse_body(body) {
            Ok(frame) => {
                visitor.message(&Message { sequence: 0, kind: frame.priority as u16, source_ns: 0, body });
            }
            Err(reason) => visitor.refuse(reason),
        }
    }
    Ok(())
}

/// Decodes the frames in a piece of a stream. A malformed frame inside a good length is one refused message, and the
/// stream goes on behind it, as with the ancestor.
#[inline]
pub fn decode_stream<V: StreamVisitor>(bytes: &[u8], unit_bytes_max: usize, visitor: &mut V) -> Progress {
    let mut consumed = 0;
    let stop = loop {
        let rest = &bytes[consumed..];
        let Some((prefix, behind)) = rest.split_first_chunk::<PREFIX_BYTES>() else {
            break Stop::Incomplete { unit_bytes: PREFIX_BYTES };
        };
        let body_bytes = u32::from_be_bytes(*prefix) as usize;
        if body_bytes as u64 > BODY_BYTES_MAX {
            break Stop::Broken(CloseReason::FrameTooLarge);
        }
        let unit_bytes = PREFIX_BYTES + body_bytes;
        if unit_bytes > unit_bytes_max {
            visitor.refuse(MessageReject::TooLarge);
            break Stop::Discard { unit_bytes: unit_bytes as u64 };
        }
        let Some(body) = behind.get(..body_bytes) else {
            break Stop::Incomplete { unit_bytes };
        };
        match parse_body(body) {
            Ok(frame) => {
                let kind = frame.priority as u16;
                if visitor.offer(&Message { sequence: 0, kind, source_ns: 0, body }) == Flow::Wait {
                    break Stop::Wait;
                }
            }
            Err(reason) => visitor.refuse(reason),
        }
        consumed += unit_bytes;
    };
    Progress { consumed, stop }
}

/// Reads a frame's body (what follows the length prefix): `u8 priority`, `u16 topic_len`, topic, payload.
///
/// # Errors
/// [`MessageReject::TooShort`] when the header is not there, [`MessageReject::BadField`] for a priority over 4, an
/// empty topic, or a topic that runs past the body.
#[inline]
pub fn parse_body(body: &[u8]) -> Result<NativeFrame<'_>, MessageReject> {
    let Some((header, rest)) = body.split_first_chunk::<BODY_HEADER_BYTES>() else {
        return Err(MessageReject::TooShort);
    };
    let topic_bytes = usize::from(u16::from_be_bytes([header[1], header[2]]));
    match (Priority::from_u8(header[0]), rest.split_at_checked(topic_bytes)) {
        (Some(priority), Some((topic, payload))) if !topic.is_empty() => {
            Ok(NativeFrame { priority, topic, payload })
        }
        _ => Err(MessageReject::BadField),
    }
}

/// The fields of a body by name; bytes that are not UTF-8 are replaced. Cold: it allocates.
#[cold]
pub fn describe(body: &[u8]) -> Option<serde_json::Value> {
    let frame = parse_body(body).ok()?;
    Some(serde_json::json!({
        "priority": frame.priority as u8,
        "topic": String::from_utf8_lossy(frame.topic),
        "payload_bytes": frame.payload.len(),
        "payload": String::from_utf8_lossy(frame.payload),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Protocol;
    use crate::wire::harness::{Exercise, exercise};
    use proptest::prelude::*;

    #[derive(Default)]
    struct Fate {
        messages: Vec<(u16, Vec<u8>)>,
        refusals: Vec<MessageReject>,
    }

    impl Visitor for Fate {
        fn run(&mut self, run: &Run) {
            assert_eq!((run.numbering, run.kind, run.count), (Numbering::Unnumbered, RunKind::Data, 1));
        }

        fn message(&mut self, message: &Message<'_>) {
            self.messages.push((message.kind, message.body.to_vec()));
        }

        fn refuse(&mut self, reason: MessageReject) {
            self.refusals.push(reason);
        }
    }

    fn fate(packet: &[u8]) -> Fate {
        let mut fate = Fate::default();
        decode(packet, &mut fate).expect("four bytes are there");
        assert_eq!(fate.messages.len() + fate.refusals.len(), 1);
        fate
    }

    /// What the ancestor's sender writes for priority 3, topic "md.trade", payload "px=1".
    const FRAME: &[u8] = b"\x00\x00\x00\x0f\x03\x00\x08md.tradepx=1";

    #[test]
    fn accepts_a_frame_and_reads_its_body() {
        let fate = fate(FRAME);
        assert_eq!(fate.messages, [(3, FRAME[4..].to_vec())]);
        let frame = parse_body(&FRAME[4..]).expect("a good body");
        assert_eq!(frame, NativeFrame { priority: Priority::High, topic: b"md.trade", payload: b"px=1" });
        let fields = describe(&FRAME[4..]).expect("a good body");
        assert_eq!((&fields["topic"], &fields["priority"]), (&"md.trade".into(), &3.into()));
        assert_eq!(parse_body(b"\x00\x00\x01a").map(|frame| frame.payload), Ok(&b""[..]));
        assert_eq!(describe(b"\x05\x00\x01a"), None);
    }

    #[test]
    fn every_bad_frame_is_one_named_refusal() {
        let cases: [(&[u8], MessageReject); 9] = [
            // The datagram that kills the ancestor.
            (b"\xff\xff\xff\xff\x02\x00\x01\x61", MessageReject::Truncated),
            (b"\x00\x00\x00\x05\x02\x00\x01a", MessageReject::Truncated),
            (b"\x00\x00\x00\x04\x02\x00\x01ab", MessageReject::TrailingBytes),
            (b"\x00\x00\x00\x00\x02\x00\x01a", MessageReject::TrailingBytes),
            (b"\x00\x00\x00\x00", MessageReject::TooShort),
            (b"\x00\x00\x00\x02\x02\x00", MessageReject::TooShort),
            (b"\x00\x00\x00\x04\x05\x00\x01a", MessageReject::BadField),
            (b"\x00\x00\x00\x04\x02\x00\x00a", MessageReject::BadField),
            (b"\x00\x00\x00\x04\x02\x00\x02a", MessageReject::BadField),
        ];
        for (packet, reason) in cases {
            assert_eq!(fate(packet).refusals, [reason], "{packet:x?}");
        }
        let nothing = Exercise { rejected: Some(FrameReject::PacketTooShort), ..Exercise::default() };
        assert_eq!(exercise(Protocol::Native, b"\x00\x00\x00"), nothing);
    }

    proptest! {
        #[test]
        fn whatever_is_encoded_is_read_back(priority in 0u8..5, topic in prop::collection::vec(any::<u8>(), 1..50),
                                            payload in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut body = vec![priority, 0, topic.len() as u8];
            body.extend_from_slice(&topic);
            body.extend_from_slice(&payload);
            let packet = [&(body.len() as u32).to_be_bytes()[..], &body].concat();
            prop_assert_eq!(fate(&packet).messages, [(u16::from(priority), body.clone())]);
            let frame = parse_body(&body).expect("a good body");
            prop_assert_eq!((frame.topic, frame.payload), (&topic[..], &payload[..]));
        }

        #[test]
        fn a_damaged_frame_has_one_fate(place in 0usize..19, byte in any::<u8>(), cut in 4usize..=19) {
            let mut packet = FRAME.to_vec();
            packet[place] = byte;
            packet.truncate(cut);
            let found = exercise(Protocol::Native, &packet);
            prop_assert_eq!((found.runs, found.messages + found.refusals), (1, 1));
        }
    }
}
