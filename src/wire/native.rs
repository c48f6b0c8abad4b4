//! Hot path: native event frames in datagrams and streams: version 1, as EventStreamCore's senders write them, and
//! version 2, told apart by their first four bytes.
//!
//! Invariant: a frame has exactly one fate: one message, or one refusal. The body of a version 1 message is the frame
//! without its length prefix, that of a version 2 message is the frame without its padding, whatever carried it.

use super::native_v2::{self, Frame, Topic};
use super::{
    Control, Flow, Message, Numbering, Progress, Run, RunKind, Stop, StreamVisitor, UNNUMBERED_RUN, Visitor,
};
use crate::event::{CloseReason, FrameReject, MessageReject, Priority};

/// Longest body that the ancestor takes from a TCP stream: 10 MiB. A longer one ends the connection.
const BODY_BYTES_MAX: u64 = 10 << 20;

/// Bytes of a frame's length prefix.
const PREFIX_BYTES: usize = 4;

/// Priority byte and topic length, in front of the topic.
const BODY_HEADER_BYTES: usize = 3;

/// A version 1 frame's fields. The topic is not checked for UTF-8: the ancestor's senders may write any bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativeFrame<'a> {
    /// How urgent its sender says it is.
    pub priority: Priority,
    /// What it is about; one byte at least.
    pub topic: &'a [u8],
    /// What it says; may be empty.
    pub payload: &'a [u8],
}

/// What processors need of an event of either version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativeEvent<'a> {
    /// How urgent its sender says it is.
    pub priority: Priority,
    /// What it is about.
    pub topic: Topic<'a>,
    /// What it says; may be empty.
    pub payload: &'a [u8],
}

/// Decodes one UDP payload: either one version 1 frame (`u32 frame_len`, then `frame_len` bytes of body) or version 2
/// frames, one behind the other; and nothing behind them.
///
/// # Errors
/// [`FrameReject::PacketTooShort`] when the first four bytes are not there. Anything else that is wrong is one refused
/// message: `Truncated` for a length beyond the datagram, `TrailingBytes` for one short of it.
#[inline]
pub fn decode<V: Visitor>(packet: &[u8], visitor: &mut V) -> Result<(), FrameReject> {
    let Some((prefix, body)) = packet.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(FrameReject::PacketTooShort);
    };
    if *prefix == native_v2::MAGIC {
        decode_v2(packet, visitor);
        return Ok(());
    }
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

/// Decodes the version 2 frames of a datagram. Words of a session are refused: a datagram belongs to none.
fn decode_v2<V: Visitor>(packet: &[u8], visitor: &mut V) {
    visitor.run(&UNNUMBERED_RUN);
    let mut rest = packet;
    while !rest.is_empty() {
        if !rest.starts_with(&native_v2::MAGIC) {
            return visitor.refuse(MessageReject::TrailingBytes);
        }
        let announced = native_v2::frame_bytes(rest).and_then(|bytes| usize::try_from(bytes).ok());
        let Some((frame, behind)) = announced.and_then(|bytes| rest.split_at_checked(bytes)) else {
            return visitor.refuse(MessageReject::Truncated);
        };
        match native_v2::parse(frame) {
            Ok(Frame::Event(event)) => visitor.message(&message_v2(frame, &event)),
            Ok(Frame::Control(_)) => visitor.refuse(MessageReject::BadField),
            Err(reason) => visitor.refuse(reason),
        }
        rest = behind;
    }
}

#[inline]
fn message_v2<'a>(frame: &'a [u8], event: &native_v2::EventFrame<'_>) -> Message<'a> {
    Message {
        sequence: event.sequence,
        kind: event.priority as u16,
        source_ns: event.time_ns,
        body: native_v2::body(frame, event),
    }
}

/// Decodes the frames in a piece of a stream, of both versions in any order. A malformed frame inside a good length
/// is one refused message, and the stream goes on behind it, as with the ancestor.
#[inline]
pub fn decode_stream<V: StreamVisitor>(bytes: &[u8], unit_bytes_max: usize, visitor: &mut V) -> Progress {
    let mut consumed = 0;
    loop {
        let rest = &bytes[consumed..];
        let step = match rest.first_chunk::<PREFIX_BYTES>() {
            None => Err(Stop::Incomplete { unit_bytes: PREFIX_BYTES }),
            Some(&native_v2::MAGIC) => match step_v2(rest, unit_bytes_max, visitor) {
                Ok((unit_bytes, None)) => Ok(unit_bytes),
                Ok((unit_bytes, Some(reason))) => {
                    return Progress { consumed: consumed + unit_bytes, stop: Stop::Broken(reason) };
                }
                Err(stop) => Err(stop),
            },
            Some(prefix) => step_v1(*prefix, &rest[PREFIX_BYTES..], unit_bytes_max, visitor),
        };
        match step {
            Ok(unit_bytes) => consumed += unit_bytes,
            Err(stop) => return Progress { consumed, stop },
        }
    }
}

