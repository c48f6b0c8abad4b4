//! Hot path: connections of byte streams: their bytes become units, their sessions are followed, their deadlines kept.
//!
//! Invariant: each byte that came is taken as part of a unit, held as part of an unfinished one, or lost with its
//! connection; a message that found no room is met again, in its place.

use super::EndpointIndex;
use super::inlets::{Inlet, zeroed};
use super::producers::{ProducerRecord, Producers};
use super::session::{Say, Session};
use crate::event::{CloseReason, ConnectionIndex, InletIndex, Nanos, Protocol};
use crate::limits::FLOW_UNIT_BYTES_MAX;
use crate::wire::{Progress, Stop};
use std::collections::VecDeque;

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It goes on.
    Continue,
    /// There is no room for its next message: show it the rest again later, and let its peer wait meanwhile.
    Wait,
    /// It ends, when what is still to be said to its peer is said.
    Close(CloseReason),
}

/// What was done with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Took {
    /// Bytes that are done with, or kept.
    pub bytes: usize,
    /// How to go on.
    pub next: Next,
}

/// Bytes by which the memory for unfinished units is cut up: a page, so that a small connection touches one.
const STRIDE_BYTES: usize = 4_096;

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) inlet: u16,
    pub(super) endpoint: EndpointIndex,
    pub(super) protocol: Protocol,
    pub(super) open: bool,
    /// Whether it has shown a whole unit, so that its handshake is over.
    pub(super) greeted: bool,
    pub(super) session: Session,
    pub(super) say: Say,
    pub(super) unit_bytes_max: u32,
    listed: bool,
    held: u32,
    unit_bytes: u32,
    discard: u64,
    opened_ns: Nanos,
    pub(super) heard_ns: Nanos,
    unit_since_ns: Nanos,
}

impl Connection {
    fn closed() -> Connection {
        Connection {
            inlet: 0,
            endpoint: EndpointIndex(0),
            protocol: Protocol::Native,
            open: false,
            greeted: false,
            session: Session::None,
            say: Say::default(),
            unit_bytes_max: 0,
            listed: false,
            held: 0,
            unit_bytes: 0,
            discard: 0,
            opened_ns: 0,
            heard_ns: 0,
            unit_since_ns: 0,
        }
    }
}

/// The connections of one shard.
#[derive(Debug)]
pub struct Connections {
    pub(super) slots: Vec<Connection>,
    pub(super) inlets: Vec<Inlet>,
    pub(super) producers: Producers,
    // Unfinished units, `stride` bytes for each connection; the pages behind the first are touched when needed.
    held: Vec<u8>,
    stride: usize,
    ready: VecDeque<ConnectionIndex>,
    /// Bytes that were read as units.
    pub bytes_taken: u64,
}

impl Connections {
    /// Allocates all memory that connections will use, those of a capture's flows (so many, behind the others) included.
    pub(super) fn allocate(
        inlets: Vec<Inlet>,
        connections_max: usize,
        flows_max: usize,
        producers: Producers,
    ) -> Connections {
        let flow_bytes_max = if flows_max > 0 { FLOW_UNIT_BYTES_MAX } else { 0 };
        let unit_bytes_max = inlets.iter().map(|inlet| inlet.settings.unit_bytes_max).max();
        let unit_bytes_max = unit_bytes_max.unwrap_or_default().max(flow_bytes_max);
        let stride = unit_bytes_max.next_multiple_of(STRIDE_BYTES);
        let mut held = zeroed(stride * (connections_max + flows_max));
        // So that the first half frame of a connection is no page fault.
        let of_inlets = &mut held[..stride * connections_max];
        of_inlets.iter_mut().step_by(stride.max(1)).for_each(|byte| *std::hint::black_box(byte) = 0);
        let connections_max = connections_max + flows_max;
        Connections {
            slots: (0..connections_max).map(|_| Connection::closed()).collect(),
            inlets,
            producers,
            held,
            stride,
            ready: VecDeque::with_capacity(connections_max),
            bytes_taken: 0,
        }
    }

    /// The index of a connection's inlet.
    #[inline]
    pub fn inlet_of(&self, connection: ConnectionIndex) -> u16 {
        self.slots[connection.0 as usize].inlet
    }

    /// A connection has begun.
    #[cold]
    pub fn opened(&mut self, connection: ConnectionIndex, inlet: InletIndex, now: Nanos) {
        let settings = &mut self.inlets[usize::from(inlet.0)];
        let session = settings.new_session(now);
        let slot = &mut self.slots[connection.0 as usize];
        *slot = Connection {
            inlet: inlet.0,
            endpoint: settings.endpoint,
            protocol: settings.settings.protocol,
            unit_bytes_max: settings.settings.unit_bytes_max as u32,
            open: true,
            session,
            listed: slot.listed,
            opened_ns: now,
            heard_ns: now,
            ..Connection::closed()
        };
        self.list_if_it_speaks(connection);
    }

