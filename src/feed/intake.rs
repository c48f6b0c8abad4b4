//! Hot path: a frame's way from its bytes to new messages, with every outcome counted once.
//!
//! Invariant: each frame is decoded or refused for one reason; each message is accepted, duplicate, stale,
//! heartbeat or refused for one reason.

use super::flow_intake::CaptureFlows;
use super::inlets::Inlet;
use super::visit::{PacketVerdict, Visit};
use super::{
    ConnectionSettings, Connections, EndpointIndex, FeedLine, FeedPolicy, Notice, Producers, StreamSnapshot,
    StreamTable, TableFacts,
};
use crate::event::{ClockKind, Destination, FrameReject, LinkType, Marks, MessageReject, Nanos, Protocol};
use crate::ledger::{FrameBook, MessageBook, StreamFeeds};
use crate::limits::{ENDPOINTS_MAX, FLOW_CONNECTIONS_MAX, LATENESS_STREAMS, STREAMS_MAX};
use crate::wire::{self, Message};

/// How often lines are looked at for silence, and how many streams at a time: 16,384 streams within a second and a half.
const WATCH_NS: Nanos = 10_000_000;
const WATCHED_STREAMS: usize = 128;
const CAPTURE_TURNS: u64 = 10;

/// A time in a capture in which nothing at all was heard: no line is to blame. Captures of several days are one input.
const PAUSE_NS: Nanos = 600_000_000_000;

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
    /// The acknowledged session that it came in: its producer's place + 1; 0 for none.
    pub session: u32,
    /// What its place in the sequence means.
    pub marks: Marks,
}

impl Accepted {
    /// What is known of a message before its stream is.
    #[inline]
    pub(super) fn from(protocol: Protocol, line: u8, wire_ns: Nanos, clock: ClockKind) -> Accepted {
        Accepted { stream: 0, epoch: 0, line, protocol, wire_ns, clock, session: 0, marks: Marks::NONE }
    }
}

/// Takes new messages: makes events of them, or counts them.
pub trait Outlet {
    /// A new message.
    ///
    /// # Errors
    /// There is no room for it.
    fn accept(&mut self, message: &Message<'_>, accepted: &Accepted) -> Result<(), MessageReject>;

    /// A new message that is to wait for a gap in front of it. Returns its place, below
    /// [`crate::limits::HELD_MAX`], which is its own until it is released.
    ///
    /// # Errors
    /// There is no room for it: [`MessageReject::PoolExhausted`] where there may be some later, and for outlets that hold
    /// nothing back. Then the gap is given up.
    fn hold(&mut self, message: &Message<'_>, accepted: &Accepted) -> Result<u32, MessageReject> {
        let _ = (message, accepted);
        Err(MessageReject::PoolExhausted)
    }

    /// Whether there is a place for one that is to wait. Where there is none and a recovery may bring the message again, it
    /// is not taken.
    fn can_hold(&self) -> bool {
        true
    }

    /// The message at a place waits no longer; `marks` are added to those with which it was held back.
    fn release(&mut self, held: u32, marks: Marks) {
        let _ = (held, marks);
    }

    /// Something happened to a stream or line.
    fn notice(&mut self, notice: &Notice) {
        let _ = notice;
    }

    /// Whether a message would be accepted now. Sources that can wait ask before.
    fn has_room(&mut self, protocol: Protocol, message: &Message<'_>) -> bool {
        let _ = (protocol, message);
        true
    }
}

/// How an intake treats destinations, and how large its tables are.
#[derive(Clone, Debug)]
pub struct IntakeSettings {
    /// Configured lines.
    pub lines: Vec<FeedLine>,
    /// The policies of their feeds, by the feed's index; the last one is also for all feeds that nobody configured. Empty
    /// for the usual one.
    pub policies: Vec<FeedPolicy>,
    /// Whether destinations that are not configured are taken as feeds of their own.
    pub admit_unknown: bool,
    /// Their protocol; `None` to detect it from their packets.
    pub protocol: Option<Protocol>,
    /// Streams at most.
    pub streams_max: usize,
    /// Destinations at most.
    pub endpoints_max: usize,
    /// Whether TCP segments are put in order and their flows decoded, as captures demand; otherwise they are refused, for
    /// on a NIC they are the kernel's.
    pub tcp_flows: bool,
}

impl Default for IntakeSettings {
    fn default() -> IntakeSettings {
        IntakeSettings {
            lines: Vec::new(),
            policies: Vec::new(),
            admit_unknown: true,
            protocol: None,
            streams_max: STREAMS_MAX,
            endpoints_max: ENDPOINTS_MAX,
            tcp_flows: false,
        }
    }
}

/// Decoding and feed state of one shard.
#[derive(Debug)]
pub struct Intake {
    pub(super) table: StreamTable,
    pub(super) admit_unknown: bool,
    pub(super) protocol: Option<Protocol>,
    /// The TCP flows, where they are decoded. Out of its place only while one of their segments is taken.
    pub(super) flows: Option<Box<CaptureFlows>>,
    // The feed's time: the shard's clock, or that of a capture that is taken flat out.
    pub(super) now: Nanos,
    by_capture: bool,
    watch_ns: Nanos,
    /// Frames by fate.
    pub frames: FrameBook,
    /// Messages by fate.
    pub messages: MessageBook,
    /// Connections, where there are sources of byte streams.
    pub connections: Connections,
}

impl Intake {
    /// Allocates the tables.
    pub fn allocate(settings: &IntakeSettings) -> Intake {
        let flows_max = if settings.tcp_flows { FLOW_CONNECTIONS_MAX } else { 0 };
        let nobody = Producers::allocate(0, &[], None);
        Intake {
            table: StreamTable::allocate(
                settings.streams_max,
                settings.endpoints_max,
                LATENESS_STREAMS,
                &settings.lines,
                &settings.policies,
            ),
            flows: settings.tcp_flows.then(CaptureFlows::allocate),
            connections: Connections::allocate(Vec::new(), 0, flows_max, nobody),
            admit_unknown: settings.admit_unknown,
            protocol: settings.protocol,
            now: 0,
            by_capture: false,
            watch_ns: 0,
            frames: FrameBook::default(),
            messages: MessageBook::default(),
        }
    }

