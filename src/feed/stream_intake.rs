//! Hot path: the intake's side for byte streams and datagrams of sockets: bytes in, messages out, on the same tables.
//!
//! Invariant: a unit that lies whole in the bytes at hand is decoded in its place; only what is cut is copied.

use super::session::{Session, SessionVisit};
use super::visit::{PacketVerdict, Visit};
use super::{Accepted, Intake, Next, Outlet, Took};
use crate::event::{ClockKind, CloseReason, ConnectionIndex, FrameReject, InletIndex, Nanos};
use crate::wire::{self, Progress, Stop, UNNUMBERED_RUN, Visitor};

impl Intake {
    /// Takes bytes of a connection, in their order, and hands their new messages to `outlet`.
    #[inline]
    pub fn take_bytes(
        &mut self,
        connection: ConnectionIndex,
        bytes: &[u8],
        now: Nanos,
        outlet: &mut impl Outlet,
    ) -> Took {
        let slot = &mut self.connections.slots[connection.0 as usize];
        slot.heard_ns = now;
        if let Session::Soup(session) = &mut slot.session {
            session.received(now);
        }
        let mut used = 0;
        loop {
            used += self.connections.discard(connection, bytes.len() - used);
            if self.connections.holds(connection) {
                let (taken, whole) = self.connections.fill_up(connection, &bytes[used..]);
                used += taken;
                if !whole {
                    return Took { bytes: used, next: Next::Continue };
                }
                let held = self.connections.take_held();
                let unit = &held[self.connections.held(connection)];
                let progress = self.decode_piece(connection, unit, now, outlet);
                self.connections.put_held(held);
                if let Some(next) = self.connections.settle_held(connection, progress) {
                    return Took { bytes: used, next };
                }
            } else {
                let rest = &bytes[used..];
                if rest.is_empty() {
                    return Took { bytes: used, next: Next::Continue };
                }
                let progress = self.decode_piece(connection, rest, now, outlet);
                used += progress.consumed;
                if let Some((next, held)) = self.connections.settle(connection, progress, &bytes[used..], now)
                {
                    return Took { bytes: used + held, next };
                }
            }
        }
    }

    /// Decodes bytes that begin with a unit, as the connection's protocol and session demand.
    #[inline]
    fn decode_piece(
        &mut self,
        connection: ConnectionIndex,
        bytes: &[u8],
        now: Nanos,
        outlet: &mut impl Outlet,
    ) -> Progress {
        let slot = &mut self.connections.slots[connection.0 as usize];
        let (endpoint, protocol) = (slot.endpoint, slot.protocol);
        let unit_bytes_max = self.connections.inlets[usize::from(slot.inlet)].settings.unit_bytes_max;
        // Set beforehand, so that pieces, whose number is chance, are not counted as packets.
        let counted = self.table.find_stream(endpoint, 0, 0);
        let is_numbered = matches!(slot.session, Session::Soup(_));
        let mut piece = SessionVisit {
            visit: Visit {
                table: &mut self.table,
                messages: &mut self.messages,
                outlet,
                endpoint,
                accepted: Accepted {
                    stream: 0,
                    epoch: 0,
                    line: 0,
                    protocol,
                    wire_ns: 0,
                    clock: ClockKind::None,
                    session: 0,
                },
                counted,
                verdict: PacketVerdict::NoRun,
            },
            session: &mut slot.session,
            say: &mut slot.say,
            producers: &mut self.connections.producers,
            connection,
            now,
            superseded: None,
            broken: None,
        };
        match counted {
            // What is refused before the first message belongs to the stream, too.
            Some(stream) if is_numbered => {
                piece.visit.accepted.stream = stream;
                piece.visit.verdict = PacketVerdict::PerMessage;
            }
            _ => piece.visit.run(&UNNUMBERED_RUN),
        }
        let progress = wire::decode_stream(protocol, bytes, unit_bytes_max, &mut piece);
        let (superseded, broken) = (piece.superseded, piece.broken);
        self.after_piece(connection, superseded, broken);
        match broken {
            Some(reason) => Progress { stop: Stop::Broken(reason), ..progress },
            None => progress,
        }
    }

    #[inline]
    fn after_piece(
        &mut self,
        connection: ConnectionIndex,
        superseded: Option<ConnectionIndex>,
        broken: Option<CloseReason>,
    ) {
        if let Some(older) = superseded {
            let slot = &mut self.connections.slots[older.0 as usize];
            slot.session = Session::Superseded;
            self.connections.closing(older, CloseReason::Superseded);
        }
        if let Some(reason) = broken {
            self.connections.closing(connection, reason);
        }
        self.connections.list_if_it_speaks(connection);
    }

    /// Takes a datagram that came to an inlet through a socket.
    #[inline]
    pub fn take_datagram(&mut self, inlet: InletIndex, packet: &[u8], outlet: &mut impl Outlet) {
        self.frames.received += 1;
        self.frames.datagrams += 1;
        let inlet = &self.connections.inlets[usize::from(inlet.0)];
        let (endpoint, protocol) = (inlet.endpoint, inlet.settings.protocol);
        let mut visit = Visit {
            table: &mut self.table,
            messages: &mut self.messages,
            outlet,
            endpoint,
            accepted: Accepted {
                stream: 0,
                epoch: 0,
                line: 0,
                protocol,
                wire_ns: 0,
                clock: ClockKind::None,
                session: 0,
            },
            counted: None,
            verdict: PacketVerdict::NoRun,
        };
        let fate = match wire::decode(protocol, packet, &mut visit) {
            Ok(()) if visit.verdict == PacketVerdict::NoPlace => Err(FrameReject::TableFull),
            fate => fate,
        };
        match fate {
            Ok(()) => self.frames.decoded += 1,
            Err(reason) => self.frames.rejected[reason as usize] += 1,
        }
    }

    /// A datagram of which the socket could not hand over all.
    #[cold]
    pub fn refuse_datagram(&mut self, reason: FrameReject) {
        self.frames.received += 1;
        self.frames.datagrams += 1;
        self.frames.rejected[reason as usize] += 1;
    }
}
