//! Hot path: the MDP 3.0 packet: sequence and sending time, then SBE messages behind their sizes.
//!
//! Invariant: every message handed out lies inside the packet and is at least as long as its root block.

use super::layout::{SbeHeader, template, transact_time_at};
use crate::event::{FrameReject, MessageReject, Nanos};
use crate::wire::{Message, Numbering, Run, RunKind, Visitor};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Bytes of a message's size field.
const SIZE_BYTES: usize = size_of::<U16>();

/// The binary packet header.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct PacketHeader {
    sequence: U32,
    sending_time_ns: U64,
}
const _: () = assert!(size_of::<PacketHeader>() == 12);

/// What stands in front of every message's block.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct MessageHeader {
    bytes: U16,
    sbe: SbeHeader,
}
const _: () = assert!(size_of::<MessageHeader>() == 10);

/// Decodes one packet: one run under the packet's number, which all its messages share.
///
/// The run is a reset when the first message is a channel reset, and a heartbeat when there is no message at
/// all; heartbeat messages (template 12) are ordinary messages. The header announces no message count, so the
/// run's count is the one packet number. Messages of unknown templates pass.
///
/// # Errors
/// `PacketTooShort` below 12 bytes.
#[inline]
pub fn decode<V: Visitor>(packet: &[u8], visitor: &mut V) -> Result<(), FrameReject> {
    let Ok((header, messages)) = PacketHeader::ref_from_prefix(packet) else {
        return Err(FrameReject::PacketTooShort);
    };
    let sequence = u64::from(header.sequence.get());
    visitor.run(&Run {
        unit: 0,
        session: 0,
        sequence,
        count: 1,
        kind: run_kind(messages),
        numbering: Numbering::Packets,
        send_ns: header.sending_time_ns.get(),
    });
    let mut rest = messages;
    while !rest.is_empty() {
        let Some((header, body, behind)) = split_message(rest) else {
            visitor.refuse(unframed(rest));
            break;
        };
        rest = behind;
        match source_time(header, body) {
            Some(source_ns) => {
                visitor.message(&Message { sequence, kind: header.template.get(), source_ns, body });
            }
            None => visitor.refuse(MessageReject::TooShort),
        }
    }
    Ok(())
}

/// The first message of `bytes`: its SBE header, its body from there on, and what is behind it.
#[inline]
fn split_message(bytes: &[u8]) -> Option<(&SbeHeader, &[u8], &[u8])> {
    let (header, _) = MessageHeader::ref_from_prefix(bytes).ok()?;
    let message_bytes = usize::from(header.bytes.get());
    if message_bytes < size_of::<MessageHeader>() {
        return None;
    }
    let (message, behind) = bytes.split_at_checked(message_bytes)?;
    Some((&header.sbe, &message[SIZE_BYTES..], behind))
}

/// Why `bytes` does not begin with a whole message.
#[cold]
#[inline(never)]
fn unframed(bytes: &[u8]) -> MessageReject {
    match bytes.first_chunk::<SIZE_BYTES>() {
        Some(size) if usize::from(u16::from_le_bytes(*size)) < size_of::<MessageHeader>() => {
            MessageReject::BadLength
        }
        _ => MessageReject::Truncated,
    }
}

/// What the run of `messages` is.
#[inline]
fn run_kind(messages: &[u8]) -> RunKind {
    if messages.is_empty() {
        return RunKind::Heartbeat;
    }
    match split_message(messages) {
        Some((header, ..)) if header.template.get() == template::CHANNEL_RESET => RunKind::Reset,
        _ => RunKind::Data,
    }
}

/// TransactTime where the template has one, else 0; `None` when the root block runs past the message, or is too
/// short for the time that its template demands.
#[inline]
fn source_time(header: &SbeHeader, body: &[u8]) -> Option<Nanos> {
    let root = body[size_of::<SbeHeader>()..].get(..usize::from(header.block_bytes.get()))?;
    let Some(at) = transact_time_at(header.template.get()) else {
        return Some(0);
    };
    root.get(at..)?.first_chunk::<8>().map(|time| u64::from_le_bytes(*time))
}
