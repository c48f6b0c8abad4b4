//! Hot path: the 20-byte messages of Linux-cpp-event-server's producers.
//!
//! Invariant: every message has the one size that there is; a stream that says another can't be framed.

use super::{Flow, Message, Progress, Stop, StreamVisitor};
use crate::event::{CloseReason, MessageReject};

/// Bytes of a message, its size field included.
pub const MESSAGE_BYTES: usize = 20;

/// Bytes of the size field, which does not count itself.
const SIZE_BYTES: usize = 4;

/// What the size field says, always.
const SIZE: u32 = (MESSAGE_BYTES - SIZE_BYTES) as u32;

/// The types' names, in the order of their numbers.
const TYPES: [&str; 7] = ["CPU_OVERLOAD", "UNKNOWN", "SHUTDOWN", "GO1", "GO2", "GO3", "GO4"];

/// A message's fields.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EngineMessage {
    /// What it is: 0 CPU overload, 1 unknown, 2 shutdown (an event like any other here), 3 to 6 GO1 to GO4.
    pub kind: u8,
    /// Its value, whatever the producer measured; may be no number.
    pub value: f32,
    /// The producer's time, ns on the clock that it chose.
    pub time_ns: i64,
}

/// Decodes the messages in a piece of a stream.
#[inline]
pub fn decode_stream<V: StreamVisitor>(bytes: &[u8], visitor: &mut V) -> Progress {
    let mut consumed = 0;
    let stop = loop {
        let rest = &bytes[consumed..];
        if rest.first_chunk().is_some_and(|size| u32::from_le_bytes(*size) != SIZE) {
            break Stop::Broken(CloseReason::BadFrame);
        }
        let Some(body) = rest.get(SIZE_BYTES..MESSAGE_BYTES) else {
            break Stop::Incomplete { unit_bytes: MESSAGE_BYTES };
        };
        match parse_body(body) {
            Ok(message) => {
                let kind = u16::from(message.kind);
                // A time before the epoch is no time that could be compared with another.
                let source_ns = u64::try_from(message.time_ns).unwrap_or(0);
                if visitor.offer(&Message { sequence: 0, kind, source_ns, body }) == Flow::Wait {
                    break Stop::Wait;
                }
            }
            Err(reason) => visitor.refuse(reason),
        }
        consumed += MESSAGE_BYTES;
    };
    Progress { consumed, stop }
}

/// Reads a message's body: the 16 bytes that follow its size.
///
/// # Errors
/// [`MessageReject::TooShort`] when it has another length, [`MessageReject::BadField`] for a type that there is not.
#[inline]
pub fn parse_body(body: &[u8]) -> Result<EngineMessage, MessageReject> {
    let Ok(&[k0, k1, k2, k3, v0, v1, v2, v3, ref time @ ..]) = <&[u8; SIZE as usize]>::try_from(body) else {
        return Err(MessageReject::TooShort);
    };
    match u8::try_from(i32::from_le_bytes([k0, k1, k2, k3])) {
        Ok(kind) if usize::from(kind) < TYPES.len() => Ok(EngineMessage {
            kind,
            value: f32::from_le_bytes([v0, v1, v2, v3]),
            time_ns: i64::from_le_bytes(*time),
        }),
        _ => Err(MessageReject::BadField),
    }
}

/// The fields of a body by name. Cold: it allocates.
#[cold]
pub fn describe(body: &[u8]) -> Option<serde_json::Value> {
    let message = parse_body(body).ok()?;
    Some(serde_json::json!({
        "type": TYPES[usize::from(message.kind)],
        "value": message.value,
        "time_ns": message.time_ns,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{FrameReject, Protocol};
    use crate::wire::harness::{exercise, exercise_stream};
    use crate::wire::{Visitor, decode, recorder};
    use proptest::prelude::*;

    fn message(kind: i32, value: f32, time_ns: i64) -> Vec<u8> {
        let fields =
            [&16u32.to_le_bytes()[..], &kind.to_le_bytes(), &value.to_le_bytes(), &time_ns.to_le_bytes()];
        fields.concat()
    }

    #[test]
    fn a_packet_of_messages_is_read_and_types_that_are_none_are_refused() {
        let packet =
            [message(0, 0.5, 77), message(7, 1.0, 78), message(-1, 1.0, 79), message(6, -2.0, -1)].concat();
        let found = recorder::record(|recorder| decode(Protocol::Engine20, &packet, recorder));
        let body = |at: usize| packet[at + 4..at + 20].to_vec();
        assert_eq!(found.messages, [(0, 0, 77, body(0)), (0, 6, 0, body(60))]);
        assert_eq!(found.refused, [MessageReject::BadField; 2]);
        let fields = describe(&body(0)).expect("a good body");
        assert_eq!(fields, serde_json::json!({"type": "CPU_OVERLOAD", "value": 0.5, "time_ns": 77}));
        assert_eq!(describe(&body(60)).expect("a good body")["time_ns"], -1);
        assert_eq!(describe(&body(20)), None);
        assert_eq!(parse_body(&packet[..15]), Err(MessageReject::TooShort));
    }

    #[test]
    fn another_size_ends_the_stream_as_soon_as_it_is_seen() {
        let mut stream = message(2, 0.0, 1);
        stream.extend([17, 0, 0, 0]);
        let found = exercise_stream(Protocol::Engine20, &stream, &[3, 21]);
        assert_eq!((found.messages, found.consumed), (1, 20));
        assert_eq!(found.stop, Some(Stop::Broken(CloseReason::BadFrame)));
        assert_eq!(exercise(Protocol::Engine20, &stream[..3]).rejected, Some(FrameReject::PacketTooShort));
        let packet = exercise(Protocol::Engine20, &stream[..23]);
        assert_eq!((packet.messages, packet.refusals), (1, 1), "a packet's rest is truncated");
    }

    proptest! {
        #[test]
        fn a_stream_is_read_however_it_is_cut(
            kinds in prop::collection::vec(-1i32..9, 0..20), cuts in prop::collection::vec(any::<u16>(), 0..9),
        ) {
            let stream: Vec<u8> = kinds.iter().flat_map(|kind| message(*kind, 1.5, 99)).collect();
            let cuts: Vec<usize> = cuts.into_iter().map(usize::from).collect();
            let found = exercise_stream(Protocol::Engine20, &stream, &cuts);
            let good = kinds.iter().filter(|kind| (0..7).contains(*kind)).count();
            prop_assert_eq!((found.messages, found.refusals), (good, kinds.len() - good));
            prop_assert_eq!(found.consumed, stream.len());
        }

        #[test]
        fn damage_does_no_harm(at in 0usize..60, byte in any::<u8>(), cuts in prop::collection::vec(0usize..60, 0..9)) {
            let mut stream = [message(1, 1.0, 1), message(3, 3.0, 3), message(5, 5.0, 5)].concat();
            stream[at] = byte;
            let found = exercise_stream(Protocol::Engine20, &stream, &cuts);
            prop_assert!(found.messages >= at / 20);
            exercise(Protocol::Engine20, &stream);
        }
    }

    #[test]
    fn no_visitor_is_told_of_an_empty_packet() {
        struct Nobody;
        impl Visitor for Nobody {
            fn run(&mut self, _: &crate::wire::Run) {
                panic!("told of a run");
            }
            fn message(&mut self, _: &Message<'_>) {
                panic!("told of a message");
            }
            fn refuse(&mut self, _: MessageReject) {
                panic!("told of a refusal");
            }
        }
        assert_eq!(decode(Protocol::Engine20, &[], &mut Nobody), Err(FrameReject::PacketTooShort));
    }
}
