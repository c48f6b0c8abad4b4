//! Hot path: how a decoder's runs and messages become verdicts: counted, and new ones handed on.
//!
//! Invariant: each message is accepted, duplicate, stale, heartbeat or refused for one reason.

use super::keeper::{Keeper, Verdict};
use super::notice::Event;
use super::streams::EpochBegin;
use super::{Accepted, EndpointIndex, NoStream, Outlet, StreamTable};
use crate::event::{Marks, MessageReject, Nanos};
use crate::ledger::{MessageBook, StreamBook};
use crate::limits::{RECOVERY_LINE, SEQUENCE_NUMBER_MAX, SEQUENCE_WINDOW};
use crate::wire::{self, Message, Numbering, Run, RunKind, Visitor};

/// What was decided for the run at hand, so for all its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PacketVerdict {
    /// No run has begun.
    NoRun,
    /// Each message is judged by its own number.
    PerMessage,
    /// All messages have this verdict.
    Whole(Verdict),
    /// It is outside of the numbering of a stream that has one: messages are new.
    Aside,
    /// It is of a session that is not believed before a second packet says the same: messages are new.
    OtherSession,
    /// The sequence number is not believable: messages are refused.
    BadSequence,
    /// The stream table is full.
    NoPlace,
    /// The feed has no such unit: messages are refused.
    UnknownUnit,
}

