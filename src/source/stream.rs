//! Hot path: where byte streams and socket datagrams meet their shard: what a source calls, and what it promises.
//!
//! Invariant: bytes that a handler did not take are shown to it again, in order; a connection that waits costs the
//! others nothing.

use crate::event::{CloseReason, ConnectionIndex, FrameReject, InletIndex, Nanos, RequestFailure};
use crate::feed::{Next, Took};
use crate::ledger::ConnectionBook;
use std::net::SocketAddr;

/// The shard's side: makes messages of what comes in.
pub trait StreamHandler {
    /// A connection has begun, by an inlet. Memory was set aside for it at boot.
    fn opened(&mut self, connection: ConnectionIndex, inlet: InletIndex, now: Nanos);

    /// Bytes of a connection, in their order.
    fn bytes(&mut self, connection: ConnectionIndex, bytes: &[u8], now: Nanos) -> Took;

    /// A datagram that came to an inlet.
    fn datagram(&mut self, inlet: InletIndex, bytes: &[u8], now: Nanos);

    /// A datagram that can't be shown.
    fn refuse_datagram(&mut self, reason: FrameReject);

    /// A datagram that a server of an inlet's sent, in answer to a request.
    fn answer(&mut self, inlet: InletIndex, server: SocketAddr, bytes: &[u8], now: Nanos);

    /// Writes an inlet's next request into `into`, if one is due, and returns the server that it is for and its length.
    /// Asked until there is none, once a turn, so cheap when there is none.
    fn next_request(&mut self, inlet: InletIndex, now: Nanos, into: &mut [u8])
    -> Option<(SocketAddr, usize)>;

    /// Whether the connection of a connector is wanted now. Asked whenever it could be asked for.
    fn wants_connection(&mut self, inlet: InletIndex, now: Nanos) -> bool;

    /// A request of an inlet's could not be sent, or its socket had an error.
    fn request_failed(&mut self, inlet: InletIndex, reason: RequestFailure);

    /// A turn is over, or has come far enough: what was accepted goes to the queues.
    fn flush(&mut self);

    /// Looks at a connection's deadlines. About every 10 ms.
    fn tick(&mut self, connection: ConnectionIndex, now: Nanos) -> Next;

    /// Instead of a tick, as long as the source does not listen to a connection: it waits for room, or finds no buffer.
    fn paused(&mut self, connection: ConnectionIndex, now: Nanos);

    /// A connection that has something to say to its peer; each one is named once until it is asked.
    fn next_reply(&mut self) -> Option<ConnectionIndex>;

    /// Writes what is to be said, as whole frames, into `into`, and returns its length; the rest is kept.
    fn reply(&mut self, connection: ConnectionIndex, into: &mut [u8]) -> usize;

    /// No byte will come any more (the peer closed its side, or the appliance stops). Returns when the connection may
    /// end: `Continue` while there are answers to come.
    fn ended(&mut self, connection: ConnectionIndex, now: Nanos) -> Next;

    /// The source ends the connection for a reason of its own: the peer may be told before it is gone.
    fn closing(&mut self, connection: ConnectionIndex, reason: CloseReason);

    /// The connection is gone. Returns the bytes of an unfinished frame that are lost with it, and whether its server, if
    /// it was one that we connected to, had accepted us.
    fn closed(&mut self, connection: ConnectionIndex, reason: CloseReason) -> (u64, bool);
}

/// A source of byte streams and datagrams. It is owned by one shard and polled by its thread only.
pub trait StreamSource: Send {
    /// One turn: takes what came, shows it to the handler, a share of each connection, and sends replies. Returns how
    /// many things it did.
    fn poll(&mut self, now: Nanos, handler: &mut dyn StreamHandler) -> usize;

    /// Begins on the shard's own thread.
    fn start(&mut self, now: Nanos, handler: &mut dyn StreamHandler);

    /// Stops taking new connections, and ends those that are there once what they have sent is taken.
    fn stop(&mut self);

    /// The shard ends, whether or not everything has: on its own thread, behind the last poll.
    fn close(&mut self);

    /// Whether it has stopped and nothing is left.
    fn exhausted(&self) -> bool;

    /// The connections' book.
    fn book(&self) -> ConnectionBook;

    /// Where each inlet is bound, as far as it has an address: the port that the kernel chose included.
    fn addresses(&self) -> Vec<Option<SocketAddr>>;

    /// System calls made so far.
    fn system_calls(&self) -> u64;
}
