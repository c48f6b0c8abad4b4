//! Hot path: the intake's side of recovery: what is missing becomes requests, and answers become messages of the feed.
//!
//! Invariant: an answer can only bring what its feed has passed by: it neither begins an epoch nor moves a stream on.

use super::session::Session;
use super::soup_replay::Replayer;
use super::{
    Accepted, Connections, EndpointIndex, Intake, Next, Outlet, Recovery, RecoverySettings, ReplayBook,
    ServerBook, SoupLogin, StreamTable,
};
use crate::event::{ClockKind, ConnectionIndex, FrameReject, InletIndex, Nanos, Protocol, RequestFailure};
use crate::wire::moldudp64::{self, REQUEST_BYTES};
use std::net::SocketAddr;
use std::ops::Range;

/// The feed whose lost messages an inlet asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveredFeed {
    /// A configured feed, by its index.
    Feed(u32),
    /// What comes in by another inlet of the same port, before this one in their order.
    Inlet(InletIndex),
}

/// What an inlet that asks for lost messages is told.
#[derive(Clone, Debug)]
pub struct FeedRecovery {
    /// Whose.
    pub feed: RecoveredFeed,
    /// How.
    pub way: RecoveryWay,
}

/// How lost messages come back.
#[derive(Clone, Debug)]
pub enum RecoveryWay {
    /// By requests, datagram by datagram.
    Requests(RecoverySettings),
    /// By a SoupBinTCP server's replay, for which the inlet is a connector.
    Replay {
        /// Who logs in.
        login: SoupLogin,
        /// How long a server may bring nothing.
        patience_ns: Nanos,
    },
}

/// An inlet that asks for lost messages.
#[derive(Debug)]
pub(super) struct Requester {
    pub(super) way: Way,
    /// The feed's further line.
    pub(super) endpoint: EndpointIndex,
    pub(super) failures: [u64; RequestFailure::COUNT],
}

/// How an inlet asks.
#[derive(Debug)]
pub(super) enum Way {
    Requests(Recovery),
    Replay(Replayer),
}

impl Requester {
    pub(super) fn new(way: &RecoveryWay, endpoint: EndpointIndex) -> Requester {
        let way = match way {
            RecoveryWay::Requests(settings) => Way::Requests(Recovery::allocate(settings)),
            RecoveryWay::Replay { login, patience_ns } => Way::Replay(Replayer::new(*login, *patience_ns)),
        };
        Requester { way, endpoint, failures: [0; RequestFailure::COUNT] }
    }

    /// The replays, if it asks for them.
    pub(super) fn replayer(&mut self) -> Option<&mut Replayer> {
        match &mut self.way {
            Way::Replay(replayer) => Some(replayer),
            Way::Requests(_) => None,
        }
    }
}

/// What came of a feed's recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The feed.
    pub name: String,
    /// Its servers, in order.
    pub servers: Vec<ServerBook>,
    /// How often another server was turned to.
    pub switches: u64,
    /// Requests that could not be sent, and errors of their socket, by reason.
    pub failures: [u64; RequestFailure::COUNT],
    /// What came of replays, where the feed has them.
    pub replays: Option<ReplayBook>,
}

impl StreamTable {
    /// The session of the stream that an endpoint is a line of, and what of it may be asked for now, rising; `None` where
    /// that is nothing.
    #[inline]
    pub(super) fn recovery_due(
        &self,
        endpoint: EndpointIndex,
    ) -> Option<(u128, impl Iterator<Item = Range<u64>> + '_)> {
        self.missing(self.endpoint(endpoint).feed?, 0)
    }

    /// The session of the stream that an endpoint is a line of, and the number that it has reached; `None` before it has
    /// begun.
    #[inline]
    pub(super) fn reached(&mut self, endpoint: EndpointIndex) -> Option<(u128, u64)> {
        let stream = self.find_stream(endpoint, 0, 0).ok()?;
        let sequencer = &self.stream_mut(stream).sequencer;
        sequencer.started().then(|| (sequencer.session(), sequencer.next()))
    }
}

impl Connections {
    /// The inlet, if it is one that asks for lost messages.
    #[inline]
    fn requester(&mut self, inlet: InletIndex) -> Option<&mut Requester> {
        self.inlets.get_mut(usize::from(inlet.0))?.requester.as_deref_mut()
    }
}