    /// A direction of a capture's flow has begun; nobody is there to be answered.
    #[cold]
    pub(super) fn overhear(
        &mut self,
        connection: ConnectionIndex,
        endpoint: EndpointIndex,
        protocol: Protocol,
    ) {
        self.slots[connection.0 as usize] = Connection {
            endpoint,
            protocol,
            unit_bytes_max: FLOW_UNIT_BYTES_MAX as u32,
            open: true,
            session: Session::Overheard(None),
            ..Connection::closed()
        };
    }

    /// Bytes are missing behind what is held: framing begins anew. Returns how many held bytes are lost with that.
    #[cold]
    pub(super) fn begin_anew(&mut self, connection: ConnectionIndex) -> u64 {
        let slot = &mut self.slots[connection.0 as usize];
        slot.discard = 0;
        u64::from(std::mem::take(&mut slot.held))
    }

    /// The connection is gone. Returns the bytes of an unfinished unit that are lost with it, and whether a server that we
    /// connected to had accepted our login, or of one that was to bring back what was lost, whether it did.
    #[cold]
    pub fn closed(&mut self, connection: ConnectionIndex) -> (u64, bool) {
        let slot = &mut self.slots[connection.0 as usize];
        slot.open = false;
        let lost = u64::from(std::mem::take(&mut slot.held));
        if let Session::Native { producer } | Session::Leaving { producer } = slot.session {
            self.producers.remember(producer);
            self.producers.left(producer, connection);
        }
        let mut was_accepted = false;
        match std::mem::replace(&mut slot.session, Session::None) {
            Session::Soup(session) => {
                was_accepted = session.is_logged_in();
                self.inlets[usize::from(slot.inlet)].settings.keep_session(*session);
            }
            Session::Replay(replay) => {
                was_accepted = self.inlets[usize::from(slot.inlet)].replay_ended(&replay);
            }
            _ => {}
        }
        (lost, was_accepted)
    }

    /// Bytes of unfinished units that are held.
    pub fn bytes_held(&self) -> u64 {
        self.slots.iter().filter(|slot| slot.open).map(|slot| u64::from(slot.held)).sum()
    }

    /// Looks at a connection's deadlines.
    pub fn tick(&mut self, connection: ConnectionIndex, now: Nanos) -> Next {
        let slot = &mut self.slots[connection.0 as usize];
        let limits = &self.inlets[usize::from(slot.inlet)].settings;
        let passed = |since: Nanos, limit: Nanos| limit > 0 && now.saturating_sub(since) > limit;
        if let Session::Superseded = slot.session {
            return Next::Close(CloseReason::Superseded);
        }
        if let Session::Soup(session) = &mut slot.session {
            if let Err(reason) = session.tick(now) {
                return Next::Close(reason);
            }
            self.list_if_it_speaks(connection);
            return Next::Continue;
        }
        if let Session::Replay(_) = &slot.session {
            // Its deadlines are the intake's, which knows what is missing.
            self.list_if_it_speaks(connection);
            return Next::Continue;
        }
        let unfinished = slot.held > 0 && slot.held < slot.unit_bytes || slot.discard > 0;
        if let Session::Leaving { producer } = slot.session
            && self.producers.is_settled(producer)
            && !slot.say.anything()
            && slot.held == 0
        {
            // All is acknowledged: the producer waits for the end.
            return Next::Close(CloseReason::PeerClosed);
        }
        let reason = if !slot.greeted && passed(slot.opened_ns, limits.handshake_ns) {
            CloseReason::HandshakeTimeout
        } else if unfinished && passed(slot.unit_since_ns, limits.unfinished_ns) {
            CloseReason::UnfinishedFrame
        } else if passed(slot.heard_ns, limits.idle_ns) {
            CloseReason::Idle
        } else {
            return Next::Continue;
        };
        self.closing(connection, reason);
        Next::Close(reason)
    }

