//! Hot path: native frames, version 2: identified, timed, checked, and the words of an acknowledged session.
//!
//! Invariant: a frame is believed only when its checksum is that of its bytes. docs/native-protocol.md is the format.

use crate::event::{MessageReject, Priority};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first four bytes of every frame: as a version 1 length they would be 1,397,507,890, far over its maximum.
pub const MAGIC: [u8; 4] = *b"SLC2";

/// Bytes of the fixed header, in front of topic and payload.
pub const HEADER_BYTES: usize = 48;

/// Longest frame, header and padding included: as much as version 1 allows a body. A longer one ends a connection.
pub const FRAME_BYTES_MAX: u64 = 10 << 20;

/// Longest name of a topic, bytes.
pub const TOPIC_BYTES_MAX: usize = 255;

/// Longest text of an error frame, bytes; longer ones are cut.
pub const ERROR_TEXT_BYTES_MAX: usize = 64;

/// What [`write_control`] needs at most.
pub const CONTROL_BYTES_MAX: usize = HEADER_BYTES + ERROR_TEXT_BYTES_MAX;

/// Bytes from a frame's start that tell its length.
const LENGTH_BYTES: usize = 12;

/// Where the bytes behind the checksum field begin.
const BEHIND_CHECKSUM: usize = 16;

/// Frames are padded to multiples of this, so that in a row each header is aligned.
const ALIGNMENT: u64 = 8;

/// Event flag: the topic is the number in `topic_id`.
const TOPIC_IS_ID: u8 = 1;

/// Hello flag: durable acknowledgements are wanted.
const WANTS_DURABLE: u8 = 1;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic<'a> {
    /// Its name.
    Name(&'a [u8]),
    /// Its number, which producer and user have agreed upon.
    Id(u32),
}

/// An event frame's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventFrame<'a> {
    /// Who sends it; 0 is nobody in particular.
    pub producer: u64,
    /// Its number in the producer's sequence, from 1; 0 is not numbered.
    pub sequence: u64,
    /// When it happened, ns since the Unix epoch.
    pub time_ns: u64,
    /// The producer's own kind of event.
    pub kind: u16,
    /// How urgent its sender says it is.
    pub priority: Priority,
    /// What it is about.
    pub topic: Topic<'a>,
    /// What it says; may be empty.
    pub payload: &'a [u8],
}

/// The words of an acknowledged session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control<'a> {
    /// Producer to server, first: who it is, and what it wants to be told.
    Hello {
        /// The producer's id; 0 is refused as a violation, so that it is answered.
        producer: u64,
        /// The last of its sequence numbers that it knows to be acknowledged; 0 for none.
        acknowledged: u64,
        /// Whether it wants durable acknowledgements; without, it gets received ones.
        durable: bool,
    },
    /// Server to producer: go on behind `received`.
    Welcome {
        /// The last sequence number that was received and processed.
        received: u64,
        /// The last one that is durable.
        durable: u64,
    },
    /// Server to producer: all up to these numbers.
    Ack {
        /// The last sequence number that was received and processed.
        received: u64,
        /// The last one that is durable.
        durable: u64,
    },
    /// Server to producer, last: why it closes the connection.
    Error {
        /// [`crate::event::CloseReason`] as u8.
        code: u8,
        /// The reason's name.
        text: &'a [u8],
    },
    /// Either way: still there.
    Heartbeat,
    /// Producer to server: all is sent; the server acknowledges the rest and closes.
    Goodbye,
}

/// A frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// An event.
    Event(EventFrame<'a>),
    /// A word of a session.
    Control(Control<'a>),
}

/// What a frame is, in its byte 4.
mod frame_type {
    pub(super) const EVENT: u8 = 0;
    pub(super) const HELLO: u8 = 1;
    pub(super) const WELCOME: u8 = 2;
    pub(super) const ACK: u8 = 3;
    pub(super) const ERROR: u8 = 4;
    pub(super) const HEARTBEAT: u8 = 5;
    pub(super) const GOODBYE: u8 = 6;
}

/// The header as it stands on the wire.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 4],
    frame_type: u8,
    flags: u8,
    priority: u8,
    topic_bytes: u8,
    payload_bytes: U32,
    crc32c: U32,
    producer: U64,
    sequence: U64,
    time_ns: U64,
    kind: U16,
    reserved: U16,
    topic_id: U32,
}

