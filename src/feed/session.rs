//! Hot path: what a connection's session is, and how its messages and words are judged.
//!
//! Invariant: a message of an acknowledged session is accepted in its turn or not at all; whatever is refused in one ends
//! its connection, so that the producer sends it again.

use super::keeper::Verdict;
use super::producers::{ProducerRecord, Producers, Turn};
use super::soup_replay::SoupReplay;
use super::visit::{PacketVerdict, Visit};
use super::{Outlet, SoupEvent, SoupSession};
use crate::event::{CloseReason, ConnectionIndex, Marks, MessageReject, Nanos};
use crate::wire::moldudp64::session_number;
use crate::wire::{
    Control, Flow, Message, Numbering, Run, RunKind, StreamVisitor, Visitor, native_v2, soupbin,
};

/// What a connection's two ends have agreed upon.
#[derive(Debug)]
pub(super) enum Session {
    /// Nothing: its events are taken, and not acknowledged.
    None,
    /// An acknowledged session of a producer.
    Native { producer: u32 },
    /// The same, after its producer's goodbye.
    Leaving { producer: u32 },
    /// Its producer has a newer connection.
    Superseded,
    /// Its hello was refused.
    Refused,
    /// A session with a SoupBinTCP server, whose client we are.
    Soup(Box<SoupSession>),
    /// One with such a server that brings back what a feed lost.
    Replay(Box<SoupReplay>),
    /// Others' session, out of a capture: its words are followed and not answered. Of SoupBinTCP, the session and the
    /// number of the next message, once the server has named them.
    Overheard(Option<(u128, u64)>),
}

impl Session {
    /// Whether the peer has spoken version 2, and so understands an error frame.
    pub(super) fn speaks_version_2(&self) -> bool {
        matches!(
            self,
            Session::Native { .. } | Session::Leaving { .. } | Session::Superseded | Session::Refused
        )
    }
}

/// What is to be said to a peer of a native connection, beside what it is acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Say {
    pub(super) welcome: bool,
    pub(super) ack: bool,
    pub(super) error: Option<CloseReason>,
    /// Whether the error was said: nothing follows it.
    said_all: bool,
}

impl Say {
    pub(super) fn anything(&self) -> bool {
        !self.said_all && (self.welcome || self.ack || self.error.is_some())
    }

    /// Writes all of it that finds room, whole frames only, and forgets what it wrote.
    pub(super) fn write(&mut self, producer: &ProducerRecord, into: &mut [u8]) -> usize {
        let mut written = 0;
        let mut put = |control: native_v2::Control<'_>| {
            let bytes = native_v2::write_control(&control, producer.id, &mut into[written..]);
            written += bytes;
            bytes > 0
        };
        // Nothing is durable as long as there is no journal.
        let (received, durable) = (producer.processed, 0);
        if self.welcome {
            self.welcome = !put(native_v2::Control::Welcome { received, durable });
        }
        if self.ack {
            self.ack = !put(native_v2::Control::Ack { received, durable });
        }
        if let Some(reason) = self.error {
            let text = reason.name().as_bytes();
            if put(native_v2::Control::Error { code: reason as u8, text }) {
                self.error = None;
                self.said_all = true;
            }
        }
        written
    }
}

/// A piece of a connection's stream on its way through its session.
pub(super) struct SessionVisit<'a, 'b, O> {
    pub(super) visit: Visit<'b, O>,
    pub(super) session: &'a mut Session,
    pub(super) say: &'a mut Say,
    pub(super) producers: &'a mut Producers,
    pub(super) connection: ConnectionIndex,
    pub(super) now: Nanos,
    /// Whether nothing came on the connection yet, so that a hello may.
    pub(super) first: bool,
    /// The connection that a hello has taken the producer from.
    pub(super) superseded: Option<ConnectionIndex>,
    /// Why the connection has to end, found while judging a message.
    pub(super) broken: Option<CloseReason>,
}

impl<O: Outlet> SessionVisit<'_, '_, O> {
    #[cold]
    fn break_off(&mut self, reason: CloseReason) -> Flow {
        self.broken = Some(reason);
        Flow::Wait
    }

