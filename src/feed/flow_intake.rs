//! The intake's side for the TCP segments of captures: put in order, their bytes go the way of a connection's.
//!
//! Invariant: bytes that a flow hands over in order go to its connection or are counted as not decoded for one reason;
//! nothing here is on the way of a datagram.

use super::flow_report::{FlowLog, FlowRecord};
use super::stream_intake::Arrived;
use super::{
    EndpointIndex, FlowEnd, FlowEvent, FlowFate, FlowIndex, FlowKey, FlowLimits, FlowTable, FlowsReport,
    Intake, Next, Outlet, Piece, Took,
};
use crate::event::{
    ClockKind, CloseReason, ConnectionIndex, Destination, FrameReject, LinkType, Nanos, Protocol,
};
use crate::ledger::{ConnectionBook, FlowBook};
use crate::limits::{ENDPOINTS_MAX, FLOW_CONNECTIONS_MAX};
use crate::wire::link::{self, NoSegment};
use crate::wire::{detect, is_stream_protocol};
use std::collections::HashMap;

/// What is known of the flow in a place of the table.
#[derive(Clone, Copy, Debug)]
struct Place {
    fate: FlowFate,
    protocol: Option<Protocol>,
    /// Its connection while it is decoded.
    connection: Option<ConnectionIndex>,
}

const VACANT: Place = Place { fate: FlowFate::Empty, protocol: None, connection: None };

/// What became of the flow's bytes that a segment brought: none, or the fate that its frame shares.
type SegmentFate = Option<Result<(), FrameReject>>;

/// TCP flows of a capture, and their connections.
#[derive(Debug)]
pub(super) struct CaptureFlows {
    table: FlowTable,
    links: Links,
}

/// The flows' connections and books.
#[derive(Debug)]
struct Links {
    /// By the flow's index.
    places: Vec<Place>,
    free: Vec<ConnectionIndex>,
    /// Endpoints that nobody configured.
    endpoints: HashMap<(Destination, Protocol), EndpointIndex>,
    connections: ConnectionBook,
    book: FlowBook,
    log: FlowLog,
    /// When the last segment came.
    arrived: Arrived,
    /// Frames that hold a segment, or what is left of one.
    frames: u64,
}

impl CaptureFlows {
    /// Flows, whose connections are the only ones.
    pub(super) fn allocate() -> Box<CaptureFlows> {
        let limits = FlowLimits::default();
        let links = Links {
            places: std::iter::repeat_n(VACANT, limits.flows_max).collect(),
            free: (0..FLOW_CONNECTIONS_MAX).rev().map(|index| ConnectionIndex(index as u32)).collect(),
            endpoints: HashMap::with_capacity(ENDPOINTS_MAX),
            connections: ConnectionBook::default(),
            book: FlowBook::default(),
            log: FlowLog::allocate(),
            arrived: Arrived { now: 0, wire_ns: 0, clock: ClockKind::None },
            frames: 0,
        };
        Box::new(CaptureFlows { table: FlowTable::allocate(limits), links })
    }

    /// The books, with what came of all segments so far.
    fn book(&self) -> FlowBook {
        let totals = self.table.totals();
        FlowBook {
            segments: totals.segments,
            out_of_order: totals.out_of_order,
            retransmitted: totals.retransmitted,
            overlaps: totals.overlaps,
            payload_bytes: totals.payload_bytes,
            duplicate_bytes: totals.duplicate_bytes,
            before_start_bytes: totals.before_start_bytes,
            discarded_bytes: totals.discarded_bytes,
            ordered_bytes: totals.bytes,
            missing_bytes: totals.lost_bytes,
            ..self.links.book.clone()
        }
    }
}

impl Intake {
    /// Takes a frame that holds no datagram: a segment of a flow, or nothing for us.
    #[cold]
    #[inline(never)]
    pub(super) fn take_segment(
        &mut self,
        frame: &[u8],
        link: LinkType,
        wire_ns: Nanos,
        clock: ClockKind,
        outlet: &mut impl Outlet,
    ) -> Result<(), FrameReject> {
        let Some(mut flows) = self.flows.take() else { return Err(FrameReject::NotUdp) };
        let arrived = Arrived { now: wire_ns, wire_ns, clock };
        let fate = self.take_flow_segment(&mut flows, frame, link, arrived, outlet);
        self.flows = Some(flows);
        fate
    }