/// Where a run belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Followed {
    /// To the present epoch, which it may have begun.
    Present,
    /// To an epoch that has ended.
    Past,
    /// To another session, if a second packet says the same.
    Doubted,
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
    /// The feed's time.
    pub(super) now: Nanos,
    // What is added to the numbers of the run: a field that has come round stands for a larger one.
    offset: u64,
    // Whether a gap was closed, and what was held back behind it may go.
    releasing: bool,
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
        now: Nanos,
    ) -> Visit<'a, O> {
        Visit {
            table,
            messages,
            outlet,
            endpoint,
            accepted,
            counted: None,
            verdict: PacketVerdict::NoRun,
            now,
            offset: 0,
            releasing: false,
        }
    }

    /// As if packets of this stream had been counted already.
    #[inline]
    pub(super) fn counted_for(self, counted: Option<u32>) -> Visit<'a, O> {
        Visit { counted, ..self }
    }

    #[inline]
    fn keeper(&mut self) -> Keeper<'_, O> {
        self.table.keeper(self.accepted.stream, self.accepted.line, self.now, self.outlet)
    }

    /// Delivers what was waiting for the number at hand, whose messages are all through.
    #[inline]
    pub(super) fn finish(&mut self) {
        if self.releasing {
            self.releasing = false;
            self.keeper().release();
        }
    }

    /// Whether there is room for a message now.
    #[inline]
    pub(super) fn has_room(&mut self, message: &Message<'_>) -> bool {
        self.outlet.has_room(self.accepted.protocol, message)
    }

    /// Judges a run and brings the stream's epoch up to it.
    #[inline]
    fn judge(&mut self, run: &Run, stream: u32) -> PacketVerdict {
        let sequencer = &mut self.table.stream_mut(stream).sequencer;
        let sequence = match self.accepted.protocol.sequence_cycle() {
            Some(_) if run.numbering == Numbering::Unnumbered && run.kind == RunKind::Data => {
                // Outside of the numbering of a stream that has one.
                self.offset = 0;
                return PacketVerdict::Aside;
            }
            Some(cycle) => sequencer.unroll(run.sequence, cycle),
            None => run.sequence,
        };
        if sequence > SEQUENCE_NUMBER_MAX - u64::from(run.count) {
            return PacketVerdict::BadSequence;
        }
        self.offset = sequence.wrapping_sub(run.sequence);
        let is_plain = run.kind == RunKind::Data && run.session == sequencer.session() && sequencer.started();
        if is_plain {
            if sequencer.is_of_ended_epoch(run.session, run.send_ns)
                || sequencer.lags(self.accepted.line, run.sequence)
            {
                return PacketVerdict::Whole(Verdict::Stale);
            }
            sequencer.note_sent(run.send_ns);
        } else {
            match self.follow(run, sequence) {
                Followed::Present => {}
                Followed::Past => return PacketVerdict::Whole(Verdict::Stale),
                Followed::Doubted => return PacketVerdict::OtherSession,
            }
        }
        match run.numbering {
            Numbering::Messages => PacketVerdict::PerMessage,
            Numbering::Unnumbered => PacketVerdict::Whole(Verdict::New(Marks::NONE)),
            // A reset without messages names the number of the packet that follows it, as a heartbeat does.
            Numbering::Packets if run.count == 0 || run.kind == RunKind::EndOfSession => {
                PacketVerdict::Whole(Verdict::New(Marks::NONE))
            }
            Numbering::Packets => PacketVerdict::Whole(self.arrive(run.sequence.wrapping_add(self.offset))),
        }
    }

    /// A number of the present epoch arrives.
    #[inline(always)]
    fn arrive(&mut self, sequence: u64) -> Verdict {
        let (line, wire_ns) = (self.accepted.line, self.accepted.wire_ns);
        let state = self.table.stream_mut(self.accepted.stream);
        if state.sequencer.take_next(sequence, line, &mut state.book) {
            if let Some(lateness) = &mut state.lateness {
                lateness.first(sequence, wire_ns);
            }
            return Verdict::New(state.sequencer.standing);
        }
        if state.sequencer.take_copy(sequence, line, &mut state.book) {
            let is_timed = state.sequencer.next() - sequence <= SEQUENCE_WINDOW;
            if let Some(lateness) = state.lateness.as_mut().filter(|_| is_timed) {
                lateness.copy(sequence, line, wire_ns);
            }
            return Verdict::Duplicate;
        }
        self.arrive_otherwise(sequence)
    }

    #[cold]
    #[inline(never)]
    fn arrive_otherwise(&mut self, sequence: u64) -> Verdict {
        let verdict = self.keeper().judge(sequence);
        let state = self.table.stream_mut(self.accepted.stream);
        self.releasing = state.sequencer.holding && matches!(verdict, Verdict::New(_));
        // Windows may be wider than the ring of times, where a newer number has the place.
        let is_timed = state.sequencer.next().saturating_sub(sequence) <= SEQUENCE_WINDOW;
        if let Some(lateness) = state.lateness.as_mut().filter(|_| is_timed) {
            match verdict {
                Verdict::New(_) | Verdict::Held => lateness.first(sequence, self.accepted.wire_ns),
                Verdict::Duplicate => lateness.copy(sequence, self.accepted.line, self.accepted.wire_ns),
                Verdict::Stale | Verdict::Beyond | Verdict::Doubted => {}
            }
        }
        verdict
    }

    /// Heartbeats, resets, new sessions, first runs: what moves a stream's epoch.
    #[cold]
    #[inline(never)]
    fn follow(&mut self, run: &Run, sequence: u64) -> Followed {
        let line = self.accepted.line;
        let mut keeper = self.keeper();
        let by_reset = run.kind == RunKind::Reset;
        let is_recovery = line == RECOVERY_LINE;
        let sequencer = &mut keeper.state.sequencer;
        let is_started = sequencer.started();
        let begins = !is_started || run.session != sequencer.session();
        // What answers a recovery speaks of the past, and begins nothing.
        let is_past = sequencer.is_of_ended_epoch(run.session, run.send_ns)
            || (is_recovery && (begins || by_reset))
            || (!is_recovery && !by_reset && sequencer.lags(line, run.sequence));
        if is_past {
            return Followed::Past;
        }
        // Where a numbering begins with a reset, coming round looks like one.
        if by_reset && !begins && sequence != run.sequence {
            return Followed::Present;
        }
        // The first number is that of a new round, which nothing is added to.
        let sequence = if begins { run.sequence } else { sequence };
        let (session, send_ns) = (run.session, run.send_ns);
        let begin = EpochBegin { sequence: run.sequence, session, send_ns, by_reset, line };
        let is_restart = run.kind == RunKind::Heartbeat
            && !begins
            && sequencer.is_restart(run.sequence, run.send_ns, line);
        let is_copy = by_reset && !begins && sequencer.is_copy_of_reset(run.sequence, run.send_ns, line);
        // Connections damage nothing: another session is what it says.
        let is_certain = !is_started || (begins && keeper.state.is_reliable);
        if is_certain || (by_reset && !is_copy) || is_restart {
            keeper.begin_epoch(EpochBegin { by_reset: by_reset || is_restart, ..begin });
        } else if begins && keeper.doubt_session(&begin) {
            self.offset = 0;
            return Followed::Doubted;
        } else if is_copy {
            keeper.state.sequencer.follows(line);
        }
        let is_announced = matches!(run.kind, RunKind::Heartbeat | RunKind::EndOfSession);
        if is_announced && !is_restart && !keeper.doubt_announced(sequence) {
            keeper.announce(sequence);
            if run.kind == RunKind::EndOfSession
                && !std::mem::replace(&mut keeper.state.sequencer.ended, true)
            {
                keeper.tell(Event::SessionEnded { next: sequence });
            }
        }
        keeper.state.sequencer.note_sent(run.send_ns);
        if begins || by_reset {
            self.offset = 0;
        }
        Followed::Present
    }

    /// Closes gaps that the stream has left behind, and looks at those whose reorder window is over by packets.
    #[cold]
    #[inline(never)]
    fn look_at_gaps(&mut self) {
        let mut keeper = self.keeper();
        keeper.close_passed();
        if keeper.has_seen_enough() {
            keeper.expire();
        }
    }

    /// Counts a run that carries no messages, but for the stream's own book.
    #[inline]
    fn count_empty(&mut self) {
        self.messages.decoded += 1;
        self.messages.heartbeat += 1;
    }

    /// Counts the message's fate at the outlet.
    #[inline]
    fn count(&mut self, fate: Result<(), MessageReject>) {
        count_fate(fate, &mut self.table.stream_mut(self.accepted.stream).book, self.messages);
    }

    /// Counts a message, and does what was decided of it.
    #[inline]
    fn settle(&mut self, message: &Message<'_>, verdict: Verdict) {
        // Looked up once: the outlet knows nothing of the table.
        let state = self.table.stream_mut(self.accepted.stream);
        self.messages.decoded += 1;
        state.book.messages += 1;
        state.book.by_type.add(message.kind);
        match verdict {
            Verdict::New(marks) => {
                self.accepted.marks = marks;
                let fate = self.outlet.accept(message, &self.accepted);
                count_fate(fate, &mut state.book, self.messages);
                if state.snapshots.of_feed.is_some() {
                    self.take_snapshot(message, marks);
                }
            }
            Verdict::Duplicate => {
                state.book.duplicates += 1;
                self.messages.duplicate += 1;
            }
            _ => self.settle_otherwise(message, verdict),
        }
    }

    #[inline(never)]
    fn settle_otherwise(&mut self, message: &Message<'_>, verdict: Verdict) {
        match verdict {
            Verdict::Held => self.hold(message),
            Verdict::Stale => {
                self.table.stream_mut(self.accepted.stream).book.stale += 1;
                self.messages.stale += 1;
            }
            Verdict::Beyond => self.count(Err(MessageReject::BeyondWindow)),
            Verdict::Doubted => self.count(Err(MessageReject::ImplausibleSequence)),
            Verdict::New(_) | Verdict::Duplicate => debug_assert!(false, "settled before"),
        }
    }

    /// Takes a message of a run that has no place in its stream's sequence.
    #[cold]
    #[inline(never)]
    fn take_unplaced(&mut self, message: &Message<'_>) {
        match self.verdict {
            PacketVerdict::OtherSession => {
                let sequence = message.sequence.wrapping_add(self.offset);
                let verdict = self.keeper().doubt_message(sequence);
                self.settle(&Message { sequence, ..*message }, verdict);
            }
            PacketVerdict::Aside => {
                let marks = self.table.stream_mut(self.accepted.stream).sequencer.standing;
                self.settle(message, Verdict::New(marks));
                let protocol = self.accepted.protocol;
                if let Some(gone) = wire::unavailable(protocol, message.kind, message.body) {
                    self.keeper().give_up_asked(*gone.start(), *gone.end());
                }
            }
            PacketVerdict::BadSequence => self.refuse(MessageReject::BadField),
            PacketVerdict::UnknownUnit => self.refuse(MessageReject::UnknownUnit),
            PacketVerdict::NoRun
            | PacketVerdict::NoPlace
            | PacketVerdict::PerMessage
            | PacketVerdict::Whole(_) => {}
        }
    }

    #[inline]
    fn deliver(&mut self, message: &Message<'_>, marks: Marks) {
        self.accepted.marks = marks;
        let fate = self.outlet.accept(message, &self.accepted);
        self.count(fate);
    }

    /// Holds a message back. Without room, all gaps in front of the newest number are given up, so that it goes on.
    #[cold]
    #[inline(never)]
    fn hold(&mut self, message: &Message<'_>) {
        let sequence = message.sequence;
        let keeper = self.keeper();
        if !keeper.holds_back(sequence) {
            // For want of room for an earlier message of this number, the gaps in front of it were given up.
            let marks = keeper.marks_of(sequence);
            return self.deliver(message, marks);
        }
        self.accepted.marks = keeper.marks_held();
        let fate = match self.outlet.hold(message, &self.accepted) {
            Ok(held) => {
                self.keeper().keep(sequence, held);
                Ok(())
            }
            Err(MessageReject::PoolExhausted)
                if self.table.stream_mut(self.accepted.stream).sequencer.next() == sequence + 1 =>
            {
                let mut keeper = self.keeper();
                keeper.lose_all(super::notice::Loss::NoRoom);
                let marks = keeper.marks_of(sequence);
                return self.deliver(message, marks);
            }
            Err(reason) => Err(reason),
        };
        self.count(fate);
    }
}