    /// A message of an acknowledged session.
    #[inline]
    fn offer_acknowledged(&mut self, producer: u32, message: &Message<'_>) -> Flow {
        // Without a number it would pass for an old one, and be lost without a word.
        let crc = match native_v2::identity(message.body) {
            Some((id, crc)) if id == self.producers.id(producer) && message.sequence != 0 => crc,
            _ => return self.break_off(CloseReason::SessionViolation),
        };
        match self.producers.turn(producer, message.sequence) {
            Turn::Next => {}
            Turn::Wait => return Flow::Wait,
            Turn::TooEarly => return self.break_off(CloseReason::SessionViolation),
            Turn::Again => {
                self.visit.verdict = PacketVerdict::Whole(Verdict::Duplicate);
                self.visit.message(message);
                self.visit.verdict = PacketVerdict::Whole(Verdict::New(Marks::NONE));
                self.say.ack = true;
                return Flow::Taken;
            }
        }
        if !self.visit.has_room(message) {
            return Flow::Wait;
        }
        self.visit.accepted.session = producer + 1;
        let accepted_before = self.visit.messages.accepted;
        self.visit.message(message);
        self.visit.accepted.session = 0;
        if self.visit.messages.accepted == accepted_before {
            return self.break_off(CloseReason::FrameTooLarge);
        }
        self.producers.accepted(producer, crc);
        Flow::Taken
    }

    /// A sequenced message of a SoupBinTCP session, which is numbered by counting.
    #[inline]
    fn offer_sequenced(&mut self, message: &Message<'_>) -> Flow {
        if !self.visit.has_room(message) {
            return Flow::Wait;
        }
        let Session::Soup(session) = &mut *self.session else { return Flow::Taken };
        let run = match session.sequenced() {
            Ok(sequence) => soup_run(session.session_number(), sequence, RunKind::Data),
            Err(reason) => return self.break_off(reason),
        };
        session.took();
        self.take_numbered(&run, message)
    }

    /// A message of a replay, numbered in the same way.
    #[inline]
    fn offer_replayed(&mut self, message: &Message<'_>) -> Flow {
        if !self.visit.has_room(message) {
            return Flow::Wait;
        }
        let Session::Replay(replay) = &mut *self.session else { return Flow::Taken };
        let session = replay.session;
        match replay.sequenced(self.visit.table, self.visit.endpoint, self.now) {
            Ok(sequence) => self.take_numbered(&soup_run(session, sequence, RunKind::Data), message),
            Err(reason) => self.break_off(reason),
        }
    }

    /// A message that is alone in its run, and has its number from there.
    #[inline]
    fn take_numbered(&mut self, run: &Run, message: &Message<'_>) -> Flow {
        self.visit.run(run);
        self.visit.message(&Message { sequence: run.sequence, ..*message });
        Flow::Taken
    }

    #[cold]
    fn native(&mut self, control: native_v2::Control<'_>) -> Result<(), CloseReason> {
        use native_v2::Control as Word;
        match (control, &self.session) {
            (Word::Hello { producer: 0, .. }, _) => self.refuse_hello(CloseReason::SessionViolation),
            (Word::Hello { .. }, _) if !std::mem::take(&mut self.first) => {
                self.refuse_hello(CloseReason::SessionViolation)
            }
            (Word::Hello { durable: true, .. }, Session::None) => self.refuse_hello(CloseReason::NotOffered),
            (Word::Hello { producer, .. }, Session::None) => self.hello(producer),
            (Word::Heartbeat, Session::Native { .. } | Session::Leaving { .. }) => {
                self.say.ack = true;
                Ok(())
            }
            (Word::Heartbeat, _) => {
                self.first = false;
                Ok(())
            }
            (Word::Goodbye, Session::Native { producer }) => {
                *self.session = Session::Leaving { producer: *producer };
                self.say.ack = true;
                Ok(())
            }
            _ => self.refuse_hello(CloseReason::SessionViolation),
        }
    }

    /// A message out of a capture, which can't wait for room: it is accepted, or refused by name.
    #[cold]
    fn offer_overheard(&mut self, message: &Message<'_>) -> Flow {
        let Session::Overheard(Some((session, next))) = &mut *self.session else {
            self.visit.message(message);
            return Flow::Taken;
        };
        let run = soup_run(*session, *next, RunKind::Data);
        *next = next.saturating_add(1);
        self.take_numbered(&run, message)
    }

    /// A SoupBinTCP server's word to somebody else.
    #[cold]
    fn overhear(&mut self, control: &soupbin::Control<'_>) {
        if let soupbin::Control::Accepted { session, sequence } = control {
            *self.session = Session::Overheard(Some((session_number(session), *sequence)));
        }
        let Session::Overheard(Some((session, next))) = *self.session else { return };
        let kind = match control {
            soupbin::Control::Accepted { .. } | soupbin::Control::Heartbeat => RunKind::Heartbeat,
            soupbin::Control::EndOfSession => RunKind::EndOfSession,
            soupbin::Control::Debug(_) | soupbin::Control::Rejected(_) => return,
        };
        self.visit.run(&soup_run(session, next, kind));
    }