    fn take_flow_segment(
        &mut self,
        flows: &mut CaptureFlows,
        frame: &[u8],
        link: LinkType,
        arrived: Arrived,
        outlet: &mut impl Outlet,
    ) -> Result<(), FrameReject> {
        let CaptureFlows { table, links } = flows;
        let segment = match link::segment(frame, link) {
            Err(NoSegment::NotTcp) => return Err(FrameReject::NotUdp),
            segment => segment,
        };
        links.frames += 1;
        let segment = match segment {
            Ok(segment) => segment,
            Err(NoSegment::Refused(reason)) => return Err(reason),
            Err(NoSegment::NotTcp) => return Err(FrameReject::NotUdp),
        };
        links.arrived = arrived;
        let own = FlowKey { source: segment.source, destination: segment.destination };
        let mut brought = None;
        let taken = table.take(&segment, arrived.wire_ns, &mut |flow, event| {
            let of_own = matches!(event, FlowEvent::Piece(key, _) if *key == own);
            let fate = self.flow_event(links, flow, event, outlet);
            if of_own && fate.is_some() {
                brought = fate;
            }
        });
        let Ok(taken) = taken else {
            links.book.unplaced += 1;
            return Err(FrameReject::TableFull);
        };
        if segment.payload.is_empty() {
            // Handshakes and acknowledgements are understood, whatever they are about.
            return Ok(());
        }
        brought.or_else(|| taken.flow.and_then(|flow| links.fate(flow))).unwrap_or(Ok(()))
    }

    /// Ends all flows, with what they hold behind gaps: the source's frames are over, or begin again.
    #[cold]
    pub fn finish_flows(&mut self, outlet: &mut impl Outlet) {
        let Some(mut flows) = self.flows.take() else { return };
        let CaptureFlows { table, links } = &mut *flows;
        table.finish(&mut |flow, event| {
            self.flow_event(links, flow, event, outlet);
        });
        self.flows = Some(flows);
    }

    /// Whether any flow is still to be ended.
    #[inline]
    pub fn has_flows(&self) -> bool {
        self.flows.as_ref().is_some_and(|flows| flows.table.has_flows())
    }

    /// Bytes that flows hold behind gaps: the next segment may set them free, so that a source which can wait needs room
    /// for them, too.
    #[inline]
    pub fn flow_bytes_held(&self) -> usize {
        self.flows.as_ref().map_or(0, |flows| flows.table.held_bytes() as usize)
    }

    /// Frames so far that held a TCP segment, or what was left of one; 0 where flows are not decoded.
    pub fn tcp_frames(&self) -> u64 {
        self.flows.as_ref().map_or(0, |flows| flows.links.frames)
    }

    /// The books of flows and of their connections, and what is told of them; `None` if there was no segment.
    pub fn flow_books(&self) -> Option<(ConnectionBook, FlowsReport)> {
        let flows = self.flows.as_ref().filter(|flows| flows.links.frames > 0)?;
        let connections = ConnectionBook {
            bytes_taken: self.connections.bytes_taken,
            bytes_held: self.connections.bytes_held(),
            ..flows.links.connections.clone()
        };
        Some((connections, flows.links.log.report(flows.book())))
    }

    fn flow_event(
        &mut self,
        links: &mut Links,
        flow: FlowIndex,
        event: FlowEvent<'_>,
        outlet: &mut impl Outlet,
    ) -> SegmentFate {
        match event {
            FlowEvent::Piece(key, Piece::Bytes(bytes)) => {
                Some(self.flow_bytes(links, flow, key, bytes, outlet))
            }
            FlowEvent::Piece(_, Piece::Lost(_)) => {
                self.flow_gap(links, flow);
                None
            }
            FlowEvent::Ended(facts) => {
                let reason = self.reason_of_end(links, flow, facts.ended);
                self.close_flow(links, flow, reason);
                let place = std::mem::replace(&mut links.places[flow.0 as usize], VACANT);
                links.log.note(FlowRecord { facts: *facts, protocol: place.protocol, fate: place.fate });
                None
            }
        }
    }

