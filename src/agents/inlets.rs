//! Hot path: a shard as the handler of its port: bytes and datagrams go to the intake, new messages to the outlet.
//!
//! Invariant: times are read once for each piece; all that was accepted is pushed before the turn ends.

use super::outlet::EventOutlet;
use crate::event::{CloseReason, ConnectionIndex, FrameReject, InletIndex, Nanos, RequestFailure};
use crate::feed::{Intake, Next, Took};
use crate::source::StreamHandler;
use std::net::SocketAddr;

/// A shard's intake and outlet, lent to its port for one turn.
pub struct Inlets<'a> {
    /// Where bytes become messages.
    pub intake: &'a mut Intake,
    /// Where messages become events.
    pub outlet: &'a mut EventOutlet,
    /// The lane that events are marked with.
    pub lane: u8,
}

impl StreamHandler for Inlets<'_> {
    fn opened(&mut self, connection: ConnectionIndex, inlet: InletIndex, now: Nanos) {
        self.intake.connections.opened(connection, inlet, now);
    }

    #[inline]
    fn bytes(&mut self, connection: ConnectionIndex, bytes: &[u8], now: Nanos) -> Took {
        let inlet = self.intake.connections.inlet_of(connection);
        self.outlet.begin_waiting(self.lane, inlet);
        self.intake.take_bytes(connection, bytes, now, self.outlet)
    }

    fn datagram(&mut self, inlet: InletIndex, bytes: &[u8], _now: Nanos) {
        self.outlet.begin_datagram(self.lane, inlet.0);
        self.intake.take_datagram(inlet, bytes, self.outlet);
    }

    fn refuse_datagram(&mut self, reason: FrameReject) {
        self.intake.refuse_datagram(reason);
    }

    fn answer(&mut self, inlet: InletIndex, server: SocketAddr, bytes: &[u8], now: Nanos) {
        self.outlet.begin(self.lane);
        self.intake.take_answer(inlet, &server, bytes, now, self.outlet);
    }

    #[inline]
    fn next_request(
        &mut self,
        inlet: InletIndex,
        now: Nanos,
        into: &mut [u8],
    ) -> Option<(SocketAddr, usize)> {
        self.intake.next_request(inlet, now, into)
    }

    fn wants_connection(&mut self, inlet: InletIndex, now: Nanos) -> bool {
        self.intake.wants_connection(inlet, now)
    }

    fn request_failed(&mut self, inlet: InletIndex, reason: RequestFailure) {
        self.intake.request_failed(inlet, reason);
    }

    fn flush(&mut self) {
        self.outlet.flush();
    }

    fn tick(&mut self, connection: ConnectionIndex, now: Nanos) -> Next {
        self.intake.tick_connection(connection, now)
    }

    fn paused(&mut self, connection: ConnectionIndex, now: Nanos) {
        self.intake.connections.paused(connection, now);
    }

    fn next_reply(&mut self) -> Option<ConnectionIndex> {
        self.intake.connections.next_reply()
    }

    fn reply(&mut self, connection: ConnectionIndex, into: &mut [u8]) -> usize {
        self.intake.connections.reply(connection, into)
    }

    fn ended(&mut self, connection: ConnectionIndex, _now: Nanos) -> Next {
        self.intake.connections.ended(connection)
    }

    fn closing(&mut self, connection: ConnectionIndex, reason: CloseReason) {
        self.intake.connections.closing(connection, reason);
    }

    fn closed(&mut self, connection: ConnectionIndex, _reason: CloseReason) -> (u64, bool) {
        self.intake.connections.closed(connection)
    }
}
