//! Hot path: a worker's share of a class: its end of the queue, its processor, and its ways home.
//!
//! Invariant: every ticket popped is given back to the pool that it came from, with exactly one fate, in the same turn or
//! when its processor has parked it no longer. A partition moves between threads whole or not at all.

use super::parking::Parking;
use crate::event::{Class, ClockKind, DeadReason, Nanos, ShardId};
use crate::ledger::{EventBook, IntervalRecorder, LatencyRecorder, QueueBook, StreamFeeds};
use crate::os::Clock;
use crate::pool::{EventRef, ReturnPort, SlotReader, Ticket};
use crate::process::{Fate, Subject};
use crate::queue::QueueConsumer;
use crate::sink::dead_letters::LetterPort;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Tickets popped in one turn: enough to hide a cache miss each behind the others, few enough to stay in L1.
pub const POP_MAX: usize = 256;

/// How many times as many are popped under pressure.
pub const BURST_FACTOR_MAX: usize = 4;

/// What is done with the events of one class, or of one worker's share of it.
pub trait Processor: Send + 'static {
    /// Sees one event, `now` being when its burst was popped, and says what becomes of it. [`Fate::Parked`] names a place
    /// below [`parked_max`](Processor::parked_max) that no other parked event has.
    fn process(&mut self, subject: &Subject<'_>, now: Nanos) -> Fate;

    /// Most events that can be parked at a time.
    fn parked_max(&self) -> usize {
        0
    }

    /// The place of a parked event that is to be shown again now, if there is one.
    fn due(&mut self, now: Nanos) -> Option<u32> {
        let _ = now;
        None
    }

    /// Sees a parked event again.
    fn process_again(&mut self, place: u32, subject: &Subject<'_>, now: Nanos) -> Fate {
        let _ = place;
        self.process(subject, now)
    }

    /// The place of a parked event that is to be given up, because the appliance stops; each is named once.
    fn abandon(&mut self) -> Option<u32> {
        None
    }

    /// How often the event was tried whose fate was returned last.
    fn attempts(&self) -> u8 {
        1
    }

    /// Called each turn, for what comes by other ways than the queue; returns how much that was.
    fn turn(&mut self) -> usize {
        0
    }

    /// Whether nothing will come by other ways any more.
    fn is_done(&self) -> bool {
        true
    }

    /// Called about every 10 ms, between turns.
    fn housekeeping(&mut self, now: Nanos) {
        let _ = now;
    }

    /// Nothing will come any more: what is open is closed.
    fn finish(&mut self, now: Nanos) {
        let _ = now;
    }
}

/// What a shard gives to each partition.
pub struct ShardView {
    /// A view of its pool.
    pub reader: SlotReader,
    /// The way home to its pool.
    pub port: ReturnPort,
    /// Which feed each of its streams belongs to.
    pub feeds: StreamFeeds,
    /// The index of its first inlet among all, and where inlets begin in its own table.
    pub inlets: InletPlaces,
}

/// How a shard's own index of a feed becomes that of all feeds and inlets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InletPlaces {
    /// Feeds of the configuration, which all shards know by the same index.
    pub feeds: u32,
    /// The index of this shard's first inlet among all feeds and inlets.
    pub first: u32,
    /// Its inlets.
    pub count: u32,
    /// All feeds and inlets that have names.
    pub named: u32,
}

impl InletPlaces {
    /// The index among all: of feeds that nobody configured one behind those with names, the shard's own.
    #[inline]
    pub fn among_all(&self, own: u32) -> u32 {
        match own.checked_sub(self.feeds) {
            None => own,
            Some(inlet) if inlet < self.count => self.first + inlet,
            Some(unnamed) => self.named.saturating_add(unnamed - self.count),
        }
    }
}

/// What a partition is made of.
pub struct PartitionParts<P> {
    /// Its class.
    pub class: Class,
    /// Its index among those of its class.
    pub index: usize,
    /// What it does with events.
    pub processor: P,
    /// Its end of the queue.
    pub consumer: QueueConsumer,
    /// What it needs of the shards, indexed by shard.
    pub shards: Vec<ShardView>,
    /// Whether the latency of the last interval is asked for.
    pub watches_latency: bool,
    /// Where events go that are not processed.
    pub letters: LetterPort,
}

/// Events in a row that began at the same time, as those of one frame or one burst did: they are recorded at once.
struct SameStart<R> {
    start_ns: Nanos,
    count: u64,
    recorder: R,
}

impl<R: FnMut(u64, u64)> SameStart<R> {
    fn new(recorder: R) -> SameStart<R> {
        SameStart { start_ns: 0, count: 0, recorder }
    }