    /// We do not listen to the connection, since there is no room or no buffer: its silence is not its peer's, and what is
    /// due to be said is said all the same.
    #[cold]
    pub fn paused(&mut self, connection: ConnectionIndex, now: Nanos) {
        let slot = &mut self.slots[connection.0 as usize];
        (slot.heard_ns, slot.unit_since_ns) = (now, now);
        if !slot.greeted {
            slot.opened_ns = now;
        }
        if let Session::Soup(session) = &mut slot.session {
            session.received(now);
            // A login that is late is judged when we listen again.
            let _ = session.tick(now);
            self.list_if_it_speaks(connection);
        } else if let Session::Replay(replay) = &mut slot.session {
            replay.paused(now);
            self.list_if_it_speaks(connection);
        }
    }

    /// No byte will come any more: whether the connection may end, and why it does.
    #[cold]
    pub fn ended(&mut self, connection: ConnectionIndex) -> Next {
        let slot = &self.slots[connection.0 as usize];
        match slot.session {
            Session::Native { producer } | Session::Leaving { producer }
                if !self.producers.is_settled(producer) || slot.say.anything() =>
            {
                Next::Continue
            }
            _ if self.is_in_unit(connection) => Next::Close(CloseReason::PeerClosedInFrame),
            _ => Next::Close(CloseReason::PeerClosed),
        }
    }

    /// The connection is to be closed for `reason`: its peer is told, where its protocol has words for it.
    #[cold]
    pub fn closing(&mut self, connection: ConnectionIndex, reason: CloseReason) {
        let slot = &mut self.slots[connection.0 as usize];
        if slot.protocol == Protocol::Native && slot.session.speaks_version_2() {
            slot.say.error.get_or_insert(reason);
        }
        if let Session::Replay(replay) = &mut slot.session {
            replay.soup.logout();
        }
        self.list_if_it_speaks(connection);
    }

    /// Whether any producer has ever said hello: only then do events that come home matter here.
    #[inline]
    pub fn has_producers(&self) -> bool {
        !self.producers.is_empty()
    }

    /// An event of an acknowledged session came home.
    #[inline]
    pub fn processed(&mut self, session: u32, sequence: u64) {
        let producer = session - 1;
        if let Some(connection) = self.producers.processed(producer, sequence) {
            self.slots[connection.0 as usize].say.ack = true;
            self.list_if_it_speaks(connection);
        }
    }

    /// A connection that has something to say; each one is named once until it is asked.
    #[inline]
    pub fn next_reply(&mut self) -> Option<ConnectionIndex> {
        let connection = self.ready.pop_front()?;
        self.slots[connection.0 as usize].listed = false;
        Some(connection)
    }

    /// Writes what a connection has to say into `into`, and returns how many bytes that is.
    pub fn reply(&mut self, connection: ConnectionIndex, into: &mut [u8]) -> usize {
        let slot = &mut self.slots[connection.0 as usize];
        match &mut slot.session {
            Session::Soup(session) => session.reply(into),
            Session::Replay(replay) => replay.soup.reply(into),
            Session::Native { producer } | Session::Leaving { producer } => {
                self.producers.remember(*producer);
                slot.say.write(self.producers.record(*producer), into)
            }
            Session::Overheard(_) => 0,
            Session::None | Session::Superseded | Session::Refused => {
                slot.say.write(&ProducerRecord::default(), into)
            }
        }
    }

    /// Names the connection for a reply if it has something to say and is not named yet.
    #[inline]
    pub(super) fn list_if_it_speaks(&mut self, connection: ConnectionIndex) {
        let slot = &mut self.slots[connection.0 as usize];
        let of_session = match &slot.session {
            Session::Soup(session) => session.has_reply(),
            Session::Replay(replay) => replay.soup.has_reply(),
            _ => false,
        };
        let speaks = slot.say.anything() || of_session;
        if speaks && !slot.listed && slot.open {
            slot.listed = true;
            self.ready.push_back(connection);
        }
    }

    /// All producers as they are now, remembered.
    pub fn remember_all(&mut self) {
        self.producers.remember_all();
    }

    /// All producers.
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// The bytes that are held of an unfinished unit, filled up from `bytes` as far as the unit goes; how many were
    /// taken of them; and whether the unit, as far as its length is known, is whole.
    #[inline]
    pub(super) fn fill_up(&mut self, connection: ConnectionIndex, bytes: &[u8]) -> (usize, bool) {
        let slot = &mut self.slots[connection.0 as usize];
        let (held, wanted) = (slot.held as usize, slot.unit_bytes as usize);
        let taken = wanted.saturating_sub(held).min(bytes.len());
        let start = connection.0 as usize * self.stride + held;
        self.held[start..start + taken].copy_from_slice(&bytes[..taken]);
        slot.held += taken as u32;
        (taken, slot.held >= slot.unit_bytes)
    }

