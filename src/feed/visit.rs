//! Hot path: how a decoder's runs and messages become verdicts: counted, and new ones handed on.
//!
//! Invariant: each message is accepted, duplicate, stale, heartbeat or refused for one reason.

use super::sequence::EpochBegin;
use super::{Accepted, EndpointIndex, Outlet, StreamState, StreamTable, Verdict};
use crate::event::MessageReject;
use crate::ledger::MessageBook;
use crate::limits::SEQUENCE_NUMBER_MAX;
use crate::wire::{Message, Numbering, Run, RunKind, Visitor};

/// What was decided for the run at hand, so for all its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PacketVerdict {
    /// No run has begun.
    NoRun,
    /// Each message is judged by its own number.
    PerMessage,
    /// All messages have this verdict.
    Whole(Verdict),
    /// The sequence number is not believable: messages are refused.
    BadSequence,
    /// The stream table is full.
    NoPlace,
}

/// One packet, or one piece of a stream, on its way through the tables.
pub(super) struct Visit<'a, O> {
    pub(super) table: &'a mut StreamTable,
    pub(super) messages: &'a mut MessageBook,
    pub(super) outlet: &'a mut O,
    pub(super) endpoint: EndpointIndex,
    pub(super) accepted: Accepted,
    // The stream that this packet was last counted for: a datagram of several runs is one packet of its stream.
    pub(super) counted: Option<u32>,
    pub(super) verdict: PacketVerdict,
}

impl<'a, O: Outlet> Visit<'a, O> {
    /// A packet or piece that came in at `endpoint`, before its first run.
    #[inline]
    pub(super) fn begin(
        table: &'a mut StreamTable,
        messages: &'a mut MessageBook,
        outlet: &'a mut O,
        endpoint: EndpointIndex,
        accepted: Accepted,
    ) -> Visit<'a, O> {
        Visit { table, messages, outlet, endpoint, accepted, counted: None, verdict: PacketVerdict::NoRun }
    }

    /// Whether there is room for a message now.
    #[inline]
    pub(super) fn has_room(&mut self, message: &Message<'_>) -> bool {
        self.outlet.has_room(self.accepted.protocol, message.kind, message.body.len())
    }

    /// Judges a run and brings the stream's epoch up to it.
    #[inline]
    fn judge(&mut self, run: &Run, stream: u32) -> PacketVerdict {
        let line = self.accepted.line;
        let state = self.table.stream_mut(stream);
        let StreamState { sequencer, book, .. } = state;
        if run.sequence > SEQUENCE_NUMBER_MAX - u64::from(run.count) {
            return PacketVerdict::BadSequence;
        }
        if run.kind != RunKind::Data || run.session != sequencer.session() || !sequencer.started() {
            if !Self::follow(run, line, state) {
                return PacketVerdict::Whole(Verdict::Stale);
            }
        } else if sequencer.is_of_ended_epoch(run.session, run.send_ns) {
            return PacketVerdict::Whole(Verdict::Stale);
        } else if run.numbering == Numbering::Packets {
            let verdict = sequencer.arrive(run.sequence, line, book);
            sequencer.note_sent(run.send_ns);
            return PacketVerdict::Whole(self.measure(stream, run.sequence, verdict));
        } else {
            sequencer.note_sent(run.send_ns);
        }
        match run.numbering {
            Numbering::Messages => PacketVerdict::PerMessage,
            Numbering::Unnumbered => PacketVerdict::Whole(Verdict::New),
            Numbering::Packets => self.judge_packet(run, stream),
        }
    }

    /// The verdict of a numbered packet that was not plain data of the present epoch.
    #[cold]
    fn judge_packet(&mut self, run: &Run, stream: u32) -> PacketVerdict {
        // A reset without messages names the number of the packet that follows it.
        if run.count == 0 || matches!(run.kind, RunKind::Heartbeat | RunKind::EndOfSession) {
            return PacketVerdict::Whole(Verdict::New);
        }
        let line = self.accepted.line;
        let state = self.table.stream_mut(stream);
        let verdict = state.sequencer.arrive(run.sequence, line, &mut state.book);
        PacketVerdict::Whole(self.measure(stream, run.sequence, verdict))
    }

    /// Heartbeats, resets, new sessions, first runs: what moves a stream's epoch. False for a run of an ended one.
    #[cold]
    #[inline(never)]
    fn follow(run: &Run, line: u8, state: &mut StreamState) -> bool {
        let StreamState { sequencer, book, .. } = state;
        let begin = EpochBegin {
            sequence: run.sequence,
            session: run.session,
            send_ns: run.send_ns,
            by_reset: run.kind == RunKind::Reset,
        };
        if !sequencer.started() {
            sequencer.begin_epoch(begin, book);
            return true;
        }
        if sequencer.is_of_ended_epoch(run.session, run.send_ns) {
            return false;
        }
        if run.session != sequencer.session() {
            sequencer.begin_epoch(begin, book);
            return true;
        }
        match run.kind {
            RunKind::Data => {}
            RunKind::Reset if sequencer.is_copy_of_reset(run.sequence, run.send_ns, line) => {}
            RunKind::Reset => sequencer.begin_epoch(begin, book),
            RunKind::Heartbeat if sequencer.is_restart(run.sequence, run.send_ns, line) => {
                sequencer.begin_epoch(EpochBegin { by_reset: true, ..begin }, book);
            }
            RunKind::Heartbeat | RunKind::EndOfSession => sequencer.announce_next(run.sequence, book),
        }
        sequencer.note_sent(run.send_ns);
        true
    }

    /// Measures how late a copy is, where the stream has lines to compare.
    #[inline]
    fn measure(&mut self, stream: u32, sequence: u64, verdict: Verdict) -> Verdict {
        if let Some(lateness) = &mut self.table.stream_mut(stream).lateness {
            match verdict {
                Verdict::New => lateness.first(sequence, self.accepted.wire_ns),
                Verdict::Duplicate => lateness.copy(sequence, self.accepted.line, self.accepted.wire_ns),
                Verdict::Stale => {}
            }
        }
        verdict
    }
}

