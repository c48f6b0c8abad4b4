//! Hot path: the shard agent: polls its lanes, decodes, and pushes events, one duty cycle at a time.
//!
//! Invariant: a lane's frames are the source's again when its poll returns; a slow processor never holds them.

use super::inlets::Inlets;
use super::notices::NoticePort;
use super::outlet::{ClosedOutlet, EventOutlet, OutletParts};
use crate::event::{Class, ClockKind, Nanos, ShardId};
use crate::feed::{
    ConnectionSettings, FlowsReport, Intake, IntakeSettings, ProducerRecord, Producers, RecoveryReport,
    StreamSnapshot, TableFacts,
};
use crate::ledger::{Board, Counter, KernelBook, LatencyRecorder, Ledger, RoutingBook, StreamFeeds};
use crate::runtime::Agent;
use crate::source::{Budget, FrameSource, StreamSource};
use std::any::Any;

/// A shard: its lanes' sources, its decoding and feed state, and its way out to the queues.
pub struct Shard<S> {
    id: ShardId,
    name: String,
    sources: Vec<S>,
    port: Option<Box<dyn StreamSource>>,
    intake: Intake,
    outlet: Option<EventOutlet>,
    closed: Option<ClosedOutlet>,
    wire_to_receive: LatencyRecorder,
    burst: usize,
    board: Board,
}

/// The name of a shard's agent.
pub fn shard_name(id: ShardId) -> String {
    ["shard-", &id.0.to_string()].concat()
}

/// A shard's books at its end.
pub struct ShardReport<S> {
    /// Its name.
    pub name: String,
    /// What its senders asked for, and what they got.
    pub routing: RoutingBook,
    /// Frames, messages, events; queue pushes.
    pub ledger: Ledger,
    /// Its streams, settled and named.
    pub streams: Vec<StreamSnapshot>,
    /// From the wire to the shard, where the wire time is on a comparable clock.
    pub wire_to_receive: LatencyRecorder,
    /// Its sources, for what they alone know.
    pub sources: Vec<S>,
    /// The producers of its acknowledged sessions.
    pub producers: Vec<ProducerRecord>,
    /// System calls of its port.
    pub port_system_calls: u64,
    /// What is told of a capture's TCP flows, where there were any.
    pub flows: Option<FlowsReport>,
    /// What came of asking for lost messages.
    pub recoveries: Vec<RecoveryReport>,
    /// How full its tables are.
    pub tables: TableFacts,
}

impl<S: FrameSource> Shard<S> {
    /// Puts a shard together and allocates its tables. `burst` is how many frames one lane gives in one turn.
    pub fn new(
        id: ShardId,
        sources: Vec<S>,
        intake: &IntakeSettings,
        parts: OutletParts,
        burst: usize,
    ) -> Shard<S> {
        Shard {
            id,
            name: shard_name(id),
            sources,
            port: None,
            intake: Intake::allocate(intake),
            outlet: Some(EventOutlet::new(parts)),
            closed: None,
            wire_to_receive: LatencyRecorder::default(),
            burst,
            board: Board::default(),
        }
    }

    /// Gives the shard a port for byte streams and datagrams; `connections` has the port's inlets, in its order.
    pub fn with_port(
        mut self,
        port: Box<dyn StreamSource>,
        connections: ConnectionSettings,
        producers: Producers,
    ) -> Shard<S> {
        self.port = Some(port);
        self.intake.connect(connections, producers);
        self
    }

    /// Tells of streams and lines by this way.
    pub fn tell_to(&mut self, notices: NoticePort) {
        if let Some(outlet) = &mut self.outlet {
            outlet.tell_to(notices);
        }
    }

    /// Which feed each of its streams belongs to.
    pub fn stream_feeds(&self) -> StreamFeeds {
        self.intake.stream_feeds()
    }

    /// Its number.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The board on which the shard publishes its counters.
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    /// The books, when the processors have ended, too.
    pub fn into_report(mut self) -> ShardReport<S> {
        self.close_outlet();
        let mut ledger = Ledger {
            frames: self.intake.frames.clone(),
            messages: self.intake.messages.clone(),
            ..Ledger::default()
        };
        let mut routing = RoutingBook::default();
        if let Some(mut closed) = self.closed.take() {
            // What was processed after our end, because the time to drain ran out, is known to its producers' records, too:
            // else it would be sent and processed again.
            ledger.events = closed.settle(|session, sequence| come_home(session, sequence, &mut self.intake));
            routing = closed.routing;
            self.intake.connections.remember_all();
            ledger.queues = closed.pushed;
        }
        for kernel in self.sources.iter().filter_map(FrameSource::kernel_book) {
            ledger.kernel.get_or_insert_with(KernelBook::default).absorb(&kernel);
        }
        if let Some(port) = &self.port {
            let mut book = port.book();
            book.bytes_taken = self.intake.connections.bytes_taken;
            book.bytes_held += self.intake.connections.bytes_held();
            ledger.connections = Some(book);
        }
        let flows = self.intake.flow_books().map(|(connections, flows)| {
            ledger.connections.get_or_insert(connections);
            ledger.flows = Some(flows.book.clone());
            flows
        });
        ShardReport {
            flows,
            recoveries: self.intake.recoveries(),
            tables: self.intake.table_facts(),
            name: self.name,
            routing,
            ledger,
            streams: self.intake.settle(),
            wire_to_receive: self.wire_to_receive,
            producers: self.intake.connections.producers().records().copied().collect(),
            port_system_calls: self.port.as_ref().map_or(0, |port| port.system_calls()),
            sources: self.sources,
        }
    }

