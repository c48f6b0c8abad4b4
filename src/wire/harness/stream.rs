//! What any bytes may do to a byte stream's decoder, asserted.
//!
//! Invariant: a stream is followed as a connection's reader does: pieces that grow, messages that are told to wait,
//! units that are thrown away unread.

use super::assert_inside;
use crate::event::{CloseReason, MessageReject, Nanos, Protocol};
use crate::wire::{
    Control, Flow, Message, Run, Stop, StreamVisitor, Visitor, decode_stream, describe, entries,
    is_stream_protocol,
};

/// The largest unit that is taken here: small, so that short inputs reach what happens to larger ones.
pub const STREAM_UNIT_BYTES_MAX: usize = 1_024;

/// What a decoder made of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamExercise {
    /// Messages taken.
    pub messages: usize,
    /// Units and messages refused.
    pub refusals: usize,
    /// Words of a session.
    pub controls: usize,
    /// Bytes done with; may go beyond the stream when its last unit was thrown away before it was whole.
    pub consumed: usize,
    /// Why the decoder stopped at last.
    pub stop: Option<Stop>,
}

/// Decodes `bytes` as a stream of `protocol`: once whole, once cut at `cuts` (places in the stream, in any order) with
/// every message asked to wait and come again, and once with the first word of a session refused.
///
/// # Panics
/// When `protocol` is not spoken in streams, or its decoder breaks the contract of
/// [`decode_stream`]: it consumes more than there is, neither advances nor says how much
/// it needs, asks for what it has already or for more than a unit, offers a body that lies outside the piece or
/// another message after a wait, goes on after a wait or an end; or makes something else of the cut stream than of
/// the whole one.
pub fn exercise_stream(protocol: Protocol, bytes: &[u8], cuts: &[usize]) -> StreamExercise {
    assert!(is_stream_protocol(protocol), "{protocol} is not spoken in streams");
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let whole = Reader::new(protocol, Manner::Takes).follow(bytes, &[]);
    let cut = Reader::new(protocol, Manner::Waits).follow(bytes, &cuts);
    assert_eq!(whole, cut, "{protocol}: cuts at {cuts:?} change what a stream says");
    let (refused, _) = Reader::new(protocol, Manner::RefusesControl).follow(bytes, &cuts);
    if whole.0.controls > 0 {
        let stop = Some(Stop::Broken(CloseReason::SessionViolation));
        assert_eq!((refused.controls, refused.stop), (1, stop), "{protocol}: a refused word ends the stream");
        assert!((1..=bytes.len()).contains(&refused.consumed), "{protocol}: the refused word is consumed");
    }
    whole.0
}

/// How a reader's visitor answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It takes everything.
    Takes,
    /// It lets every message wait once.
    Waits,
    /// It ends the connection at the first word of a session.
    RefusesControl,
}

/// What a decoder said, as it is compared between two readers.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Message(u64, u16, Nanos, Vec<u8>),
    Refused(MessageReject),
    Control(String),
}

struct Reader<'a> {
    protocol: Protocol,
    manner: Manner,
    piece: &'a [u8],
    told: Vec<Told>,
    controls: usize,
    /// The message that was told to wait.
    held: Option<Told>,
    /// Whether the decoder must stop now, and with what.
    must_stop: Option<Stop>,
}

impl<'a> Reader<'a> {
    fn new(protocol: Protocol, manner: Manner) -> Self {
        Self { protocol, manner, piece: &[], told: Vec::new(), controls: 0, held: None, must_stop: None }
    }

    /// Reads the stream as far as each cut in turn, then to its end.
    fn follow(mut self, bytes: &'a [u8], cuts: &[usize]) -> (StreamExercise, Vec<Told>) {
        let (mut start, mut last) = (0, None);
        for end in cuts.iter().copied().chain([bytes.len()]) {
            while start <= end {
                let stop = self.show(&bytes[start..end], &mut start);
                last = Some(stop);
                match stop {
                    Stop::Incomplete { .. } => break,
                    Stop::Wait => {}
                    Stop::Discard { unit_bytes } => {
                        start = start.saturating_add(usize::try_from(unit_bytes).unwrap_or(usize::MAX));
                    }
                    Stop::Broken(_) => return self.end(start, last),
                }
            }
        }
        assert!(self.held.is_none(), "{}: a message that waited never came again", self.protocol);
        self.end(start, last)
    }