    #[inline]
    fn add(&mut self, start_ns: Nanos, now: Nanos) {
        if start_ns != self.start_ns {
            self.record(now);
            self.start_ns = start_ns;
        }
        self.count += 1;
    }

    #[inline]
    fn record(&mut self, now: Nanos) {
        if self.count > 0 {
            (self.recorder)(now.saturating_sub(self.start_ns), self.count);
            self.count = 0;
        }
    }
}

/// A worker's share of a class.
pub struct Partition<P> {
    parts: PartitionParts<P>,
    // Both are allocated once, and empty between turns.
    popped: Vec<Ticket>,
    fates: Vec<(Fate, u8)>,
    home: Vec<Vec<Ticket>>,
    parking: Parking,
    finished: bool,
    events: EventBook,
    receive_to_processed: IntervalRecorder,
    wire_to_processed: LatencyRecorder,
}

/// A partition's books at its end.
pub struct PartitionReport<P> {
    /// Its class.
    pub class: Class,
    /// Its index among those of its class.
    pub index: usize,
    /// The processor itself.
    pub processor: P,
    /// What became of its events.
    pub events: EventBook,
    /// Its queue.
    pub queue: QueueBook,
    /// From the shard to here.
    pub receive_to_processed: LatencyRecorder,
    /// From the wire to here, where the wire time is on a comparable clock.
    pub wire_to_processed: LatencyRecorder,
}

impl<P: Processor> Partition<P> {
    /// Puts the parts together and allocates the burst buffers.
    pub fn new(parts: PartitionParts<P>) -> Partition<P> {
        const BURST: usize = POP_MAX * BURST_FACTOR_MAX;
        Partition {
            popped: Vec::with_capacity(BURST),
            fates: Vec::with_capacity(BURST),
            home: parts.shards.iter().map(|_| Vec::with_capacity(BURST)).collect(),
            parking: Parking::allocate(parts.processor.parked_max()),
            finished: false,
            events: EventBook::default(),
            receive_to_processed: IntervalRecorder::default(),
            wire_to_processed: LatencyRecorder::default(),
            parts,
        }
    }

    /// Its class.
    pub fn class(&self) -> Class {
        self.parts.class
    }

    /// Its index among those of its class.
    pub fn index(&self) -> usize {
        self.parts.index
    }

    /// What became of its events so far.
    pub fn events(&self) -> &EventBook {
        &self.events
    }

    /// Events that wait for it.
    pub fn waiting(&self) -> usize {
        self.parts.consumer.waiting()
    }

    /// Events that are parked.
    pub fn parked(&self) -> usize {
        self.parking.len()
    }

    /// The 99th percentile of the latencies since the last call, ns, where it was asked for and there were any.
    pub fn take_p99(&mut self) -> Option<Nanos> {
        if !self.parts.watches_latency {
            return None;
        }
        self.receive_to_processed.close_interval()
    }

    /// One turn: shows what is due again, and up to `burst` new events. Returns how many it showed.
    #[inline]
    pub fn turn(&mut self, now: Nanos, burst: usize, clock: &Clock) -> usize {
        let again = if self.parking.is_empty() { 0 } else { self.show_again(now) };
        let popped = self.parts.consumer.pop_batch(burst.min(POP_MAX * BURST_FACTOR_MAX), &mut self.popped);
        if popped > 0 {
            self.process_popped(clock.now());
            self.send_home();
        } else if again > 0 {
            self.send_home();
        }
        popped + again + self.parts.processor.turn()
    }

    /// Publishes nothing itself: the processor's own housekeeping.
    pub fn housekeeping(&mut self, now: Nanos) {
        self.parts.processor.housekeeping(now);
    }

    /// Whether nothing will come any more and nothing is parked; the processor has closed what was open then.
    pub fn is_finished(&self) -> bool {
        self.parts.consumer.is_closed() && self.parking.is_empty() && self.parts.processor.is_done()
    }

    /// The end: parked events are given up, and the processor closes what is open.
    pub fn close(&mut self, now: Nanos) {
        if self.finished {
            return;
        }
        self.finished = true;
        while let Some(place) = self.parts.processor.abandon() {
            if let Some(ticket) = self.parking.take(place) {
                let attempts = self.parts.processor.attempts();
                self.settle(ticket, Fate::Dead(DeadReason::Stopped), attempts, now);
            }
        }
        for ticket in self.parking.take_all() {
            self.settle(ticket, Fate::Dead(DeadReason::Stopped), 0, now);
        }
        self.send_home();
        self.parts.processor.finish(now);
    }

    /// The books.
    pub fn into_report(self) -> PartitionReport<P> {
        PartitionReport {
            class: self.parts.class,
            index: self.parts.index,
            processor: self.parts.processor,
            events: self.events,
            queue: self.parts.consumer.book(),
            receive_to_processed: self.receive_to_processed.into_all(),
            wire_to_processed: self.wire_to_processed,
        }
    }