/// Takes one version 1 frame and says how many bytes it had, or why it was not taken.
#[inline]
fn step_v1<V: StreamVisitor>(
    prefix: [u8; PREFIX_BYTES],
    behind: &[u8],
    unit_bytes_max: usize,
    visitor: &mut V,
) -> Result<usize, Stop> {
    let body_bytes = u32::from_be_bytes(prefix) as usize;
    if body_bytes as u64 > BODY_BYTES_MAX {
        return Err(Stop::Broken(CloseReason::FrameTooLarge));
    }
    let unit_bytes = PREFIX_BYTES + body_bytes;
    if unit_bytes > unit_bytes_max {
        visitor.refuse(MessageReject::TooLarge);
        return Err(Stop::Discard { unit_bytes: unit_bytes as u64 });
    }
    let Some(body) = behind.get(..body_bytes) else {
        return Err(Stop::Incomplete { unit_bytes });
    };
    match parse_body(body) {
        Ok(frame) => {
            let kind = frame.priority as u16;
            if visitor.offer(&Message { sequence: 0, kind, source_ns: 0, body }) == Flow::Wait {
                return Err(Stop::Wait);
            }
        }
        Err(reason) => visitor.refuse(reason),
    }
    Ok(unit_bytes)
}

/// Takes one version 2 frame and says how many bytes it had, with the reason if the connection must end behind it;
/// or why it was not taken.
#[inline]
fn step_v2<V: StreamVisitor>(
    rest: &[u8],
    unit_bytes_max: usize,
    visitor: &mut V,
) -> Result<(usize, Option<CloseReason>), Stop> {
    let Some(unit_bytes) = native_v2::frame_bytes(rest) else {
        return Err(Stop::Incomplete { unit_bytes: native_v2::HEADER_BYTES });
    };
    if unit_bytes > native_v2::FRAME_BYTES_MAX {
        return Err(Stop::Broken(CloseReason::FrameTooLarge));
    }
    if unit_bytes > unit_bytes_max as u64 {
        visitor.refuse(MessageReject::TooLarge);
        return Err(Stop::Discard { unit_bytes });
    }
    let unit_bytes = unit_bytes as usize;
    let Some(frame) = rest.get(..unit_bytes) else {
        return Err(Stop::Incomplete { unit_bytes });
    };
    match native_v2::parse(frame) {
        Ok(Frame::Event(event)) => {
            if visitor.offer(&message_v2(frame, &event)) == Flow::Wait {
                return Err(Stop::Wait);
            }
        }
        Ok(Frame::Control(control)) => {
            return Ok((unit_bytes, visitor.control(Control::Native(control)).err()));
        }
        Err(reason) => visitor.refuse(reason),
    }
    Ok((unit_bytes, None))
}

/// Reads the body of an event of either version, as it stands in its slot: a version 1 body begins with a priority,
/// which is never the first letter of version 2's magic. Checksums were judged on the way in and are not again.
///
/// # Errors
/// [`MessageReject::TooShort`] and [`MessageReject::BadField`], for bytes that no decoder here offered.
#[inline]
pub fn read(body: &[u8]) -> Result<NativeEvent<'_>, MessageReject> {
    if body.starts_with(&native_v2::MAGIC) {
        let native_v2::EventFrame { priority, topic, payload, .. } = native_v2::read_event(body)?;
        return Ok(NativeEvent { priority, topic, payload });
    }
    let NativeFrame { priority, topic, payload } = parse_body(body)?;
    Ok(NativeEvent { priority, topic: Topic::Name(topic), payload })
}

/// Reads a version 1 frame's body (what follows the length prefix): `u8 priority`, `u16 topic_len`, topic, payload.
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
    if body.starts_with(&native_v2::MAGIC) {
        return native_v2::read_event(body).ok().map(describe_v2);
    }
    let frame = parse_body(body).ok()?;
    Some(serde_json::json!({
        "priority": frame.priority as u8,
        "topic": String::from_utf8_lossy(frame.topic),
        "payload_bytes": frame.payload.len(),
        "payload": String::from_utf8_lossy(frame.payload),
    }))
}