impl<O: Outlet> Visitor for Visit<'_, O> {
    #[inline]
    fn run(&mut self, run: &Run) {
        let Some(stream) = self.table.find_stream(self.endpoint, run.unit, run.session) else {
            self.verdict = PacketVerdict::NoPlace;
            return;
        };
        // The line is known for certain only once the endpoint has its feed.
        self.accepted.line = self.table.endpoint(self.endpoint).line;
        self.accepted.stream = stream;
        self.verdict = self.judge(run, stream);
        let state = self.table.stream_mut(stream);
        self.accepted.epoch = state.sequencer.epoch(&state.book);
        if self.counted != Some(stream) {
            self.counted = Some(stream);
            state.book.packets += 1;
            state.book.lines[usize::from(self.accepted.line)].packets += 1;
        }
        let carries_nothing = match run.kind {
            RunKind::Data => false,
            RunKind::Heartbeat | RunKind::EndOfSession => true,
            RunKind::Reset => run.count == 0,
        };
        if carries_nothing {
            state.book.heartbeats += 1;
            self.messages.decoded += 1;
            self.messages.heartbeat += 1;
        }
    }

    #[inline]
    fn message(&mut self, message: &Message<'_>) {
        let verdict = match self.verdict {
            PacketVerdict::PerMessage => {
                let state = self.table.stream_mut(self.accepted.stream);
                let line = self.accepted.line;
                let verdict = state.sequencer.arrive(message.sequence, line, &mut state.book);
                self.measure(self.accepted.stream, message.sequence, verdict)
            }
            PacketVerdict::Whole(verdict) => verdict,
            PacketVerdict::BadSequence => return self.refuse(MessageReject::BadField),
            PacketVerdict::NoRun | PacketVerdict::NoPlace => return,
        };
        self.messages.decoded += 1;
        let state = self.table.stream_mut(self.accepted.stream);
        state.book.messages += 1;
        state.book.by_type.add(message.kind);
        match verdict {
            Verdict::New => match self.outlet.accept(message, &self.accepted) {
                Ok(()) => {
                    state.book.accepted += 1;
                    self.messages.accepted += 1;
                }
                Err(reason) => {
                    state.book.rejected += 1;
                    self.messages.rejected[reason as usize] += 1;
                }
            },
            Verdict::Duplicate => {
                state.book.duplicates += 1;
                self.messages.duplicate += 1;
            }
            Verdict::Stale => {
                state.book.stale += 1;
                self.messages.stale += 1;
            }
        }
    }

    #[cold]
    fn refuse(&mut self, reason: MessageReject) {
        if matches!(self.verdict, PacketVerdict::NoRun | PacketVerdict::NoPlace) {
            return;
        }
        self.messages.decoded += 1;
        self.messages.rejected[reason as usize] += 1;
        let book = &mut self.table.stream_mut(self.accepted.stream).book;
        book.messages += 1;
        book.rejected += 1;
    }
}