    #[inline]
    fn process_popped(&mut self, now: Nanos) {
        for ticket in &self.popped {
            self.parts.shards[usize::from(ticket.owner().0)].reader.prefetch(ticket);
        }
        // A handler that panics costs the event that it was shown, and the burst goes on behind it.
        while self.fates.len() < self.popped.len() {
            let outcome = catch_unwind(AssertUnwindSafe(|| self.show_burst(now)));
            if outcome.is_err() {
                self.fates.push((Fate::Dead(DeadReason::HandlerPanicked), 1));
            }
        }
        let mut popped = std::mem::take(&mut self.popped);
        let mut fates = std::mem::take(&mut self.fates);
        for (ticket, (fate, attempts)) in popped.drain(..).zip(fates.drain(..)) {
            self.settle(ticket, fate, attempts, now);
        }
        (self.popped, self.fates) = (popped, fates);
    }

    /// Shows the popped events that have no fate yet.
    #[inline]
    fn show_burst(&mut self, now: Nanos) {
        let (received_by, wired_by) = (&mut self.receive_to_processed, &mut self.wire_to_processed);
        let mut received = SameStart::new(|latency_ns, count| received_by.record_many(latency_ns, count));
        let mut wired = SameStart::new(|latency_ns, count| wired_by.record_many(latency_ns, count));
        for ticket in &self.popped[self.fates.len()..] {
            let owner = ticket.owner();
            let shard = &self.parts.shards[usize::from(owner.0)];
            let event = shard.reader.event(ticket);
            received.add(event.header.receive_ns, now);
            if event.header.clock == ClockKind::Monotonic as u8 {
                wired.add(event.header.wire_ns, now);
            }
            let subject = subject(owner, shard, event);
            let fate = self.parts.processor.process(&subject, now);
            // Only the attempts of the last event are known, and only dead letters tell of them.
            let attempts = if matches!(fate, Fate::Dead(_)) { self.parts.processor.attempts() } else { 0 };
            self.fates.push((fate, attempts));
        }
        received.record(now);
        wired.record(now);
    }

    #[cold]
    #[inline(never)]
    fn show_again(&mut self, now: Nanos) -> usize {
        let mut shown = 0;
        while shown < POP_MAX
            && let Some(place) = self.parts.processor.due(now)
        {
            let Some(ticket) = self.parking.take(place) else { continue };
            shown += 1;
            let owner = ticket.owner();
            let shard = &self.parts.shards[usize::from(owner.0)];
            let subject = subject(owner, shard, shard.reader.event(&ticket));
            let processor = &mut self.parts.processor;
            let fate = catch_unwind(AssertUnwindSafe(|| processor.process_again(place, &subject, now)));
            let attempts = self.parts.processor.attempts();
            self.settle(ticket, fate.unwrap_or(Fate::Dead(DeadReason::HandlerPanicked)), attempts, now);
        }
        shown
    }

    /// Counts an event's fate, and parks its ticket or lays it down for the way home.
    #[inline]
    fn settle(&mut self, ticket: Ticket, fate: Fate, attempts: u8, now: Nanos) {
        match fate {
            Fate::Delivered => self.events.delivered += 1,
            Fate::Deduplicated => self.events.deduplicated += 1,
            Fate::Parked(place) => match self.parking.put(place, ticket) {
                Ok(()) => return,
                Err(ticket) => return self.settle(ticket, Fate::Dead(DeadReason::RetryFull), attempts, now),
            },
            Fate::Dead(reason) => self.bury(&ticket, reason, attempts, now),
        }
        self.home[usize::from(ticket.owner().0)].push(ticket);
    }

    #[cold]
    #[inline(never)]
    fn bury(&mut self, ticket: &Ticket, reason: DeadReason, attempts: u8, now: Nanos) {
        self.events.dead_lettered[reason as usize] += 1;
        let owner = ticket.owner();
        let event = self.parts.shards[usize::from(owner.0)].reader.event(ticket);
        self.parts.letters.write(reason.into(), event.header, event.payload, owner, attempts, now);
    }

    #[inline]
    fn send_home(&mut self) {
        for (shard, tickets) in self.parts.shards.iter_mut().zip(&mut self.home) {
            if !tickets.is_empty() {
                shard.port.give_back(tickets);
            }
        }
    }
}

#[inline]
fn subject<'a>(owner: ShardId, shard: &ShardView, event: EventRef<'a>) -> Subject<'a> {
    let feed = shard.inlets.among_all(shard.feeds.feed_of(event.header.stream));
    Subject { shard: owner, feed, header: event.header, payload: event.payload }
}