const _: () = assert!(size_of::<Header>() == HEADER_BYTES && HEADER_BYTES.is_multiple_of(ALIGNMENT as usize));
const _: () = assert!(ERROR_TEXT_BYTES_MAX.is_multiple_of(ALIGNMENT as usize));

impl Header {
    /// Bytes of header, topic and payload.
    fn unpadded_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.topic_bytes) + u64::from(self.payload_bytes.get())
    }

    /// The frame that header, topic and payload make, if they are one.
    #[inline]
    fn frame<'a>(&self, topic: &'a [u8], payload: &'a [u8]) -> Option<Frame<'a>> {
        if self.magic != MAGIC || self.reserved.get() != 0 {
            return None;
        }
        if self.frame_type == frame_type::EVENT {
            return self.event(topic, payload).map(Frame::Event);
        }
        let unused = self.priority == 0
            && topic.is_empty()
            && self.topic_id.get() == 0
            && self.time_ns.get() == 0
            && (self.kind.get() == 0 || self.frame_type == frame_type::ERROR)
            && (self.flags == 0 || self.frame_type == frame_type::HELLO);
        if unused { self.control(payload).map(Frame::Control) } else { None }
    }

    #[inline]
    fn event<'a>(&self, topic: &'a [u8], payload: &'a [u8]) -> Option<EventFrame<'a>> {
        let topic = match (self.flags, topic.len(), self.topic_id.get()) {
            (TOPIC_IS_ID, 0, id) => Topic::Id(id),
            (0, 1.., 0) => Topic::Name(topic),
            _ => return None,
        };
        Some(EventFrame {
            producer: self.producer.get(),
            sequence: self.sequence.get(),
            time_ns: self.time_ns.get(),
            kind: self.kind.get(),
            priority: Priority::from_u8(self.priority)?,
            topic,
            payload,
        })
    }

    fn control<'a>(&self, payload: &'a [u8]) -> Option<Control<'a>> {
        let sequence = self.sequence.get();
        let durable = || payload.try_into().map(u64::from_le_bytes).ok();
        let control = match self.frame_type {
            frame_type::HELLO => Control::Hello {
                producer: self.producer.get(),
                acknowledged: sequence,
                durable: match self.flags {
                    0 => false,
                    WANTS_DURABLE => true,
                    _ => return None,
                },
            },
            frame_type::WELCOME => return Some(Control::Welcome { received: sequence, durable: durable()? }),
            frame_type::ACK => return Some(Control::Ack { received: sequence, durable: durable()? }),
            frame_type::ERROR if sequence == 0 => {
                return Some(Control::Error { code: u8::try_from(self.kind.get()).ok()?, text: payload });
            }
            frame_type::HEARTBEAT if sequence == 0 => Control::Heartbeat,
            frame_type::GOODBYE if sequence == 0 => Control::Goodbye,
            _ => return None,
        };
        payload.is_empty().then_some(control)
    }
}

/// The length of the frame that `prefix` begins, padding included; `None` when it is too short to tell.
#[inline]
pub fn frame_bytes(prefix: &[u8]) -> Option<u64> {
    let prefix = prefix.first_chunk::<LENGTH_BYTES>()?;
    let payload_bytes = u32::from_le_bytes([prefix[8], prefix[9], prefix[10], prefix[11]]);
    Some(padded(HEADER_BYTES as u64 + u64::from(prefix[7]) + u64::from(payload_bytes)))
}

#[inline]
const fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGNMENT)
}

/// Reads a whole frame, which begins with [`MAGIC`] and is as long as its header says.
///
/// # Errors
/// [`MessageReject::TooShort`] or [`MessageReject::TrailingBytes`] when it is not so long;
/// [`MessageReject::Checksum`]; [`MessageReject::BadField`] for what the format forbids, padding that is not zero
/// included. The checksum is judged first: a damaged field is damage, not nonsense.
#[inline]
pub fn parse(frame: &[u8]) -> Result<Frame<'_>, MessageReject> {
    let Ok((header, behind)) = Header::ref_from_prefix(frame) else {
        return Err(MessageReject::TooShort);
    };
    let announced = padded(header.unpadded_bytes());
    if announced != frame.len() as u64 {
        let short = announced > frame.len() as u64;
        return Err(if short { MessageReject::TooShort } else { MessageReject::TrailingBytes });
    }
    let (topic, rest) = behind.split_at(usize::from(header.topic_bytes));
    let (payload, padding) = rest.split_at(header.payload_bytes.get() as usize);
    if checksum(&frame[..frame.len() - padding.len()]) != header.crc32c.get() {
        return Err(MessageReject::Checksum);
    }
    if padding.iter().any(|byte| *byte != 0) {
        return Err(MessageReject::BadField);
    }
    header.frame(topic, payload).ok_or(MessageReject::BadField)
}