    fn show(&mut self, piece: &'a [u8], start: &mut usize) -> Stop {
        let protocol = self.protocol;
        self.piece = piece;
        self.must_stop = None;
        let told = self.told.len();
        let progress = decode_stream(protocol, piece, STREAM_UNIT_BYTES_MAX, self);
        assert!(progress.consumed <= piece.len(), "{protocol}: consumed more than there is");
        assert!(self.told.len() - told <= piece.len() + 1, "{protocol}: more callbacks than bytes");
        if let Some(stop) = self.must_stop {
            assert_eq!(progress.stop, stop, "{protocol}: goes on where it must stop");
        }
        let left = piece.len() - progress.consumed;
        match progress.stop {
            Stop::Incomplete { unit_bytes } => {
                assert!(unit_bytes > left, "{protocol}: asks for {unit_bytes} bytes, {left} are there");
                assert!(unit_bytes <= STREAM_UNIT_BYTES_MAX, "{protocol}: asks for {unit_bytes} bytes");
            }
            Stop::Discard { unit_bytes } => {
                assert!(
                    unit_bytes > STREAM_UNIT_BYTES_MAX as u64,
                    "{protocol}: {unit_bytes} bytes are not many"
                );
                assert!(
                    matches!(self.told.last(), Some(Told::Refused(_))),
                    "{protocol}: thrown away silently"
                );
            }
            Stop::Wait => assert!(self.must_stop.is_some(), "{protocol}: nobody asked to wait"),
            Stop::Broken(_) => {}
        }
        *start += progress.consumed;
        progress.stop
    }

    fn end(self, consumed: usize, stop: Option<Stop>) -> (StreamExercise, Vec<Told>) {
        let count = |wanted: fn(&Told) -> bool| self.told.iter().filter(|told| wanted(told)).count();
        let found = StreamExercise {
            messages: count(|told| matches!(told, Told::Message(..))),
            refusals: count(|told| matches!(told, Told::Refused(_))),
            controls: self.controls,
            consumed,
            stop,
        };
        (found, self.told)
    }

    fn assert_may_speak(&self) {
        assert!(self.must_stop.is_none(), "{}: a callback behind {:?}", self.protocol, self.must_stop);
    }
}

impl Visitor for Reader<'_> {
    fn run(&mut self, _: &Run) {
        panic!("{}: a stream's caller announces its run", self.protocol);
    }

    fn message(&mut self, _: &Message<'_>) {
        panic!("{}: a stream's messages are offered", self.protocol);
    }

    fn refuse(&mut self, reason: MessageReject) {
        self.assert_may_speak();
        assert!(self.held.is_none(), "{}: a refusal where a message waits", self.protocol);
        self.told.push(Told::Refused(reason));
    }
}

impl StreamVisitor for Reader<'_> {
    fn offer(&mut self, message: &Message<'_>) -> Flow {
        self.assert_may_speak();
        assert_inside(self.piece, message.body);
        let told = Told::Message(message.sequence, message.kind, message.source_ns, message.body.to_vec());
        match self.held.take() {
            Some(held) => assert_eq!(held, told, "{}: another message after a wait", self.protocol),
            None if self.manner == Manner::Waits => {
                self.held = Some(told);
                self.must_stop = Some(Stop::Wait);
                return Flow::Wait;
            }
            None => {}
        }
        entries(self.protocol, message.kind, message.body, &mut |_| {});
        // Descriptions only have to be total; their values are the golden tests' business.
        drop(describe(self.protocol, message.kind, message.body));
        self.told.push(told);
        Flow::Taken
    }

    fn control(&mut self, control: Control<'_>) -> Result<(), CloseReason> {
        self.assert_may_speak();
        assert!(self.held.is_none(), "{}: a session's word where a message waits", self.protocol);
        self.controls += 1;
        self.told.push(Told::Control(format!("{control:?}")));
        if self.manner == Manner::RefusesControl {
            self.must_stop = Some(Stop::Broken(CloseReason::SessionViolation));
            return Err(CloseReason::SessionViolation);
        }
        Ok(())
    }
}
