//! Hot path: native event frames, version 1, as EventStreamCore's senders write them.
//!
//! Invariant: a datagram is one frame, and has exactly one fate: one message, or one refusal. The body of a message
//! is the frame without its length prefix, so that frames from a TCP stream, where the stream's reader takes the
//! prefix off, read the same way.

use super::{Message, Numbering, Run, RunKind, Visitor};
use crate::event::{FrameReject, MessageReject, Priority};

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
