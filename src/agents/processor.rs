//! Hot path: the processor agent: pops tickets in bursts, lets its processor see each event, sends tickets home.
//!
//! Invariant: every ticket popped is given back to the pool that it came from in the same duty cycle.

use crate::event::{Class, ClockKind, Nanos, ShardId};
use crate::ledger::{Board, Counter, LatencyRecorder, QueueBook, TypeCounts};
use crate::os::Clock;
use crate::pool::{EventRef, ReturnPort, SlotReader, Ticket};
use crate::queue::QueueConsumer;
use crate::runtime::Agent;
use std::any::Any;

/// Tickets popped in one turn: enough to hide a cache miss each behind the others, few enough to stay in L1.
const POP_MAX: usize = 256;

/// What is done with the events of one class.
pub trait Processor: Send + 'static {
    /// Sees one event; `shard` is where it comes from, `now` when the burst was popped.
    fn process(&mut self, shard: ShardId, event: EventRef<'_>, now: Nanos);
}

/// The simplest honest processor: counts events by stream and type.
pub struct Tally {
    // Indexed by shard, then by stream.
    counts: Vec<Vec<TypeCounts>>,
}

impl Tally {
    /// Allocates counters for the streams of so many shards.
    pub fn allocate(shards: usize, streams_max: usize) -> Tally {
        let stream_counts = || (0..streams_max).map(|_| TypeCounts::default()).collect();
        Tally { counts: (0..shards).map(|_| stream_counts()).collect() }
    }

    /// What was counted of a stream.
    pub fn stream(&self, shard: ShardId, stream: usize) -> Option<&TypeCounts> {
        self.counts.get(usize::from(shard.0))?.get(stream)
    }
}

impl Processor for Tally {
    #[inline]
    fn process(&mut self, shard: ShardId, event: EventRef<'_>, _now: Nanos) {
        let counts = self.counts.get_mut(usize::from(shard.0));
        if let Some(stream) = counts.and_then(|streams| streams.get_mut(event.header.stream as usize)) {
            stream.add(event.header.kind);
        }
    }
}

/// What a processor agent is made of.
pub struct ProcessorParts<P> {
    /// Its class.
    pub class: Class,
    /// What it does with events.
    pub processor: P,
    /// Its end of the queue.
    pub consumer: QueueConsumer,
    /// Views of the shards' pools, indexed by shard.
    pub readers: Vec<SlotReader>,
    /// Ways home to the shards' pools, indexed by shard.
    pub ports: Vec<ReturnPort>,
}

/// Events in a row that began at the same time, as those of one frame or one burst did: they are recorded at once.
#[derive(Default)]
struct SameStart {
    start_ns: Nanos,
    count: u64,
}

impl SameStart {
    #[inline]
    fn add(&mut self, start_ns: Nanos, now: Nanos, recorder: &mut LatencyRecorder) {
        if start_ns != self.start_ns {
            self.record(now, recorder);
            self.start_ns = start_ns;
        }
        self.count += 1;
    }

    #[inline]
    fn record(&mut self, now: Nanos, recorder: &mut LatencyRecorder) {
        if self.count > 0 {
            recorder.record_many(now.saturating_sub(self.start_ns), self.count);
            self.count = 0;
        }
    }
}

/// A processor as an agent.
pub struct ProcessorAgent<P> {
    parts: ProcessorParts<P>,
    popped: Vec<Ticket>,
    home: Vec<Vec<Ticket>>,
    delivered: u64,
    receive_to_processed: LatencyRecorder,
    wire_to_processed: LatencyRecorder,
    clock: Clock,
    board: Board,
}

/// A processor's books at its end.
pub struct ProcessorReport<P> {
    /// Its class.
    pub class: Class,
    /// The processor itself.
    pub processor: P,
    /// Events that it finished with.
    pub delivered: u64,
    /// Its queue.
    pub queue: QueueBook,
    /// From the shard to here.
    pub receive_to_processed: LatencyRecorder,
    /// From the wire to here, where the wire time is on a comparable clock.
    pub wire_to_processed: LatencyRecorder,
}

impl<P: Processor> ProcessorAgent<P> {
    /// Puts the parts together and allocates the burst buffers.
    pub fn new(parts: ProcessorParts<P>, clock: Clock) -> ProcessorAgent<P> {
        let home = parts.ports.iter().map(|_| Vec::with_capacity(POP_MAX)).collect();
        ProcessorAgent {
            parts,
            popped: Vec::with_capacity(POP_MAX),
            home,
            delivered: 0,
            receive_to_processed: LatencyRecorder::default(),
            wire_to_processed: LatencyRecorder::default(),
            clock,
            board: Board::default(),
        }
    }

    /// The board on which the processor publishes its counters.
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    /// The books.
    pub fn into_report(self) -> ProcessorReport<P> {
        ProcessorReport {
            class: self.parts.class,
            processor: self.parts.processor,
            delivered: self.delivered,
            queue: self.parts.consumer.book(),
            receive_to_processed: self.receive_to_processed,
            wire_to_processed: self.wire_to_processed,
        }
    }

    #[inline]
    fn process_popped(&mut self) {
        for ticket in &self.popped {
            self.parts.readers[usize::from(ticket.owner().0)].prefetch(ticket);
        }
        let now = self.clock.now();
        let (mut received, mut wired) = (SameStart::default(), SameStart::default());
        for ticket in self.popped.drain(..) {
            let owner = ticket.owner();
            let event = self.parts.readers[usize::from(owner.0)].event(&ticket);
            received.add(event.header.receive_ns, now, &mut self.receive_to_processed);
            if event.header.clock == ClockKind::Monotonic as u8 {
                wired.add(event.header.wire_ns, now, &mut self.wire_to_processed);
            }
            self.parts.processor.process(owner, event, now);
            self.home[usize::from(owner.0)].push(ticket);
        }
        received.record(now, &mut self.receive_to_processed);
        wired.record(now, &mut self.wire_to_processed);
        for (port, tickets) in self.parts.ports.iter_mut().zip(&mut self.home) {
            port.give_back(tickets);
        }
    }
}

impl<P: Processor> Agent for ProcessorAgent<P> {
    fn name(&self) -> &str {
        self.parts.class.name()
    }

    fn do_work(&mut self, _now: Nanos) -> usize {
        let popped = self.parts.consumer.pop_batch(POP_MAX, &mut self.popped);
        if popped > 0 {
            self.process_popped();
            self.delivered += popped as u64;
        }
        popped
    }

    fn housekeeping(&mut self, _now: Nanos) {
        self.clock.recalibrate();
        self.board.publish(Counter::Delivered, self.delivered);
    }

    fn finished(&self) -> bool {
        self.parts.consumer.is_closed()
    }

    fn on_close(&mut self, now: Nanos) {
        self.housekeeping(now);
        self.board.publish(Counter::Done, 1);
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