    /// Allocates what connections need, for a shard with a port; before any frame, and not for captures.
    pub fn connect(&mut self, connections: ConnectionSettings, producers: Producers) {
        debug_assert!(self.flows.is_none(), "flows of captures have the connections to themselves");
        let mut inlets: Vec<Inlet> = Vec::with_capacity(connections.inlets.len());
        for settings in connections.inlets {
            let inlet = Inlet::enter(&mut self.table, &inlets, settings);
            inlets.push(inlet);
        }
        self.connections = Connections::allocate(inlets, connections.connections_max, 0, producers);
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
        if clock == ClockKind::Capture {
            if !self.by_capture {
                // The shard's clock counts from elsewhere: what it said before the first frame means nothing here.
                (self.by_capture, self.now, self.watch_ns) = (true, 0, 0);
            }
            if wire_ns.saturating_sub(self.now) >= PAUSE_NS {
                self.table.pass_over();
            }
            self.pass_time(wire_ns.max(self.now), outlet);
        }
        let fate = match self.decode(frame, link, wire_ns, clock, outlet) {
            Err(FrameReject::NotUdp) => self.take_segment(frame, link, wire_ns, clock, outlet),
            fate => fate,
        };
        self.count_frame(fate);
    }

    /// Counts a datagram of a socket, and what became of it.
    #[inline]
    pub(super) fn count_datagram(&mut self, fate: Result<(), FrameReject>) {
        self.frames.received += 1;
        self.frames.datagrams += 1;
        self.count_frame(fate);
    }

    /// Counts what became of a frame or datagram that was received.
    #[inline]
    pub(super) fn count_frame(&mut self, fate: Result<(), FrameReject>) {
        match fate {
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
        let (protocol, line, source) = {
            let record = self.table.endpoint(endpoint);
            (record.protocol, record.line, record.source)
        };
        if source.is_some_and(|wanted| wanted != datagram.source.address) {
            return Err(FrameReject::SourceNotAllowed);
        }
        let protocol = match protocol {
            Some(known) => known,
            None => self.detect(endpoint, datagram.payload, datagram.destination)?,
        };
        let accepted = Accepted::from(protocol, line, wire_ns, clock);
        self.decode_packet(endpoint, datagram.payload, accepted, outlet)
    }

    /// Decodes a packet that came in at an endpoint.
    #[inline]
    pub(super) fn decode_packet(
        &mut self,
        endpoint: EndpointIndex,
        packet: &[u8],
        accepted: Accepted,
        outlet: &mut impl Outlet,
    ) -> Result<(), FrameReject> {
        let mut visit =
            Visit::begin(&mut self.table, &mut self.messages, outlet, endpoint, accepted, self.now);
        let decoded = wire::decode(accepted.protocol, packet, &mut visit);
        visit.finish();
        decoded?;
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

    /// The shard's clock says `now`: deadlines are looked at. While frames of a capture are taken flat out, the capture's
    /// own times go on instead.
    #[inline]
    pub fn tick(&mut self, now: Nanos, outlet: &mut impl Outlet) {
        if !self.by_capture {
            self.pass_time(now, outlet);
        }
    }

    #[inline]
    fn pass_time(&mut self, now: Nanos, outlet: &mut impl Outlet) {
        self.now = now;
        if now >= self.table.gaps.due_ns {
            self.table.expire(now, outlet);
        }
        if now >= self.watch_ns {
            // A capture's minutes pass in milliseconds: more streams at a time, and seldom.
            let turns = if self.by_capture { CAPTURE_TURNS } else { 1 };
            self.watch_ns = now.saturating_add(turns * WATCH_NS);
            self.table.watch_lines(turns as usize * WATCHED_STREAMS, now, outlet);
        }
    }

    /// Which feed each stream belongs to: configured feeds in their order, then inlets, then those that nobody configured.
    pub fn stream_feeds(&self) -> StreamFeeds {
        self.table.stream_feeds.clone()
    }

    /// Gaps that are open, in all streams.
    pub fn open_gaps(&self) -> usize {
        self.table.gaps.slab.open_count()
    }

    /// Nothing more will come: all gaps are over, and what was held back behind them is delivered.
    pub fn finish_gaps(&mut self, outlet: &mut impl Outlet) {
        self.table.lose_all(self.now, outlet);
    }

    /// The source begins from the start again: every stream's next run begins an epoch.
    pub fn begin_again(&mut self, outlet: &mut impl Outlet) {
        self.finish_gaps(outlet);
        self.table.forget_all();
        if self.by_capture {
            // Its times come again, and with them its deadlines.
            (self.now, self.watch_ns) = (0, 0);
        }
    }

    /// How full the tables are.
    pub fn table_facts(&self) -> TableFacts {
        self.table.facts()
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