/// Reads the body of an event as decoders offer it: a whole frame without its padding. Its checksum is not computed
/// again; who keeps events where they may be damaged uses [`parse`].
///
/// # Errors
/// [`MessageReject::TooShort`], [`MessageReject::BadField`].
#[inline]
pub fn read_event(body: &[u8]) -> Result<EventFrame<'_>, MessageReject> {
    let Ok((header, behind)) = Header::ref_from_prefix(body) else {
        return Err(MessageReject::TooShort);
    };
    if header.unpadded_bytes() != body.len() as u64 {
        return Err(MessageReject::BadField);
    }
    let (topic, payload) = behind.split_at(usize::from(header.topic_bytes));
    match header.frame(topic, payload) {
        Some(Frame::Event(event)) => Ok(event),
        _ => Err(MessageReject::BadField),
    }
}

/// Who sent an event that was offered, and its checksum, without reading the rest again; `None` if it is no body of this
/// version.
#[inline]
pub fn identity(body: &[u8]) -> Option<(u64, u32)> {
    let (header, _) = Header::ref_from_prefix(body).ok()?;
    (header.magic == MAGIC).then(|| (header.producer.get(), header.crc32c.get()))
}

/// The bytes of a whole event frame without its padding: the body that decoders offer.
#[inline]
pub(super) fn body<'a>(frame: &'a [u8], event: &EventFrame<'_>) -> &'a [u8] {
    let topic_bytes = match event.topic {
        Topic::Name(name) => name.len(),
        Topic::Id(_) => 0,
    };
    frame.get(..HEADER_BYTES + topic_bytes + event.payload.len()).unwrap_or(frame)
}

/// CRC32C of a frame without its padding, the checksum field left out.
#[inline]
fn checksum(unpadded: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&unpadded[..LENGTH_BYTES]), &unpadded[BEHIND_CHECKSUM..])
}

/// Appends an event's frame, padded.
///
/// # Panics
/// When the topic's name has no bytes or more than [`TOPIC_BYTES_MAX`], or the frame would be longer than
/// [`FRAME_BYTES_MAX`]: nobody would take it.
pub fn encode_event(event: &EventFrame<'_>, into: &mut Vec<u8>) {
    let (flags, name, topic_id) = match event.topic {
        Topic::Name(name) => (0, name, 0),
        Topic::Id(id) => (TOPIC_IS_ID, &[][..], id),
    };
    assert!(
        flags == TOPIC_IS_ID || (1..=TOPIC_BYTES_MAX).contains(&name.len()),
        "a topic has 1 to 255 bytes"
    );
    let unpadded = HEADER_BYTES + name.len() + event.payload.len();
    let whole = padded(unpadded as u64);
    assert!(whole <= FRAME_BYTES_MAX, "a frame has at most {FRAME_BYTES_MAX} bytes");
    let header = Header {
        magic: MAGIC,
        frame_type: frame_type::EVENT,
        flags,
        priority: event.priority as u8,
        topic_bytes: name.len() as u8,
        payload_bytes: U32::new(event.payload.len() as u32),
        producer: U64::new(event.producer),
        sequence: U64::new(event.sequence),
        time_ns: U64::new(event.time_ns),
        kind: U16::new(event.kind),
        topic_id: U32::new(topic_id),
        ..Header::default()
    };
    let start = into.len();
    into.reserve(whole as usize);
    into.extend_from_slice(header.as_bytes());
    into.extend_from_slice(name);
    into.extend_from_slice(event.payload);
    let crc32c = checksum(&into[start..]);
    into[start + LENGTH_BYTES..start + BEHIND_CHECKSUM].copy_from_slice(&crc32c.to_le_bytes());
    into.resize(start + whole as usize, 0);
}

/// Appends a control frame; see [`write_control`].
pub fn encode_control(control: &Control<'_>, producer: u64, into: &mut Vec<u8>) {
    let mut frame = [0; CONTROL_BYTES_MAX];
    let bytes = write_control(control, producer, &mut frame);
    into.extend_from_slice(&frame[..bytes]);
}

