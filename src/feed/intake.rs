//! Hot path: a frame's way from its bytes to new messages, with every outcome counted once.
//!
//! Invariant: each frame is decoded or refused for one reason; each message is accepted, duplicate, stale,
//! heartbeat or refused for one reason.

use super::sequence::EpochBegin;
use super::{EndpointIndex, FeedLine, StreamSnapshot, StreamState, StreamTable, Verdict};
use crate::event::{ClockKind, Destination, FrameReject, LinkType, MessageReject, Nanos, Protocol};
use crate::ledger::{FrameBook, MessageBook};
use crate::limits::{ENDPOINTS_MAX, LATENESS_STREAMS, SEQUENCE_NUMBER_MAX, STREAMS_MAX};
use crate::wire::{self, Message, Numbering, Run, RunKind, Visitor};

/// What goes with an accepted message.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// Index of its stream in the shard's table.
    pub stream: u32,
    /// Run of the stream between restarts, from 0.
    pub epoch: u32,
    /// The line that brought it.
    pub line: u8,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its frame's wire time.
    pub wire_ns: Nanos,
    /// The clock of `wire_ns`.
    pub clock: ClockKind,
}

/// Takes new messages: makes events of them, or counts them.
pub trait Outlet {
    /// A new message.
    ///
    /// # Errors
    /// There is no room for it.
    fn accept(&mut self, message: &Message<'_>, accepted: &Accepted) -> Result<(), MessageReject>;
}

/// How an intake treats destinations, and how large its tables are.
#[derive(Clone, Debug)]
pub struct IntakeSettings {
    /// Configured lines.
    pub lines: Vec<FeedLine>,
    /// Whether destinations that are not configured are taken as feeds of their own.
    pub admit_unknown: bool,
    /// Their protocol; `None` to detect it from their packets.
    pub protocol: Option<Protocol>,
    /// Streams at most.
    pub streams_max: usize,
    /// Destinations at most.
    pub endpoints_max: usize,
}

impl Default for IntakeSettings {
    fn default() -> IntakeSettings {
        IntakeSettings {
            lines: Vec::new(),
            admit_unknown: true,
            protocol: None,
            streams_max: STREAMS_MAX,
            endpoints_max: ENDPOINTS_MAX,
        }
    }
}

/// Decoding and feed state of one shard.
#[derive(Debug)]
pub struct Intake {
    table: StreamTable,
    admit_unknown: bool,
    protocol: Option<Protocol>,
    /// Frames by fate.
    pub frames: FrameBook,
    /// Messages by fate.
    pub messages: MessageBook,
}

impl Intake {
    /// Allocates the tables.
    pub fn allocate(settings: &IntakeSettings) -> Intake {
        Intake {
            table: StreamTable::allocate(
                settings.streams_max,
                settings.endpoints_max,
                LATENESS_STREAMS,
                &settings.lines,
            ),
            admit_unknown: settings.admit_unknown,
            protocol: settings.protocol,
            frames: FrameBook::default(),
            messages: MessageBook::default(),
        }
    }

    /// Takes one frame: counts it, decodes it, and hands its new messages to `outlet`.
    #[inline]
    pub fn take(
        &mut self,
        frame: &[u8],
        link: LinkType,
        wire_ns: Nanos,
        clock: ClockKind,
        outlet: &mut impl Outlet,
    ) {
        self.frames.received += 1;
        match self.decode(frame, link, wire_ns, clock, outlet) {
            Ok(()) => self.frames.decoded += 1,
            Err(reason) => self.frames.rejected[reason as usize] += 1,
        }
    }

    #[inline]
    fn decode(
        &mut self,
        frame: &[u8],
        link: LinkType,
        wire_ns: Nanos,
        clock: ClockKind,
        outlet: &mut impl Outlet,
    ) -> Result<(), FrameReject> {
        let datagram = wire::link::parse(frame, link)?;
        let endpoint = match self.table.find_endpoint(&datagram.destination) {
            Some(known) => known,
            None => self.admit(datagram.destination)?,
        };
        let (protocol, line) = {
            let record = self.table.endpoint(endpoint);
            (record.protocol, record.line)
        };
        let protocol = match protocol {
            Some(known) => known,
            None => self.detect(endpoint, datagram.payload, datagram.destination)?,
        };
        let mut visit = Visit {
            table: &mut self.table,
            messages: &mut self.messages,
            outlet,
            endpoint,
            accepted: Accepted { stream: 0, epoch: 0, line, protocol, wire_ns, clock },
            counted: None,
            verdict: PacketVerdict::NoRun,
        };
        wire::decode(protocol, datagram.payload, &mut visit)?;
        // The frame was understood, but there was no place for its stream.
        if visit.verdict == PacketVerdict::NoPlace { Err(FrameReject::TableFull) } else { Ok(()) }
    }

    #[cold]
    #[inline(never)]
    fn admit(&mut self, destination: Destination) -> Result<EndpointIndex, FrameReject> {
        if !self.admit_unknown {
            return Err(FrameReject::UnknownDestination);
        }
        let endpoint = self.table.admit_endpoint(destination).ok_or(FrameReject::TableFull)?;
        if let Some(protocol) = self.protocol {
            self.table.set_protocol(endpoint, protocol);
        }
        Ok(endpoint)
    }

    #[cold]
    #[inline(never)]
    fn detect(
        &mut self,
        endpoint: EndpointIndex,
        packet: &[u8],
        destination: Destination,
    ) -> Result<Protocol, FrameReject> {
        let protocol = wire::detect::detect(packet, destination).ok_or(FrameReject::UnknownDestination)?;
        self.table.set_protocol(endpoint, protocol);
        Ok(protocol)
    }

    /// The source begins from the start again: every stream's next run begins an epoch.
    pub fn begin_again(&mut self) {
        self.table.begin_again();
    }

    /// How many streams there are.
    pub fn stream_count(&self) -> usize {
        self.table.stream_count()
    }

    /// Settles all streams and names them; their books balance from here on.
    pub fn settle(&mut self) -> Vec<StreamSnapshot> {
        self.table.settle()
    }
}

/// What was decided for the run at hand, so for all its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PacketVerdict {
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

struct Visit<'a, O> {
    table: &'a mut StreamTable,
    messages: &'a mut MessageBook,
    outlet: &'a mut O,
    endpoint: EndpointIndex,
    accepted: Accepted,
    // The stream that this packet was last counted for: a datagram of several runs is one packet of its stream.
    counted: Option<u32>,
    verdict: PacketVerdict,
}

impl<O: Outlet> Visit<'_, O> {
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
        if matches!(run.kind, RunKind::Heartbeat | RunKind::EndOfSession) {
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