    fn close_outlet(&mut self) {
        if let Some(outlet) = self.outlet.take() {
            self.closed = Some(outlet.close());
        }
    }

    fn publish(&self) {
        let frames = &self.intake.frames;
        self.board.publish(Counter::Frames, frames.received);
        self.board.publish(Counter::FramesRejected, frames.rejected.iter().sum());
        self.board.publish(Counter::Messages, self.intake.messages.decoded);
        self.board.publish(Counter::Accepted, self.intake.messages.accepted);
        self.board.publish(Counter::Offered, self.intake.messages.accepted);
        if let Some(outlet) = &self.outlet {
            self.board.publish(Counter::Shed, outlet.events.shed.iter().sum());
            self.board.publish(Counter::Dropped, outlet.dropped());
            for class in Class::ALL {
                self.board.publish(Counter::WAITING[class as usize], outlet.waiting(class) as u64);
            }
        }
    }
}

/// Takes tickets home; events of acknowledged sessions are then processed.
#[inline]
fn reclaim(outlet: &mut EventOutlet, intake: &mut Intake) -> usize {
    if !intake.connections.has_producers() {
        return outlet.reclaim();
    }
    outlet.reclaim_with(|session, sequence| come_home(session, sequence, intake))
}

#[inline]
fn come_home(session: u32, sequence: u64, intake: &mut Intake) {
    if session > 0 {
        intake.connections.processed(session, sequence);
    }
}

/// Bytes of frames that surely find room, and with them what flows hold back.
#[inline]
fn room_bytes(outlet: &mut EventOutlet, intake: &Intake, lane: u8) -> usize {
    match outlet.room_bytes(lane) {
        usize::MAX => usize::MAX,
        room => room.saturating_sub(intake.flow_bytes_held()),
    }
}

/// Ends the flows of captures that are over, as soon as there is as much room as there ever will be.
#[inline]
fn finish_flows<S: FrameSource>(sources: &[S], intake: &mut Intake, outlet: &mut EventOutlet) -> usize {
    if !intake.has_flows() || !sources.iter().all(FrameSource::exhausted) {
        return 0;
    }
    if outlet.is_idle() {
        intake.finish_flows(outlet);
        outlet.flush();
    }
    1
}

impl<S: FrameSource + Send + 'static> Agent for Shard<S> {
    fn name(&self) -> &str {
        &self.name
    }

    fn on_start(&mut self, now: Nanos) {
        let Some(outlet) = &mut self.outlet else { return };
        if let Some(port) = &mut self.port {
            let lane = self.sources.len() as u8;
            port.start(now, &mut Inlets { intake: &mut self.intake, outlet, lane });
        }
    }

    fn do_work(&mut self, now: Nanos) -> usize {
        let Some(outlet) = &mut self.outlet else { return 0 };
        let mut work = reclaim(outlet, &mut self.intake);
        self.intake.tick(now, outlet);
        for (lane, source) in self.sources.iter_mut().enumerate() {
            let bytes = room_bytes(outlet, &self.intake, lane as u8);
            let frames = outlet.room_frames(lane as u8, self.burst);
            let receive_ns = outlet.begin(lane as u8);
            if source.begins_again() {
                self.intake.finish_flows(outlet);
                self.intake.begin_again(outlet);
            }
            let (intake, wire_to_receive) = (&mut self.intake, &mut self.wire_to_receive);
            work += source.poll(receive_ns, Budget { frames, bytes }, &mut |frame| {
                intake.take(frame.bytes, frame.link, frame.wire_ns, frame.clock, outlet);
                if frame.clock == ClockKind::Monotonic {
                    wire_to_receive.record(receive_ns.saturating_sub(frame.wire_ns));
                }
            });
            work += outlet.flush();
        }
        if let Some(port) = &mut self.port {
            let lane = self.sources.len() as u8;
            work += port.poll(now, &mut Inlets { intake: &mut self.intake, outlet, lane });
            work += outlet.flush();
        }
        work += finish_flows(&self.sources, &mut self.intake, outlet);
        let is_over = self.sources.iter().all(FrameSource::exhausted)
            && self.port.as_ref().is_none_or(|port| port.exhausted());
        if is_over && self.intake.open_gaps() > 0 {
            self.intake.finish_gaps(outlet);
            outlet.flush();
            work += 1;
        }
        work
    }

    fn housekeeping(&mut self, _now: Nanos) {
        if let Some(outlet) = &mut self.outlet {
            outlet.recalibrate();
        }
        self.publish();
    }

    fn finished(&self) -> bool {
        self.sources.iter().all(FrameSource::exhausted)
            && !self.intake.has_flows()
            && self.intake.open_gaps() == 0
            && self.port.as_ref().is_none_or(|port| port.exhausted())
            && self.outlet.as_ref().is_none_or(EventOutlet::is_flushed)
            // A producer whose connection broke is still told by its record what became of its events.
            && self.intake.connections.producers().are_settled()
    }

    fn stop(&mut self) {
        self.sources.iter_mut().for_each(FrameSource::stop);
        if let Some(port) = &mut self.port {
            port.stop();
        }
    }

    fn on_close(&mut self, _now: Nanos) {
        if let Some(outlet) = &mut self.outlet {
            reclaim(outlet, &mut self.intake);
            self.intake.finish_flows(outlet);
            self.intake.finish_gaps(outlet);
            // What was held back until now still has its processors.
            outlet.flush();
            self.intake.connections.remember_all();
        }
        if let Some(port) = &mut self.port {
            port.close();
        }
        self.close_outlet();
        self.publish();
        self.board.publish(Counter::Done, 1);
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