/// Writes a control frame to the start of `into` and says how many bytes it has: at most [`CONTROL_BYTES_MAX`], or 0
/// when it does not fit. `producer` is whose session it belongs to, 0 when that is not known; a hello names its own.
#[inline]
pub fn write_control(control: &Control<'_>, producer: u64, into: &mut [u8]) -> usize {
    let mut header = Header { magic: MAGIC, producer: U64::new(producer), ..Header::default() };
    let number;
    let mut payload: &[u8] = &[];
    match *control {
        Control::Hello { producer, acknowledged, durable } => {
            header.frame_type = frame_type::HELLO;
            header.producer = U64::new(producer);
            header.sequence = U64::new(acknowledged);
            header.flags = if durable { WANTS_DURABLE } else { 0 };
        }
        Control::Welcome { received, durable } | Control::Ack { received, durable } => {
            let welcome = matches!(control, Control::Welcome { .. });
            header.frame_type = if welcome { frame_type::WELCOME } else { frame_type::ACK };
            header.sequence = U64::new(received);
            number = durable.to_le_bytes();
            payload = &number;
        }
        Control::Error { code, text } => {
            header.frame_type = frame_type::ERROR;
            header.kind = U16::new(u16::from(code));
            payload = &text[..text.len().min(ERROR_TEXT_BYTES_MAX)];
        }
        Control::Heartbeat => header.frame_type = frame_type::HEARTBEAT,
        Control::Goodbye => header.frame_type = frame_type::GOODBYE,
    }
    header.payload_bytes = U32::new(payload.len() as u32);
    let unpadded = HEADER_BYTES + payload.len();
    let whole = padded(unpadded as u64) as usize;
    let Some(frame) = into.get_mut(..whole) else { return 0 };
    frame[..HEADER_BYTES].copy_from_slice(header.as_bytes());
    frame[HEADER_BYTES..unpadded].copy_from_slice(payload);
    frame[unpadded..].fill(0);
    let crc32c = checksum(&frame[..unpadded]);
    frame[LENGTH_BYTES..BEHIND_CHECKSUM].copy_from_slice(&crc32c.to_le_bytes());
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVENT: EventFrame<'static> = EventFrame {
        producer: 7,
        sequence: 42,
        time_ns: 1_700_000_000_123_456_789,
        kind: 9,
        priority: Priority::High,
        topic: Topic::Name(b"md.trade"),
        payload: b"px=1",
    };

    const CONTROLS: [Control<'static>; 8] = [
        Control::Hello { producer: 7, acknowledged: 41, durable: false },
        Control::Hello { producer: u64::MAX, acknowledged: 0, durable: true },
        Control::Welcome { received: 41, durable: 40 },
        Control::Ack { received: u64::MAX, durable: 0 },
        Control::Error { code: 14, text: b"session_violation" },
        Control::Error { code: 0, text: b"" },
        Control::Heartbeat,
        Control::Goodbye,
    ];

    fn encoded(event: &EventFrame<'_>) -> Vec<u8> {
        let mut frame = Vec::new();
        encode_event(event, &mut frame);
        frame
    }

    /// The frame with one byte set and its checksum made good again.
    fn with_byte(frame: &[u8], at: usize, value: u8) -> Vec<u8> {
        let mut frame = frame.to_vec();
        frame[at] = value;
        let (header, _) = Header::ref_from_prefix(&frame).expect("a header");
        let unpadded = header.unpadded_bytes() as usize;
        let crc32c = checksum(&frame[..unpadded]);
        frame[12..16].copy_from_slice(&crc32c.to_le_bytes());
        frame
    }

    #[test]
    fn an_event_is_read_back_and_its_body_is_the_frame_without_padding() {
        let frame = encoded(&EVENT);
        assert_eq!(frame.len(), 64, "60 bytes and 4 of padding");
        assert_eq!(frame_bytes(&frame[..12]), Some(64));
        assert_eq!(frame_bytes(&frame[..11]), None);
        assert_eq!(parse(&frame), Ok(Frame::Event(EVENT)));
        assert_eq!(body(&frame, &EVENT), &frame[..60]);
        assert_eq!(read_event(&frame[..60]), Ok(EVENT));
        assert_eq!(read_event(&frame), Err(MessageReject::BadField));
        let numbered = EventFrame { topic: Topic::Id(u32::MAX), payload: b"", ..EVENT };
        assert_eq!(parse(&encoded(&numbered)), Ok(Frame::Event(numbered)));
    }

    #[test]
    fn controls_are_read_back_and_written_without_a_vector() {
        for control in CONTROLS {
            let mut frame = Vec::new();
            encode_control(&control, 7, &mut frame);
            assert_eq!(parse(&frame), Ok(Frame::Control(control)));
            assert_eq!(frame_bytes(&frame), Some(frame.len() as u64));
            assert_eq!(write_control(&control, 7, &mut vec![0xff; frame.len() - 1]), 0, "it does not fit");
            assert_eq!(read_event(&frame), Err(MessageReject::BadField));
        }
        let long = Control::Error { code: 1, text: &[b'x'; 1_000] };
        let mut frame = [0; CONTROL_BYTES_MAX];
        assert_eq!(write_control(&long, 0, &mut frame), CONTROL_BYTES_MAX);
        let cut = Control::Error { code: 1, text: &[b'x'; ERROR_TEXT_BYTES_MAX] };
        assert_eq!(parse(&frame), Ok(Frame::Control(cut)));
    }

    #[test]
    fn nonsense_with_a_good_checksum_is_a_bad_field() {
        let event = encoded(&EVENT);
        let mut hello = Vec::new();
        encode_control(&CONTROLS[0], 7, &mut hello);
        let mut heartbeat = Vec::new();
        encode_control(&Control::Heartbeat, 7, &mut heartbeat);
        let mut ack = Vec::new();
        encode_control(&CONTROLS[3], 7, &mut ack);
        let cases: [(&[u8], usize, u8, &str); 12] = [
            (&event, 0, b'X', "magic"),
            (&event, 4, 7, "type"),
            (&event, 5, 2, "flags"),
            (&event, 5, 1, "a number and a name"),
            (&event, 6, 5, "priority"),
            (&event, 42, 1, "reserved"),
            (&event, 44, 1, "a name and a number"),
            (&hello, 5, 2, "flags of a hello"),
            (&hello, 6, 1, "urgent hello"),
            (&heartbeat, 24, 1, "a numbered heartbeat"),
            (&heartbeat, 32, 1, "a time in a control frame"),
            (&ack, 40, 1, "an acknowledgement's kind"),
        ];
        for (frame, at, value, what) in cases {
            assert_eq!(parse(&with_byte(frame, at, value)), Err(MessageReject::BadField), "{what}");
        }
        let mut padding = event.clone();
        padding[63] = 1;
        assert_eq!(parse(&padding), Err(MessageReject::BadField));
        assert_eq!(parse(&event[..47]), Err(MessageReject::TooShort));
        assert_eq!(parse(&event[..56]), Err(MessageReject::TooShort));
        assert_eq!(parse(&[&event[..], &[0; 8]].concat()), Err(MessageReject::TrailingBytes));
    }

    proptest! {
        #[test]
        fn whatever_is_encoded_is_read_back(
            numbers in any::<(u64, u64, u64, u16)>(), priority in 0u8..5, id in any::<Option<u32>>(),
            name in prop::collection::vec(any::<u8>(), 1..=255), payload in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let event = EventFrame {
                producer: numbers.0, sequence: numbers.1, time_ns: numbers.2, kind: numbers.3,
                priority: Priority::from_u8(priority).expect("up to 4"),
                topic: id.map_or(Topic::Name(&name), Topic::Id),
                payload: &payload,
            };
            let frame = encoded(&event);
            prop_assert!(frame.len().is_multiple_of(8));
            prop_assert_eq!(parse(&frame), Ok(Frame::Event(event)));
            prop_assert_eq!(read_event(body(&frame, &event)), Ok(event));
        }

        #[test]
        fn a_changed_byte_is_noticed(at in 0usize..64, change in 1u8..) {
            let mut frame = encoded(&EVENT);
            frame[at] ^= change;
            prop_assert!(parse(&frame).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..200), good in any::<bool>()) {
            if let Some(magic) = bytes.get_mut(..4).filter(|_| good) {
                magic.copy_from_slice(&MAGIC);
            }
            let _ = (parse(&bytes), read_event(&bytes), frame_bytes(&bytes));
        }
    }
}