    fn flow_bytes(
        &mut self,
        links: &mut Links,
        flow: FlowIndex,
        key: &FlowKey,
        bytes: &[u8],
        outlet: &mut impl Outlet,
    ) -> Result<(), FrameReject> {
        let fate = links.places[flow.0 as usize].fate;
        if matches!(fate, FlowFate::Empty | FlowFate::UnknownProtocol) {
            links.places[flow.0 as usize] = self.open_flow(links, key, bytes);
        }
        let count = bytes.len() as u64;
        let Some(connection) = links.places[flow.0 as usize].connection else {
            return links.leave_out(flow, count);
        };
        links.book.connection_bytes += count;
        links.connections.bytes_received += count;
        let Took { bytes: taken, next } = self.take_arrived(connection, bytes, links.arrived, outlet);
        let reason = match next {
            Next::Continue => return Ok(()),
            Next::Close(reason) => reason,
            // Nothing of a capture can be shown again; an overheard session never asks for that.
            Next::Wait => CloseReason::IoError,
        };
        links.connections.bytes_lost[reason as usize] += count - taken as u64;
        links.places[flow.0 as usize].fate = FlowFate::GivenUp(reason);
        self.close_flow(links, flow, reason);
        Ok(())
    }

    /// The connection of a flow that begins with `bytes`, or why it has none.
    fn open_flow(&mut self, links: &mut Links, key: &FlowKey, bytes: &[u8]) -> Place {
        let configured = self.table.find_endpoint(&key.destination).and_then(|endpoint| {
            let protocol =
                self.table.endpoint(endpoint).protocol.filter(|known| is_stream_protocol(*known))?;
            Some((protocol, endpoint))
        });
        let named = self.protocol.filter(|named| is_stream_protocol(*named));
        let protocol = match configured {
            Some((protocol, _)) => Some(protocol),
            None if self.admit_unknown => named.or_else(|| detect::detect_stream(bytes)),
            None => None,
        };
        let Some(protocol) = protocol else {
            return Place { fate: FlowFate::UnknownProtocol, ..VACANT };
        };
        let endpoint = match configured {
            Some((_, endpoint)) => Some(endpoint),
            None => self.flow_endpoint(links, key.destination, protocol),
        };
        let endpoint = endpoint.filter(|endpoint| self.table.find_stream(*endpoint, 0, 0).is_ok());
        let connection = endpoint.and_then(|endpoint| Some((endpoint, links.free.pop()?)));
        let Some((endpoint, connection)) = connection else {
            return Place { fate: FlowFate::NoPlace, protocol: Some(protocol), connection: None };
        };
        links.connections.opened += 1;
        self.connections.overhear(connection, endpoint, protocol);
        Place { fate: FlowFate::Decoded, protocol: Some(protocol), connection: Some(connection) }
    }

    fn flow_endpoint(
        &mut self,
        links: &mut Links,
        destination: Destination,
        protocol: Protocol,
    ) -> Option<EndpointIndex> {
        if let Some(known) = links.endpoints.get(&(destination, protocol)) {
            return Some(*known);
        }
        let endpoint = self.table.admit_flow_endpoint(destination, protocol)?;
        links.endpoints.insert((destination, protocol), endpoint);
        Some(endpoint)
    }

    /// Bytes of the flow are missing here: FIX finds its next message by itself, others are given up.
    fn flow_gap(&mut self, links: &mut Links, flow: FlowIndex) {
        let Place { protocol, connection: Some(connection), .. } = links.places[flow.0 as usize] else {
            return;
        };
        let lost = self.connections.begin_anew(connection);
        links.connections.bytes_lost[CloseReason::Gap as usize] += lost;
        if protocol != Some(Protocol::Fix) {
            links.places[flow.0 as usize].fate = FlowFate::GivenUp(CloseReason::Gap);
            self.close_flow(links, flow, CloseReason::Gap);
        }
    }

    fn reason_of_end(&self, links: &Links, flow: FlowIndex, ended: FlowEnd) -> CloseReason {
        match ended {
            FlowEnd::Finished => match links.places[flow.0 as usize].connection {
                Some(connection) if self.connections.is_in_unit(connection) => CloseReason::PeerClosedInFrame,
                _ => CloseReason::PeerClosed,
            },
            FlowEnd::Reset => CloseReason::PeerReset,
            FlowEnd::Succeeded => CloseReason::Superseded,
            FlowEnd::Idle => CloseReason::Idle,
            FlowEnd::CaptureEnded => CloseReason::CaptureEnded,
        }
    }

    fn close_flow(&mut self, links: &mut Links, flow: FlowIndex, reason: CloseReason) {
        let Some(connection) = links.places[flow.0 as usize].connection.take() else { return };
        let (lost, _) = self.connections.closed(connection);
        links.connections.bytes_lost[reason as usize] += lost;
        links.connections.closed[reason as usize] += 1;
        links.free.push(connection);
    }
}

