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

/// The first number of every numbering. 0 is none: what can be asked for again is 1 to 4,294,967,295.
const FIRST_SEQUENCE: u64 = 1;

/// Decodes one packet: one run under the packet's number, which all its messages share.
///
/// Number 1 begins a numbering, and its run is a [`RunKind::Reset`]: an incremental channel counts from 1 each week, and
/// behind a channel reset; a snapshot channel in each of its loops. A packet with a channel reset and another number is
/// the last one of the old numbering (so certified handlers take it; the venue's pages don't say): behind its messages
/// comes a `Reset` at 1 without messages, sent a nanosecond later, so that a copy of the packet on another line is of
/// the ended epoch. A damaged packet resets nothing; then packet 1 does. Heartbeat messages (template 12) are ordinary
/// messages, and a packet without messages uses its number. The header announces no message count, so the run's count
/// is the one packet number. Messages of unknown templates pass.
///
/// # Errors
/// `PacketTooShort` below 12 bytes.
#[inline]
pub fn decode<V: Visitor>(packet: &[u8], visitor: &mut V) -> Result<(), FrameReject> {
    let Ok((header, messages)) = PacketHeader::ref_from_prefix(packet) else {
        return Err(FrameReject::PacketTooShort);
    };
    let sequence = u64::from(header.sequence.get());
    let run = Run {
        unit: 0,
        session: 0,
        sequence,
        count: 1,
        kind: if sequence == FIRST_SEQUENCE { RunKind::Reset } else { RunKind::Data },
        numbering: Numbering::Packets,
        send_ns: header.sending_time_ns.get(),
    };
    visitor.run(&run);
    let mut resets = false;
    let mut rest = messages;
    while !rest.is_empty() {
        let Some((header, body, behind)) = split_message(rest) else {
            visitor.refuse(unframed(rest));
            return Ok(());
        };
        rest = behind;
        let kind = header.template.get();
        match source_time(header, body) {
            Some(source_ns) => {
                resets |= kind == template::CHANNEL_RESET;
                visitor.message(&Message { sequence, kind, source_ns, body });
            }
            None => visitor.refuse(MessageReject::TooShort),
        }
    }
    if resets && sequence != FIRST_SEQUENCE {
        visitor.run(&reset_behind(&run));
    }
    Ok(())
}