    /// Gives up the last `count` of the held bytes, or all that there are, which will be shown again. Returns how many.
    #[cold]
    pub(super) fn let_go(&mut self, connection: ConnectionIndex, count: usize) -> usize {
        let held = &mut self.slots[connection.0 as usize].held;
        let back = (*held).min(count as u32);
        *held -= back;
        back as usize
    }

    /// Takes the held bytes of a connection out, for decoding, and leaves nothing.
    #[inline]
    pub(super) fn held(&self, connection: ConnectionIndex) -> std::ops::Range<usize> {
        let start = connection.0 as usize * self.stride;
        start..start + self.slots[connection.0 as usize].held as usize
    }

    /// The memory of all unfinished units, lent for a decoding that borrows the connections too.
    #[inline]
    pub(super) fn take_held(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// Puts that memory back.
    #[inline]
    pub(super) fn put_held(&mut self, held: Vec<u8>) {
        self.held = held;
    }

    /// Whether a unit was begun and is not done with.
    #[cold]
    pub(super) fn is_in_unit(&self, connection: ConnectionIndex) -> bool {
        let slot = &self.slots[connection.0 as usize];
        slot.held > 0 || slot.discard > 0
    }

    /// Whether bytes of a unit are held.
    #[inline]
    pub(super) fn holds(&self, connection: ConnectionIndex) -> bool {
        self.slots[connection.0 as usize].held > 0
    }

    /// Throws away as many of `count` bytes as are still to be discarded.
    #[inline]
    pub(super) fn discard(&mut self, connection: ConnectionIndex, count: usize) -> usize {
        let slot = &mut self.slots[connection.0 as usize];
        let thrown = slot.discard.min(count as u64);
        slot.discard -= thrown;
        self.bytes_taken += thrown;
        thrown as usize
    }

    /// What was decoded of held bytes: keeps the rest, if any. Returns how to go on, or `None` for: show the next bytes.
    #[inline]
    pub(super) fn settle_held(&mut self, connection: ConnectionIndex, progress: Progress) -> Option<Next> {
        let range = self.held(connection);
        let rest = range.len() - progress.consumed;
        if progress.consumed > 0 && rest > 0 {
            self.held.copy_within(range.start + progress.consumed..range.end, range.start);
        }
        self.bytes_taken += progress.consumed as u64;
        let slot = &mut self.slots[connection.0 as usize];
        slot.held = rest as u32;
        slot.greeted |= progress.consumed > 0;
        match progress.stop {
            Stop::Incomplete { unit_bytes } => {
                slot.unit_bytes = unit_bytes.min(self.stride) as u32;
                // A unit that needs more than a unit may have can't be framed.
                (unit_bytes > self.stride).then_some(Next::Close(CloseReason::FrameTooLarge))
            }
            Stop::Discard { unit_bytes } => {
                slot.held = 0;
                self.bytes_taken += rest as u64;
                slot.discard = unit_bytes.saturating_sub(rest as u64);
                None
            }
            Stop::Wait => {
                // What is left is at least one whole unit: it is decoded again as soon as all of it is there.
                slot.unit_bytes = rest as u32;
                Some(Next::Wait)
            }
            Stop::Broken(reason) => Some(Next::Close(reason)),
        }
    }

    /// What was decoded of bytes in their place, of which `rest` are left: holds them if they begin a unit. Returns how
    /// to go on and how many of the rest are held, or `None` for: discard, then show the rest again.
    #[inline]
    pub(super) fn settle(
        &mut self,
        connection: ConnectionIndex,
        progress: Progress,
        rest: &[u8],
        now: Nanos,
    ) -> Option<(Next, usize)> {
        self.bytes_taken += progress.consumed as u64;
        let slot = &mut self.slots[connection.0 as usize];
        slot.greeted |= progress.consumed > 0;
        match progress.stop {
            Stop::Incomplete { unit_bytes } => {
                if rest.is_empty() {
                    return Some((Next::Continue, 0));
                }
                if unit_bytes > self.stride || rest.len() > self.stride {
                    return Some((Next::Close(CloseReason::FrameTooLarge), 0));
                }
                slot.unit_bytes = unit_bytes as u32;
                slot.unit_since_ns = now;
                slot.held = rest.len() as u32;
                let start = connection.0 as usize * self.stride;
                self.held[start..start + rest.len()].copy_from_slice(rest);
                Some((Next::Continue, rest.len()))
            }
            Stop::Discard { unit_bytes } => {
                slot.unit_since_ns = now;
                slot.discard = unit_bytes;
                None
            }
            Stop::Wait => Some((Next::Wait, 0)),
            Stop::Broken(reason) => Some((Next::Close(reason), 0)),
        }
    }
}