#[inline]
fn count_fate(fate: Result<(), MessageReject>, book: &mut StreamBook, messages: &mut MessageBook) {
    match fate {
        Ok(()) => {
            book.accepted += 1;
            messages.accepted += 1;
        }
        Err(reason) => {
            book.rejected += 1;
            messages.rejected[reason as usize] += 1;
        }
    }
}

impl<O: Outlet> Visitor for Visit<'_, O> {
    #[inline]
    fn run(&mut self, run: &Run) {
        self.finish();
        let carries_nothing = match run.kind {
            RunKind::Data => false,
            RunKind::Heartbeat | RunKind::EndOfSession => true,
            RunKind::Reset => run.count == 0,
        };
        let stream = match self.table.find_stream(self.endpoint, run.unit, run.session) {
            Ok(stream) => stream,
            Err(NoStream::TableFull) => {
                self.verdict = PacketVerdict::NoPlace;
                return;
            }
            Err(NoStream::UnknownUnit) => {
                self.verdict = PacketVerdict::UnknownUnit;
                if carries_nothing {
                    self.count_empty();
                }
                return;
            }
        };
        // The line is known for certain only once the endpoint has its feed.
        self.accepted.line = self.table.endpoint(self.endpoint).line;
        self.accepted.stream = stream;
        if self.counted != Some(stream) {
            self.counted = Some(stream);
            let state = self.table.stream_mut(stream);
            state.book.packets += 1;
            state.book.lines[usize::from(self.accepted.line)].packets += 1;
            let has_gaps = !state.gaps.is_empty();
            if !state.watch.hear(self.accepted.line, self.now) {
                self.keeper().heard();
            }
            if has_gaps {
                self.look_at_gaps();
            }
        }
        self.verdict = self.judge(run, stream);
        let state = self.table.stream_mut(stream);
        self.accepted.epoch = state.sequencer.epoch(&state.book);
        self.accepted.epoch += u32::from(self.verdict == PacketVerdict::OtherSession);
        if carries_nothing {
            self.table.stream_mut(stream).book.heartbeats += 1;
            self.count_empty();
        }
    }

    #[inline]
    fn message(&mut self, message: &Message<'_>) {
        let sequence = message.sequence.wrapping_add(self.offset);
        let verdict = match self.verdict {
            PacketVerdict::PerMessage => {
                self.finish();
                self.arrive(sequence)
            }
            PacketVerdict::Whole(verdict) => verdict,
            _ => return self.take_unplaced(message),
        };
        let renumbered;
        let message = if self.offset == 0 {
            message
        } else {
            renumbered = Message { sequence, ..*message };
            &renumbered
        };
        self.settle(message, verdict);
    }

    #[cold]
    fn refuse(&mut self, reason: MessageReject) {
        if matches!(self.verdict, PacketVerdict::NoRun | PacketVerdict::NoPlace) {
            return;
        }
        self.messages.decoded += 1;
        self.messages.rejected[reason as usize] += 1;
        if self.verdict == PacketVerdict::UnknownUnit {
            return;
        }
        let book = &mut self.table.stream_mut(self.accepted.stream).book;
        book.messages += 1;
        book.rejected += 1;
    }
}