/// The run that says that the numbers begin again behind `run`'s packet.
#[cold]
#[inline(never)]
fn reset_behind(run: &Run) -> Run {
    let send_ns = run.send_ns.saturating_add(1);
    Run { kind: RunKind::Reset, sequence: FIRST_SEQUENCE, count: 0, send_ns, ..*run }
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

#[cfg(test)]
mod tests {
    use super::super::samples::{BOOKS, HEARTBEAT, MIXED, Told, body, unhex};
    use super::decode;
    use crate::event::{FrameReject, MessageReject};
    use crate::wire::{Numbering, Run, RunKind};

    fn told(packet: &[u8]) -> Told {
        let mut told = Told::default();
        decode(packet, &mut told).expect("a whole header");
        told
    }

    /// A packet numbered 7 of these message bodies, sent at 9.
    fn packet(bodies: &[Vec<u8>]) -> Vec<u8> {
        numbered(7, bodies)
    }

    fn numbered(sequence: u32, bodies: &[Vec<u8>]) -> Vec<u8> {
        let mut packet = [&sequence.to_le_bytes()[..], &9_u64.to_le_bytes()].concat();
        for body in bodies {
            let size = u16::try_from(body.len() + 2).expect("a short message");
            packet.extend_from_slice(&size.to_le_bytes());
            packet.extend_from_slice(body);
        }
        packet
    }

    #[test]
    fn decodes_a_real_packet_of_four_messages() {
        let told = told(&unhex(MIXED));
        let run = Run {
            unit: 0,
            session: 0,
            sequence: 5_728,
            count: 1,
            kind: RunKind::Data,
            numbering: Numbering::Packets,
            send_ns: 1_478_961_300_032_832_581,
        };
        assert_eq!(told.runs, [run]);
        let time_ns = 1_478_961_300_016_640_849;
        let facts: Vec<_> = told.messages.iter().map(|m| (m.0, m.1, m.2, m.3.len())).collect();
        let expected =
            [(37, 38), (32, 54), (35, 46), (32, 22)].map(|(kind, bytes)| (5_728, kind, time_ns, bytes));
        assert_eq!(facts, expected);
        assert_eq!(told.refused, []);
    }

    #[test]
    fn a_heartbeat_message_is_a_message_and_a_packet_of_none_is_data() {
        let packet = unhex(HEARTBEAT);
        let message = told(&packet);
        assert_eq!((message.runs[0].kind, message.runs[0].sequence), (RunKind::Data, 5_615));
        assert_eq!(message.messages, [(5_615, 12, 0, packet[14..].to_vec())]);
        let nothing = told(&packet[..12]);
        assert_eq!(nothing.runs[0].kind, RunKind::Data);
        assert!(nothing.messages.is_empty() && nothing.refused.is_empty());
        let mut none = Told::default();
        assert_eq!(decode(&packet[..11], &mut none), Err(FrameReject::PacketTooShort));
        assert!(none.runs.is_empty());
    }

    /// A channel reset of channel 310, sent at 5.
    fn channel_reset() -> Vec<u8> {
        body(4, 9, &[5, 0, 0, 0, 0, 0, 0, 0, 0x80], &[2, 0, 1, 54, 1])
    }

    /// Kind, sequence, count and send time of the runs.
    fn runs(packet: &[u8]) -> Vec<(RunKind, u64, u32, u64)> {
        told(packet).runs.iter().map(|run| (run.kind, run.sequence, run.count, run.send_ns)).collect()
    }

    #[test]
    fn a_channel_reset_ends_the_numbering_wherever_it_stands_in_its_packet() {
        let heartbeat = body(12, 9, &[], &[]);
        for bodies in [
            vec![channel_reset()],
            vec![channel_reset(), heartbeat.clone()],
            vec![heartbeat.clone(), channel_reset(), heartbeat.clone()],
            vec![channel_reset(), channel_reset()],
        ] {
            let packet = packet(&bodies);
            assert_eq!(runs(&packet), [(RunKind::Data, 7, 1, 9), (RunKind::Reset, 1, 0, 10)]);
            let told = told(&packet);
            assert_eq!(told.messages.len(), bodies.len());
            assert!(told.messages.iter().all(|message| message.0 == 7), "under the packet's number");
            let reset = told.messages.iter().find(|message| message.1 == 4).expect("it is delivered too");
            assert_eq!(reset.2, 5);
        }
    }

    #[test]
    fn packet_1_begins_a_numbering() {
        let heartbeat = body(12, 9, &[], &[]);
        assert_eq!(runs(&numbered(1, std::slice::from_ref(&heartbeat))), [(RunKind::Reset, 1, 1, 9)]);
        assert_eq!(runs(&numbered(1, &[heartbeat.clone(), channel_reset()])), [(RunKind::Reset, 1, 1, 9)]);
        assert_eq!(runs(&numbered(0, std::slice::from_ref(&heartbeat))), [(RunKind::Data, 0, 1, 9)]);
        assert_eq!(runs(&numbered(u32::MAX, &[heartbeat])), [(RunKind::Data, u32::MAX.into(), 1, 9)]);
    }

    #[test]
    fn a_damaged_packet_resets_nothing() {
        let mut cut = packet(&[channel_reset(), channel_reset()]);
        cut.pop();
        assert_eq!(runs(&cut), [(RunKind::Data, 7, 1, 9)]);
        let no_time = body(4, 9, &[5, 0, 0], &[]);
        assert_eq!(runs(&packet(&[no_time])), [(RunKind::Data, 7, 1, 9)]);
    }

    #[test]
    fn stops_where_the_packet_can_not_be_framed() {
        let good = unhex(BOOKS);
        for (length, messages) in [(347, 1), (142, 1), (134, 1), (133, 1), (131, 0), (22, 0), (13, 0)] {
            let cut = told(&good[..length]);
            assert_eq!(
                (cut.messages.len(), cut.refused.as_slice()),
                (messages, &[MessageReject::Truncated][..])
            );
        }
        for size in [0, 1, 9] {
            let mut packet = good.clone();
            packet[132..134].copy_from_slice(&[size, 0]);
            let bad = told(&packet);
            assert_eq!((bad.messages.len(), bad.refused), (1, vec![MessageReject::BadLength]));
        }
        assert_eq!(told(&good[..132]).refused, [], "a packet may end behind any message");
    }

    #[test]
    fn a_block_that_does_not_fit_is_refused_and_framing_goes_on() {
        let mut too_long = body(999, 9, &[0; 4], &[]);
        too_long[0] = 5;
        // Template 52 keeps its time at 16, which a block of 20 bytes doesn't hold.
        let no_time = body(52, 9, &[0; 20], &[]);
        let unknown = body(999, 9, &[0; 4], &[1, 2, 3]);
        let told = told(&packet(&[too_long, no_time, unknown.clone()]));
        assert_eq!(told.refused, [MessageReject::TooShort, MessageReject::TooShort]);
        assert_eq!(told.messages, [(7, 999, 0, unknown)]);
    }
}
