//! What any bytes may do to a decoder, asserted: used by the fuzz targets and by an ordinary test alike.
//!
//! Invariant: everything here panics when a decoder breaks its contract, and only then. Nothing of the appliance
//! calls it.

mod stream;

pub use stream::{STREAM_UNIT_BYTES_MAX, StreamExercise, exercise_stream};

use super::itch50::{FileFramer, Framed};
use super::{
    Message, Numbering, Run, RunKind, Visitor, decode, describe, entries, itch50, link, snapshot_point,
    unavailable,
};
use crate::event::{FrameReject, LinkType, MessageReject, Protocol};

/// What a decoder made of some bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exercise {
    /// Runs announced.
    pub runs: usize,
    /// Messages delivered.
    pub messages: usize,
    /// Messages refused.
    pub refusals: usize,
    /// Entries of all messages.
    pub entries: usize,
    /// Why the packet as a whole was refused.
    pub rejected: Option<FrameReject>,
}

/// Decodes `packet` as `protocol`, with the entries and the description of each message.
///
/// # Panics
/// When the decoder breaks the contract of [`Visitor`]: more callbacks than bytes, a body that lies outside the packet,
/// a message without a run or with the wrong number, a callback behind a refusal that ends the packet, or callbacks
/// from a packet that was refused as a whole.
pub fn exercise(protocol: Protocol, packet: &[u8]) -> Exercise {
    let mut watcher = Watcher { protocol, packet, found: Exercise::default(), run: None, ended: false };
    let result = decode(protocol, packet, &mut watcher);
    let mut found = watcher.found;
    let callbacks = found.messages + found.refusals;
    assert!(callbacks <= packet.len() + 1, "{protocol}: {callbacks} messages in {} bytes", packet.len());
    assert!(found.runs <= packet.len() + 1, "{protocol}: {} runs in {} bytes", found.runs, packet.len());
    if let Err(reason) = result {
        assert!(callbacks == 0 && found.runs == 0, "{protocol}: callbacks before {}", reason.name());
        found.rejected = Some(reason);
    }
    found
}

/// Parses `frame` as every link type, and as a TCP segment.
///
/// # Panics
/// When a datagram's payload lies outside the frame, or a frame of an unsupported link type is accepted.
pub fn exercise_link(frame: &[u8]) {
    for kind in [LinkType::Ethernet, LinkType::RawIp, LinkType::Unsupported] {
        let parsed = link::parse(frame, kind);
        if let Ok(datagram) = parsed {
            assert_inside(frame, datagram.payload);
            assert!(kind != LinkType::Unsupported);
        }
        let both = parsed.is_ok() && link::tcp_flow(frame, kind).is_some();
        assert!(!both, "a frame can't be UDP and TCP");
        let segment = link::segment(frame, kind);
        if let Ok(segment) = segment {
            assert_inside(frame, segment.payload);
            assert_eq!(link::tcp_flow(frame, kind), Some((segment.source, segment.destination)));
            assert!(parsed == Err(FrameReject::NotUdp), "a segment is no datagram");
        }
    }
}

/// Frames `file` as an ITCH message file, handing over its bytes in pieces of `piece` (at least one), and returns how
/// many messages it holds.
///
/// # Panics
/// When the framer neither advances nor ends, asks for what it already has or for more than a frame, or hands out a
/// message outside the buffer.
pub fn exercise_itch_file(file: &[u8], piece: usize) -> usize {
    let mut framer = FileFramer::default();
    let (mut start, mut end, mut messages) = (0, 0, 0);
    loop {
        let buffer = &file[start..end];
        match framer.next(buffer, end == file.len()) {
            Framed::Need(bytes) => {
                assert!(bytes > buffer.len() && bytes <= itch50::FRAME_BYTES_MAX && end < file.len());
                end = end.saturating_add(piece.max(1)).min(file.len());
            }
            Framed::Message(range) => {
                let body = buffer.get(range.clone()).expect("a message lies inside the buffer");
                itch50::entries(body, &mut |_| {});
                start += range.end;
                messages += 1;
            }
            Framed::End | Framed::Damaged(_) => return messages,
        }
    }
}

fn assert_inside(outer: &[u8], inner: &[u8]) {
    let (outer, inner) = (outer.as_ptr_range(), inner.as_ptr_range());
    assert!(outer.start <= inner.start && inner.end <= outer.end, "a slice lies outside its packet");
}

struct Watcher<'a> {
    protocol: Protocol,
    packet: &'a [u8],
    found: Exercise,
    /// The present run, and its callbacks so far.
    run: Option<(Run, u64)>,
    /// Whether a refusal said that the rest can't be framed.
    ended: bool,
}

impl Visitor for Watcher<'_> {
    fn run(&mut self, run: &Run) {
        assert!(!self.ended, "{}: a run behind the end", self.protocol);
        self.found.runs += 1;
        self.run = Some((*run, 0));
    }

    fn message(&mut self, message: &Message<'_>) {
        assert!(!self.ended, "{}: a message behind the end", self.protocol);
        assert_inside(self.packet, message.body);
        let (run, index) = self.run.as_mut().expect("a message belongs to a run");
        let empty = matches!(run.kind, RunKind::Heartbeat | RunKind::EndOfSession);
        assert!(!empty, "{}: a message in a run without messages", self.protocol);
        let expected = match run.numbering {
            Numbering::Messages => Some(run.sequence.wrapping_add(*index)),
            Numbering::Packets => Some(run.sequence),
            // A native version 2 frame carries its producer's number, which orders nothing in a datagram's run: the
            // next frame may be another producer's.
            Numbering::Unnumbered => None,
        };
        assert_eq!(message.sequence, expected.unwrap_or(message.sequence), "{}: sequence", self.protocol);
        *index += 1;
        self.found.messages += 1;
        let count = &mut self.found.entries;
        entries(self.protocol, message.kind, message.body, &mut |_| *count += 1);
        let point = snapshot_point(self.protocol, message.kind, message.body);
        assert!(point.is_none() || message.body.len() >= 8, "{}: a point out of nothing", self.protocol);
        let numbers = unavailable(self.protocol, message.kind, message.body);
        assert!(numbers.is_none_or(|numbers| !numbers.is_empty()), "{}: an empty range", self.protocol);
        // Descriptions only have to be total; their values are the golden tests' business.
        drop(describe(self.protocol, message.kind, message.body));
    }

    fn refuse(&mut self, reason: MessageReject) {
        assert!(!self.ended, "{}: a refusal behind the end", self.protocol);
        self.ended = matches!(reason, MessageReject::Truncated | MessageReject::BadLength);
        let (_, index) = self.run.as_mut().expect("a refusal belongs to a run");
        *index += 1;
        self.found.refusals += 1;
    }
}