    fn hello(&mut self, id: u64) -> Result<(), CloseReason> {
        let Some((producer, before)) = self.producers.hello(id, self.connection) else {
            return self.refuse_hello(CloseReason::ProducersFull);
        };
        *self.session = Session::Native { producer };
        self.superseded = before;
        self.say.welcome = true;
        Ok(())
    }

    fn refuse_hello(&mut self, reason: CloseReason) -> Result<(), CloseReason> {
        if matches!(self.session, Session::None) {
            *self.session = Session::Refused;
        }
        self.say.error = Some(reason);
        Err(reason)
    }

    #[cold]
    fn soup(&mut self, control: &soupbin::Control<'_>) -> Result<(), CloseReason> {
        if let Session::Replay(replay) = &mut *self.session {
            // Where the feed is, is its lines' to tell.
            return match replay.soup.control(control, self.now)? {
                SoupEvent::EndOfSession => Err(CloseReason::EndOfSession),
                _ => Ok(()),
            };
        }
        let Session::Soup(session) = &mut *self.session else { return Err(CloseReason::SessionViolation) };
        let kind = match session.control(control, self.now)? {
            SoupEvent::LoginAccepted { .. } | SoupEvent::Heartbeat => RunKind::Heartbeat,
            SoupEvent::EndOfSession => RunKind::EndOfSession,
            SoupEvent::Nothing => return Ok(()),
        };
        let run = soup_run(session.session_number(), session.sequence(), kind);
        self.visit.run(&run);
        match kind {
            RunKind::EndOfSession => Err(CloseReason::EndOfSession),
            _ => Ok(()),
        }
    }
}

/// A run of a SoupBinTCP session: one message, or a word that names the next one's number.
fn soup_run(session: u128, sequence: u64, kind: RunKind) -> Run {
    Run {
        unit: 0,
        session,
        sequence,
        count: u32::from(kind == RunKind::Data),
        kind,
        numbering: Numbering::Messages,
        send_ns: 0,
    }
}

impl<O: Outlet> Visitor for SessionVisit<'_, '_, O> {
    fn run(&mut self, run: &Run) {
        self.visit.run(run);
    }

    fn message(&mut self, message: &Message<'_>) {
        self.visit.message(message);
    }

    #[cold]
    fn refuse(&mut self, reason: MessageReject) {
        self.first = false;
        self.visit.refuse(reason);
        match &mut *self.session {
            Session::Native { .. } => {
                self.broken = Some(match reason {
                    MessageReject::TooLarge => CloseReason::FrameTooLarge,
                    _ => CloseReason::BadFrame,
                });
            }
            Session::Soup(session) => session.refused(reason),
            Session::Replay(replay) => replay.soup.refused(reason),
            Session::Overheard(Some((_, next))) if soupbin::took_number(reason) => {
                *next = next.saturating_add(1);
            }
            _ => {}
        }
    }
}

impl<O: Outlet> StreamVisitor for SessionVisit<'_, '_, O> {
    #[inline]
    fn offer(&mut self, message: &Message<'_>) -> Flow {
        if self.broken.is_some() {
            return Flow::Wait;
        }
        match self.session {
            Session::None => {
                if !self.visit.has_room(message) {
                    return Flow::Wait;
                }
                self.first = false;
                self.visit.message(message);
                Flow::Taken
            }
            Session::Overheard(_) => self.offer_overheard(message),
            Session::Native { producer } => {
                let producer = *producer;
                self.offer_acknowledged(producer, message)
            }
            Session::Soup(_) => self.offer_sequenced(message),
            Session::Replay(_) => self.offer_replayed(message),
            Session::Leaving { .. } | Session::Superseded | Session::Refused => {
                self.break_off(CloseReason::SessionViolation)
            }
        }
    }

    fn control(&mut self, control: Control<'_>) -> Result<(), CloseReason> {
        match (control, &self.session) {
            (Control::Soup(control), Session::Overheard(_)) => self.overhear(&control),
            (Control::Native(_), Session::Overheard(_)) => {}
            (Control::Native(control), _) => self.native(control)?,
            (Control::Soup(control), _) => self.soup(&control)?,
        }
        Ok(())
    }
}