impl Links {
    /// What a frame with payload of this flow is counted as; `None` while nothing of the flow was seen in order.
    fn fate(&self, flow: FlowIndex) -> SegmentFate {
        match self.places[flow.0 as usize].fate {
            FlowFate::Empty => None,
            FlowFate::Decoded => Some(Ok(())),
            FlowFate::UnknownProtocol => Some(Err(FrameReject::UnknownDestination)),
            FlowFate::NoPlace => Some(Err(FrameReject::TableFull)),
            FlowFate::GivenUp(_) => Some(Err(FrameReject::FlowGivenUp)),
        }
    }

    /// Counts bytes of a flow without a connection.
    fn leave_out(&mut self, flow: FlowIndex, count: u64) -> Result<(), FrameReject> {
        let (bytes, reason) = match self.places[flow.0 as usize].fate {
            FlowFate::UnknownProtocol => (&mut self.book.unknown_bytes, FrameReject::UnknownDestination),
            FlowFate::GivenUp(_) => (&mut self.book.given_up_bytes, FrameReject::FlowGivenUp),
            FlowFate::Empty | FlowFate::Decoded | FlowFate::NoPlace => {
                (&mut self.book.no_place_bytes, FrameReject::TableFull)
            }
        };
        *bytes += count;
        Err(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::MessageReject;
    use crate::feed::{Accepted, IntakeSettings};
    use crate::limits::FLOWS_TOLD_MAX;
    use crate::wire::Message;

    #[derive(Default)]
    struct Taken {
        /// Numbers and bodies.
        messages: Vec<(u64, Vec<u8>)>,
    }

    impl Outlet for Taken {
        fn accept(&mut self, message: &Message<'_>, accepted: &Accepted) -> Result<(), MessageReject> {
            assert_eq!((accepted.clock, accepted.session), (ClockKind::Capture, 0));
            self.messages.push((message.sequence, message.body.to_vec()));
            Ok(())
        }

        fn has_room(&mut self, _: Protocol, _: &Message<'_>) -> bool {
            panic!("a capture's flow can't wait in the middle of a frame")
        }
    }

    fn segment(port: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0];
        packet.extend((40 + payload.len() as u16).to_be_bytes());
        packet.extend([0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend(port.to_be_bytes());
        packet.extend(9_000u16.to_be_bytes());
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 0, 0x50, 16, 0, 0, 0, 0, 0, 0]);
        packet.extend(payload);
        packet
    }

    fn intake(settings: IntakeSettings) -> Intake {
        let small = IntakeSettings { streams_max: 64, endpoints_max: 64, tcp_flows: true, ..settings };
        Intake::allocate(&small)
    }

    fn take(intake: &mut Intake, frame: &[u8], outlet: &mut Taken) -> Result<(), FrameReject> {
        let before = intake.frames.clone();
        intake.take(frame, LinkType::RawIp, 5, ClockKind::Capture, outlet);
        let reason = FrameReject::ALL
            .iter()
            .find(|reason| intake.frames.rejected[**reason as usize] > before.rejected[**reason as usize]);
        reason.map_or(Ok(()), |reason| Err(*reason))
    }

    /// Ends the flows; all books must balance.
    fn end(mut intake: Intake, outlet: &mut Taken) -> (ConnectionBook, FlowsReport) {
        intake.finish_flows(outlet);
        assert!(!intake.has_flows() && intake.flow_bytes_held() == 0);
        let (connections, flows) = intake.flow_books().expect("there were segments");
        for (words, left, right) in connections.equations().into_iter().chain(flows.book.equations()) {
            assert_eq!(left, right, "{words}");
        }
        assert_eq!((connections.open, connections.bytes_held), (0, 0));
        assert!(flows.told.len() <= FLOWS_TOLD_MAX);
        (connections, flows)
    }

    #[test]
    fn a_session_out_of_a_capture_is_followed_and_not_answered() {
        let mut stream = format!("\0\x1fA{:>10}{:>20}", "SESSION1", 41).into_bytes();
        // Two system events of ITCH with one that is too short between them.
        let [open, close] = [b'O', b'C'].map(|code| [&b"S\0\0\0\0\0\0\0\0\0\0"[..], &[code]].concat());
        for payload in [&[b"S", &open[..]].concat()[..], b"H", b"SS", &[b"S", &close[..]].concat(), b"Z"] {
            stream.extend((payload.len() as u16).to_be_bytes());
            stream.extend(payload);
        }
        let mut intake = intake(IntakeSettings::default());
        let mut outlet = Taken::default();
        for (n, part) in stream.chunks(34).enumerate() {
            assert_eq!(take(&mut intake, &segment(1, n as u32 * 34, part), &mut outlet), Ok(()));
        }
        assert_eq!(outlet.messages, [(41, open), (43, close)]);
        assert_eq!(intake.connections.next_reply(), None);
        let streams = intake.settle();
        assert_eq!((streams[0].session.as_str(), streams[0].book.missing), ("SESSION1", 1));
        assert_eq!(end(intake, &mut outlet).1.decoded, 1);
    }

    #[test]
    fn an_acknowledged_session_is_overheard_in_both_directions() {
        use crate::event::Priority;
        use crate::wire::native_v2::{Control, EventFrame, Topic, encode_control, encode_event};
        let mut asked = Vec::new();
        encode_control(&Control::Hello { producer: 7, acknowledged: 0, durable: true }, 7, &mut asked);
        let event = EventFrame {
            producer: 7,
            sequence: 1,
            time_ns: 1,
            kind: 1,
            priority: Priority::High,
            topic: Topic::Name(b"t"),
            payload: b"p",
        };
        encode_event(&event, &mut asked);
        let mut intake = intake(IntakeSettings::default());
        let mut outlet = Taken::default();
        assert_eq!(take(&mut intake, &segment(1, 0, &asked), &mut outlet), Ok(()));
        let mut answered = Vec::new();
        encode_control(&Control::Ack { received: 1, durable: 0 }, 7, &mut answered);
        assert_eq!(take(&mut intake, &segment(2, 0, &answered), &mut outlet), Ok(()));
        assert_eq!(outlet.messages.len(), 1);
        assert!(!intake.connections.has_producers() && intake.connections.next_reply().is_none());
        assert_eq!(end(intake, &mut outlet).1.decoded, 2);
    }

    #[test]
    fn what_can_t_be_framed_is_given_up_by_name() {
        let named =
            IntakeSettings { protocol: Some(Protocol::SoupbintcpItch50), ..IntakeSettings::default() };
        let mut intake = intake(named);
        let mut outlet = Taken::default();
        assert_eq!(take(&mut intake, &segment(1, 0, b"\0\0broken"), &mut outlet), Ok(()));
        let next = take(&mut intake, &segment(1, 8, b"more"), &mut outlet);
        assert_eq!(next, Err(FrameReject::FlowGivenUp));
        assert_eq!(take(&mut intake, &segment(1, 12, b""), &mut outlet), Ok(()), "an acknowledgement");
        let (connections, flows) = end(intake, &mut outlet);
        assert_eq!((flows.given_up, flows.book.given_up_bytes), (1, 4));
        assert_eq!(connections.closed[CloseReason::BadFrame as usize], 1);
    }

    #[test]
    fn too_many_flows_find_no_place_and_are_counted() {
        let named = IntakeSettings { protocol: Some(Protocol::Fix), ..IntakeSettings::default() };
        let mut intake = intake(named);
        let mut outlet = Taken::default();
        for port in 1..=FLOW_CONNECTIONS_MAX as u16 {
            assert_eq!(take(&mut intake, &segment(port, 0, b"8=FIX.4"), &mut outlet), Ok(()));
        }
        let last = take(&mut intake, &segment(65_000, 0, b"8=FIX.4"), &mut outlet);
        assert_eq!(last, Err(FrameReject::TableFull));
        let (connections, flows) = end(intake, &mut outlet);
        assert_eq!((flows.no_place, flows.book.no_place_bytes), (1, 7));
        assert_eq!(connections.opened, FLOW_CONNECTIONS_MAX as u64);
        assert_eq!(connections.bytes_lost[CloseReason::CaptureEnded as usize], 7 * connections.opened);
    }

    #[test]
    fn without_flows_tcp_is_no_datagram() {
        let mut intake = Intake::allocate(&IntakeSettings { streams_max: 1, ..IntakeSettings::default() });
        let refused = take(&mut intake, &segment(1, 0, b"8=FIX.4"), &mut Taken::default());
        assert_eq!(refused, Err(FrameReject::NotUdp));
        assert!(intake.flow_books().is_none());
        let nobody = IntakeSettings { admit_unknown: false, ..IntakeSettings::default() };
        let mut intake = super::tests::intake(nobody);
        let refused = take(&mut intake, &segment(1, 0, b"8=FIX.4.4"), &mut Taken::default());
        assert_eq!(refused, Err(FrameReject::UnknownDestination));
        let mut icmp = segment(1, 0, b"");
        icmp[9] = 1;
        assert_eq!(take(&mut intake, &icmp, &mut Taken::default()), Err(FrameReject::NotUdp));
    }
}