#[cold]
fn describe_v2(event: native_v2::EventFrame<'_>) -> serde_json::Value {
    let topic = match event.topic {
        Topic::Name(name) => serde_json::json!(String::from_utf8_lossy(name)),
        Topic::Id(id) => serde_json::json!(id),
    };
    serde_json::json!({
        "version": 2,
        "producer": event.producer,
        "sequence": event.sequence,
        "time_ns": event.time_ns,
        "kind": event.kind,
        "priority": event.priority as u8,
        "topic": topic,
        "payload_bytes": event.payload.len(),
        "payload": String::from_utf8_lossy(event.payload),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Protocol;
    use crate::wire::harness::{Exercise, STREAM_UNIT_BYTES_MAX, StreamExercise, exercise, exercise_stream};
    use crate::wire::{detect, recorder};
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

    /// A version 2 event of 64 bytes, 60 of them its body.
    fn frame_v2(sequence: u64, topic: Topic<'_>) -> Vec<u8> {
        let mut frame = Vec::new();
        let event = native_v2::EventFrame {
            producer: 7,
            sequence,
            time_ns: 1_700_000_000_000_000_000,
            kind: 9,
            priority: Priority::Critical,
            topic,
            payload: b"px=1",
        };
        native_v2::encode_event(&event, &mut frame);
        frame
    }

    fn control(word: native_v2::Control<'_>) -> Vec<u8> {
        let mut frame = Vec::new();
        native_v2::encode_control(&word, 7, &mut frame);
        frame
    }

    fn read_datagram(packet: &[u8]) -> recorder::Recorder {
        recorder::record(|recorder| decode(packet, recorder))
    }

    #[test]
    fn a_datagram_carries_several_version_2_frames() {
        let frames = [frame_v2(3, Topic::Name(b"md.trade")), frame_v2(9, Topic::Id(5))];
        let packet = frames.concat();
        let found = read_datagram(&packet);
        assert_eq!((found.runs.as_slice(), found.refused.len()), (&[UNNUMBERED_RUN][..], 0));
        let time = 1_700_000_000_000_000_000;
        let bodies = (frames[0][..60].to_vec(), frames[1][..52].to_vec());
        assert_eq!(found.messages, [(3, 4, time, bodies.0.clone()), (9, 4, time, bodies.1.clone())]);
        let named =
            NativeEvent { priority: Priority::Critical, topic: Topic::Name(b"md.trade"), payload: b"px=1" };
        assert_eq!(read(&bodies.0), Ok(named));
        assert_eq!(read(&bodies.1).map(|event| event.topic), Ok(Topic::Id(5)));
        assert_eq!(read(&FRAME[4..]), Ok(NativeEvent { priority: Priority::High, ..named }));
        assert_eq!(read(b""), Err(MessageReject::TooShort));
        let fields = describe(&bodies.1).expect("a good body");
        let expected = serde_json::json!({
            "version": 2, "producer": 7, "sequence": 9, "time_ns": time, "kind": 9, "priority": 4, "topic": 5,
            "payload_bytes": 4, "payload": "px=1",
        });
        assert_eq!(fields, expected);
        let host = crate::event::Destination::v4([192, 0, 2, 1], 9_001);
        assert_eq!(detect::detect(&packet, host), Some(Protocol::Native));
        assert_eq!(detect::detect(&packet[..119], host), None);
    }

    #[test]
    fn every_bad_version_2_datagram_is_named() {
        let good = frame_v2(1, Topic::Name(b"t"));
        let mut damaged = good.clone();
        damaged[50] ^= 1;
        let hello = native_v2::Control::Hello { producer: 7, acknowledged: 0, durable: false };
        let cases: [(&str, Vec<u8>, usize, MessageReject); 6] = [
            ("damage is skipped", [&damaged[..], &good].concat(), 1, MessageReject::Checksum),
            (
                "a session's word is skipped",
                [control(hello), good.clone()].concat(),
                1,
                MessageReject::BadField,
            ),
            ("cut", [&good[..], &good[..40]].concat(), 1, MessageReject::Truncated),
            ("cut in the padding", good[..good.len() - 1].to_vec(), 0, MessageReject::Truncated),
            ("a version 1 frame behind", [&good[..], FRAME].concat(), 1, MessageReject::TrailingBytes),
            ("only the magic", native_v2::MAGIC.to_vec(), 0, MessageReject::Truncated),
        ];
        for (what, packet, messages, reason) in cases {
            let found = read_datagram(&packet);
            assert_eq!((found.messages.len(), found.refused.as_slice()), (messages, &[reason][..]), "{what}");
            exercise(Protocol::Native, &packet);
        }
    }

    /// Frames of both versions and words of a session: five events, two of them damaged, and two words.
    fn mixed_stream() -> Vec<u8> {
        let mut damaged = frame_v2(4, Topic::Name(b"md.trade"));
        damaged[20] ^= 1;
        [
            control(native_v2::Control::Hello { producer: 7, acknowledged: 0, durable: true }),
            frame_v2(1, Topic::Name(b"md.trade")),
            FRAME.to_vec(),
            damaged,
            frame_v2(2, Topic::Id(5)),
            b"\x00\x00\x00\x04\x05\x00\x01a".to_vec(),
            control(native_v2::Control::Goodbye),
        ]
        .concat()
    }

    #[test]
    fn a_mixed_stream_is_read_whatever_byte_it_is_cut_at() {
        let stream = mixed_stream();
        let expected = StreamExercise {
            messages: 3,
            refusals: 2,
            controls: 2,
            consumed: stream.len(),
            stop: Some(Stop::Incomplete { unit_bytes: 4 }),
        };
        for cut in 0..=stream.len() {
            assert_eq!(exercise_stream(Protocol::Native, &stream, &[cut]), expected, "cut at {cut}");
        }
        let everywhere: Vec<usize> = (0..stream.len()).collect();
        assert_eq!(exercise_stream(Protocol::Native, &stream, &everywhere), expected);
    }

    #[test]
    fn large_frames_are_thrown_away_and_larger_ones_end_the_stream() {
        let large =
            |body_bytes: usize| [&(body_bytes as u32).to_be_bytes()[..], &vec![0; body_bytes]].concat();
        let mut large_v2 = Vec::new();
        let event = native_v2::EventFrame { payload: &[b'x'; STREAM_UNIT_BYTES_MAX], ..sample() };
        native_v2::encode_event(&event, &mut large_v2);
        for stream in
            [[large(STREAM_UNIT_BYTES_MAX), FRAME.to_vec()].concat(), [&large_v2[..], FRAME].concat()]
        {
            let found = exercise_stream(Protocol::Native, &stream, &[1, 4, 9, 50, 600]);
            assert_eq!((found.messages, found.refusals, found.consumed), (1, 1, stream.len()));
        }
        let mut bomb = frame_v2(1, Topic::Id(1));
        bomb[8..12].copy_from_slice(&(10u32 << 20).to_le_bytes());
        for stream in [&[0, 0xa0, 0, 1][..], &bomb] {
            let found = exercise_stream(Protocol::Native, stream, &[2]);
            assert_eq!(found.stop, Some(Stop::Broken(CloseReason::FrameTooLarge)));
            assert_eq!((found.refusals, found.consumed), (0, 0));
        }
        let largest = exercise_stream(Protocol::Native, &[0, 0xa0, 0, 0], &[]);
        assert_eq!(largest.stop, Some(Stop::Discard { unit_bytes: (10 << 20) + 4 }));
    }

    fn sample() -> native_v2::EventFrame<'static> {
        native_v2::EventFrame {
            producer: 1,
            sequence: 1,
            time_ns: 1,
            kind: 1,
            priority: Priority::Low,
            topic: Topic::Id(1),
            payload: b"",
        }
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

        #[test]
        fn a_damaged_stream_is_read_alike_however_it_is_cut(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cuts in prop::collection::vec(0usize..400, 0..12),
            end in any::<prop::sample::Index>(),
        ) {
            let mut stream = mixed_stream();
            for (at, byte) in damage {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
            stream.truncate(end.index(stream.len() + 1));
            exercise_stream(Protocol::Native, &stream, &cuts);
            exercise(Protocol::Native, &stream);
        }

        #[test]
        fn a_damaged_version_2_frame_costs_itself_only(at in 12usize..48, change in 1u8..) {
            let mut stream = [frame_v2(1, Topic::Id(1)), frame_v2(2, Topic::Id(1)), FRAME.to_vec()].concat();
            stream[at] ^= change;
            let found = exercise_stream(Protocol::Native, &stream, &[at]);
            prop_assert_eq!((found.messages, found.refusals, found.consumed), (2, 1, stream.len()));
        }
    }
}