impl Intake {
    /// Whether a connector should ask for its connection now: one that brings back what is lost, when something is; any
    /// other one always.
    #[cold]
    pub fn wants_connection(&mut self, inlet: InletIndex, now: Nanos) -> bool {
        let Some(requester) = self.connections.requester(inlet) else { return true };
        let endpoint = requester.endpoint;
        requester.replayer().is_some_and(|replayer| replayer.prepare(&self.table, endpoint, now))
    }

    /// Looks at a connection's deadlines; and of one that brings back what was lost, whether everything is there.
    #[cold]
    pub fn tick_connection(&mut self, connection: ConnectionIndex, now: Nanos) -> Next {
        let slot = &mut self.connections.slots[connection.0 as usize];
        let endpoint = slot.endpoint;
        if let Session::Replay(replay) = &mut slot.session
            && let Err(reason) = replay.tick(&self.table, endpoint, now)
        {
            self.connections.closing(connection, reason);
            return Next::Close(reason);
        }
        self.connections.tick(connection, now)
    }

    /// Writes the next request of an inlet into `into`, if one is due: the server that it is for, and its length.
    #[inline]
    pub fn next_request(
        &mut self,
        inlet: InletIndex,
        now: Nanos,
        into: &mut [u8],
    ) -> Option<(SocketAddr, usize)> {
        let requester = self.connections.requester(inlet)?;
        let (session, missing) = self.table.recovery_due(requester.endpoint)?;
        let Way::Requests(recovery) = &mut requester.way else { return None };
        let request = recovery.plan(now, moldudp64::session_bytes(session), missing)?;
        let packet = moldudp64::request(request.session, request.sequence, request.count);
        into.get_mut(..REQUEST_BYTES)?.copy_from_slice(&packet);
        Some((request.server, REQUEST_BYTES))
    }

    /// A request of an inlet's could not be sent, or its socket had an error.
    #[cold]
    pub fn request_failed(&mut self, inlet: InletIndex, reason: RequestFailure) {
        if let Some(requester) = self.connections.requester(inlet) {
            requester.failures[reason as usize] += 1;
        }
    }

    /// Takes a datagram that a server sent to an inlet that asks for lost messages.
    #[inline]
    pub fn take_answer(
        &mut self,
        inlet: InletIndex,
        server: &SocketAddr,
        packet: &[u8],
        now: Nanos,
        outlet: &mut impl Outlet,
    ) {
        let fate = self.decode_answer(inlet, server, packet, now, outlet);
        self.count_datagram(fate);
    }

    fn decode_answer(
        &mut self,
        inlet: InletIndex,
        server: &SocketAddr,
        packet: &[u8],
        now: Nanos,
        outlet: &mut impl Outlet,
    ) -> Result<(), FrameReject> {
        let requester = self.connections.requester(inlet).ok_or(FrameReject::UnknownDestination)?;
        if let Way::Requests(recovery) = &mut requester.way {
            recovery.replied(server, now);
        }
        let endpoint = requester.endpoint;
        let (session, next) = self.table.reached(endpoint).ok_or(FrameReject::NotAskedFor)?;
        let (answered, sequence, count) = moldudp64::header(packet).ok_or(FrameReject::PacketTooShort)?;
        // The end of a session, too, is the lines' to tell.
        let end = count.and_then(|count| sequence.checked_add(u64::from(count)));
        if moldudp64::session_number(&answered) != session || end.is_none_or(|end| end > next) {
            return Err(FrameReject::NotAskedFor);
        }
        let line = self.table.endpoint(endpoint).line;
        let accepted = Accepted::from(Protocol::Moldudp64Itch50, line, 0, ClockKind::None);
        self.decode_packet(endpoint, packet, accepted, outlet)
    }

    /// What came of all recoveries, by inlet.
    pub fn recoveries(&self) -> Vec<RecoveryReport> {
        let reports = self.connections.inlets.iter().filter_map(|inlet| {
            let requester = inlet.requester.as_ref()?;
            let (name, failures) = (inlet.settings.name.clone(), requester.failures);
            Some(match &requester.way {
                Way::Requests(recovery) => {
                    let (servers, switches) = (recovery.servers().collect(), recovery.switches());
                    RecoveryReport { name, servers, switches, failures, replays: None }
                }
                Way::Replay(replayer) => {
                    let replays = Some(replayer.book);
                    RecoveryReport { name, servers: Vec::new(), switches: 0, failures, replays }
                }
            })
        });
        reports.collect()
    }
}
