//! Hot path: new messages become events: a slot, a header, a place in the queue of their class.
//!
//! Invariant: an accepted event is pushed, shed or buried for a counted reason; tickets are never dropped.

use super::held::Held;
use super::lanes::Lanes;
use super::notices::NoticePort;
use crate::control::actions;
use crate::event::{Class, EventHeader, Marks, MessageReject, Nanos, Overflow, Protocol};
use crate::feed::{Accepted, Notice, Outlet};
use crate::ledger::{EventBook, Knobs, Level, QueueBook, RoutingBook};
use crate::limits::STAGED_MAX;
use crate::os::Clock;
use crate::pool::{Pool, SlotReader, Ticket};
use crate::process::{Route, Router, order_key};
use crate::queue::QueueProducer;
use crate::sink::dead_letters::LetterPort;
use crate::wire::Message;

/// Events that a source which can wait may have under way: enough to keep processors busy through a pause of the
/// shard, few enough for their slots to stay in the caches (2,048 × 128 B is a quarter of an L2), and for the pressure
/// to be told from that of a source that can't wait.
const WAITING_IN_FLIGHT_MAX: usize = 2_048;

/// The same for each queue and sources of byte streams, whose events are larger (1,024 × 256 B): in `scripts/bench tcp`
/// an event cost 82 ns of the shard's CPU time with this number, and 98 ns with 4,096.
const STREAM_IN_FLIGHT_MAX: usize = 1_024;

/// Bytes of a frame that a message typically takes, to turn that number of events into bytes.
const MESSAGE_BYTES_TYPICAL: usize = 32;

/// Bytes of a packet on a network without jumbo frames.
const PACKET_BYTES_USUAL: usize = 1_500;

/// What happens to an event of each class whose queue is full, indexed by [`Class`].
pub type Overflows = [Overflow; 3];

/// What an outlet is made of.
pub struct OutletParts {
    /// The shard's event pool.
    pub pool: Pool,
    /// Where each message goes.
    pub router: Router,
    /// This shard's ends of the queues, indexed by [`Class`], one for each worker.
    pub producers: [Vec<QueueProducer>; 3],
    /// Events that may be held back behind gaps at a time.
    pub held_max: usize,
    /// The clock of publish times.
    pub clock: Clock,
    /// What happens to events whose queue is full, by lane of the shard.
    pub overflows: Vec<Overflows>,
    /// The same for events of inlets, in the order of the port.
    pub inlet_overflows: Vec<Overflows>,
    /// What the control plane wants.
    pub knobs: Knobs,
    /// Whether sources that can wait wait while the kill switch is set.
    pub pause_when_killed: bool,
    /// Where events go that are given up here.
    pub letters: LetterPort,
}

/// Makes events of messages, and pushes them in batches.
pub struct EventOutlet {
    pub(super) pool: Pool,
    pub(super) reader: SlotReader,
    router: Router,
    pub(super) lanes: Lanes,
    held: Held,
    notices: NoticePort,
    clock: Clock,
    overflows: Vec<Overflows>,
    inlet_overflows: Vec<Overflows>,
    /// Of the source whose frames are taken now.
    pub(super) overflow: Overflows,
    knobs: Knobs,
    pause_when_killed: bool,
    pub(super) letters: LetterPort,
    /// The pressure, as this turn sees it.
    pub(super) level: Level,
    lane: u8,
    pub(super) receive_ns: Nanos,
    // Events that each class surely has a place for, for those who can wait; worked out at `begin_waiting`.
    room: [usize; 3],
    /// Session and number of events that will not come home, because they were shed or buried here.
    pub(super) gone: Vec<(u32, u64)>,
    /// Events by fate, as far as the shard knows it.
    pub events: EventBook,
    /// Events by what their senders asked for, and what they got.
    pub routing: RoutingBook,
}

impl EventOutlet {
    /// Puts the parts together and allocates the staging.
    pub fn new(parts: OutletParts) -> EventOutlet {
        EventOutlet {
            reader: parts.pool.reader(),
            pool: parts.pool,
            router: parts.router,
            lanes: Lanes::new(parts.producers),
            held: Held::allocate(parts.held_max),
            notices: NoticePort::closed(),
            clock: parts.clock,
            overflow: parts.overflows.first().copied().unwrap_or([Overflow::Block; 3]),
            overflows: parts.overflows,
            inlet_overflows: parts.inlet_overflows,
            knobs: parts.knobs,
            pause_when_killed: parts.pause_when_killed,
            letters: parts.letters,
            level: Level::Healthy,
            lane: 0,
            receive_ns: 0,
            room: [0; 3],
            gone: Vec::with_capacity(STAGED_MAX),
            events: EventBook::default(),
            routing: RoutingBook::default(),
        }
    }

    /// The frames that follow were taken up by `lane`, now. Returns the time.
    #[inline]
    pub fn begin(&mut self, lane: u8) -> Nanos {
        self.lane = lane;
        if let Some(overflow) = self.overflows.get(usize::from(lane)) {
            self.overflow = *overflow;
        }
        self.level = self.knobs.level();
        self.receive_ns = self.clock.now();
        self.receive_ns
    }

    /// As [`begin`](EventOutlet::begin), for a datagram of an inlet.
    #[inline]
    pub fn begin_datagram(&mut self, lane: u8, inlet: u16) {
        self.begin(lane);
        if let Some(overflow) = self.inlet_overflows.get(usize::from(inlet)) {
            self.overflow = *overflow;
        }
    }

    /// As [`begin`](EventOutlet::begin), for a connection of an inlet, which asks for room before each message and can
    /// wait: its events are let into a queue as long as few enough wait there.
    #[inline]
    pub fn begin_waiting(&mut self, lane: u8, inlet: u16) {
        self.begin_datagram(lane, inlet);
        // What is held back needs its places in the end, but is not under way: else a replay could not bring what all
        // of it waits for.
        let held = self.held.len();
        for class in Class::ALL {
            let under_way = self.lanes.waiting(class);
            let places = self.lanes.room(class).saturating_sub(held);
            self.room[class as usize] = places.min(STREAM_IN_FLIGHT_MAX.saturating_sub(under_way));
        }
    }

    /// Whether sources that can wait are to wait, whatever room there is.
    #[inline]
    pub fn pauses(&self) -> bool {
        self.pause_when_killed && self.knobs.is_killed()
    }

    /// Bytes of frames of `lane` that surely find room: slots for all their messages, and places in whichever queue the
    /// source waits for. No limit while nothing is under way, so that a frame larger than any room still gets its turn.
    #[inline]
    pub fn room_bytes(&mut self, lane: u8) -> usize {
        let overflow = self.overflows.get(usize::from(lane)).copied().unwrap_or(self.overflow);
        if !overflow.contains(&Overflow::Block) {
            return usize::MAX;
        }
        if self.pauses() || actions(self.knobs.level()).pause_transactional {
            return 0;
        }
        let held = self.held.len();
        let in_flight = (self.pool.in_flight() as usize).saturating_sub(held);
        if in_flight == 0 {
            return usize::MAX;
        }
        // A message takes two bytes of a frame at least.
        let waits = |class: &Class| overflow[*class as usize] == Overflow::Block;
        let places = Class::ALL.into_iter().filter(waits).map(|class| self.lanes.room(class)).min();
        places
            .map_or(usize::MAX, |places| places.saturating_sub(held).saturating_mul(2))
            .min(self.pool.room_bytes())
            .min(WAITING_IN_FLIGHT_MAX.saturating_sub(in_flight).saturating_mul(MESSAGE_BYTES_TYPICAL))
    }

    /// Frames of `lane` that may come in one turn, `most` at most: while nothing is under way their bytes have no limit, and
    /// so many are asked for as small pools and queues surely hold of packets of the usual size; one at least.
    #[inline]
    pub fn room_frames(&self, lane: u8, most: usize) -> usize {
        let overflow = self.overflows.get(usize::from(lane)).unwrap_or(&self.overflow);
        if !overflow.contains(&Overflow::Block) || !self.is_idle() {
            return most;
        }
        let waits = Class::ALL.into_iter().filter(|class| overflow[*class as usize] == Overflow::Block);
        let places = waits.map(|class| self.lanes.room(class)).min().unwrap_or(usize::MAX);
        let bytes = self.pool.room_bytes().min(places.saturating_mul(MESSAGE_BYTES_TYPICAL));
        (bytes / PACKET_BYTES_USUAL).clamp(1, most.max(1))
    }

    /// Whether nothing is under way but what is held back.
    pub fn is_idle(&self) -> bool {
        self.pool.in_flight() as usize == self.held.len()
    }

    /// Takes home the tickets that processors gave back.
    #[inline]
    pub fn reclaim(&mut self) -> usize {
        self.pool.reclaim()
    }

    /// As [`reclaim`](EventOutlet::reclaim), and shows session and number of each event that has come home, or never
    /// will.
    #[inline]
    pub fn reclaim_with(&mut self, mut seen: impl FnMut(u32, u64)) -> usize {
        self.gone.drain(..).for_each(|(session, sequence)| seen(session, sequence));
        self.pool.reclaim_with(|header| seen(header.session, header.sequence))
    }

    /// Pushes what is staged. What finds no place stays staged if its source can wait, and else goes the way that the
    /// source's policy names. Returns how many events moved on that had been kept back.
    #[inline]
    pub fn flush(&mut self) -> usize {
        if self.lanes.all().all(super::lanes::Lane::is_flushed) {
            return 0;
        }
        let publish_ns = self.clock.now();
        let mut moved = 0;
        for class in Class::ALL {
            for lane in 0..self.lanes.of(class).len() {
                moved += self.flush_lane(class, lane, publish_ns);
            }
        }
        moved
    }

    #[inline]
    fn flush_lane(&mut self, class: Class, lane: usize, publish_ns: Nanos) -> usize {
        let ends = &mut self.lanes.of_mut(class)[lane];
        let moved = if ends.producer.kept_back() > 0 { ends.producer.advance() } else { 0 };
        if ends.staged.is_empty() {
            return moved;
        }
        for ticket in &mut ends.staged {
            self.pool.header_mut(ticket).publish_ns = publish_ns;
        }
        ends.producer.push_batch(&mut ends.staged);
        if !ends.staged.is_empty() {
            self.overflow(class, lane);
        }
        moved
    }

    /// Tells of streams and lines to whoever holds the other end.
    pub fn tell_to(&mut self, notices: NoticePort) {
        self.notices = notices;
    }

    /// Keeps the clock in step with the system's.
    pub fn recalibrate(&mut self) {
        self.clock.recalibrate();
    }

    /// Whether all that was accepted has left the shard.
    pub fn is_flushed(&self) -> bool {
        self.lanes.all().all(super::lanes::Lane::is_flushed)
    }

    /// Events of a class that wait for its workers.
    pub fn waiting(&self, class: Class) -> usize {
        self.lanes.waiting(class)
    }

    /// The end: drops the producers, so that the processors see their queues closed, and keeps the pool for the
    /// tickets that are still to come home. What still waits here, because the time to drain ran out with full queues, is
    /// given up: it has no other way to go.
    pub fn close(mut self) -> ClosedOutlet {
        Class::ALL.into_iter().for_each(|class| self.give_up(class));
        debug_assert_eq!(self.held.len(), 0, "gaps are finished before");
        let books = Class::ALL.map(|class| {
            let mut book = QueueBook::default();
            self.lanes.of(class).iter().for_each(|lane| book.absorb(&lane.producer.book()));
            book
        });
        let EventOutlet { pool, events, routing, gone, .. } = self;
        ClosedOutlet { pool, events, gone, routing, pushed: books }
    }
}

/// An outlet whose queues are closed.
pub struct ClosedOutlet {
    pool: Pool,
    events: EventBook,
    gone: Vec<(u32, u64)>,
    /// What its senders asked for.
    pub routing: RoutingBook,
    /// What it had pushed, by class.
    pub pushed: [QueueBook; 3],
}

impl ClosedOutlet {
    /// The shard's events book, with what has not come home as in flight; shows session and number of each event that has
    /// come home since. Call it when the processors have ended.
    pub fn settle(&mut self, mut seen: impl FnMut(u32, u64)) -> EventBook {
        self.gone.drain(..).for_each(|(session, sequence)| seen(session, sequence));
        self.pool.reclaim_with(|header| seen(header.session, header.sequence));
        let mut events = self.events.clone();
        events.in_flight = u64::from(self.pool.in_flight());
        events
    }
}

impl EventOutlet {
    /// Writes a message into a slot.
    #[inline]
    fn make_event(
        &mut self,
        message: &Message<'_>,
        accepted: &Accepted,
    ) -> Result<(Ticket, Class), MessageReject> {
        let Route { class, asked } = self.router.route(accepted.protocol, message.kind, message.body);
        let mut ticket = match self.pool.acquire(message.body.len()) {
            Some(ticket) => ticket,
            None => self.slot_of_another(class, message.body.len())?,
        };
        let marks = if class < asked { accepted.marks.and(Marks::RAISED) } else { accepted.marks };
        let header = EventHeader {
            sequence: message.sequence,
            wire_ns: accepted.wire_ns,
            receive_ns: self.receive_ns,
            publish_ns: 0,
            source_ns: message.source_ns,
            stream: accepted.stream,
            payload_bytes: message.body.len() as u32,
            epoch: accepted.epoch,
            kind: message.kind,
            lane: self.lane,
            marks: marks.0,
            protocol: accepted.protocol as u8,
            class: class as u8,
            line: accepted.line,
            clock: accepted.clock as u8,
            session: accepted.session,
        };
        self.pool.write(&mut ticket, &header, message.body);
        self.events.accepted += 1;
        self.routing.routed[asked as usize][class as usize] += 1;
        Ok((ticket, class))
    }

    /// The lane to the worker of an event's key.
    #[inline(never)]
    fn lane_of(&mut self, ticket: &Ticket, class: Class) -> usize {
        let event = self.reader.event(ticket);
        let key = key_of(event.header, event.payload);
        self.lanes.by_key(class, key)
    }

    /// Stages a ticket for the queue of its class, unless the pressure keeps that class out; sources that wait are made to
    /// wait for that, too.
    #[inline]
    fn stage(&mut self, ticket: Ticket, class: Class) {
        if self.level >= Level::Critical
            && self.overflow[class as usize] != Overflow::Block
            && self.is_kept_out(class)
        {
            return self.shed_for_pressure(ticket, class);
        }
        let lane = if self.lanes.is_divided(class) { self.lane_of(&ticket, class) } else { 0 };
        let staged = &mut self.lanes.of_mut(class)[lane].staged;
        staged.push(ticket);
        let is_full = staged.len() == STAGED_MAX;
        self.room[class as usize] = self.room[class as usize].saturating_sub(1);
        if is_full {
            self.flush_full(class, lane);
        }
    }
}

/// The key that keeps an event in order with others of its key.
pub(super) fn key_of(header: &EventHeader, payload: &[u8]) -> u64 {
    let protocol = Protocol::from_u8(header.protocol).unwrap_or(Protocol::Native);
    order_key(protocol, header.stream, payload)
}

impl Outlet for EventOutlet {
    #[inline]
    fn accept(&mut self, message: &Message<'_>, accepted: &Accepted) -> Result<(), MessageReject> {
        let (ticket, class) = self.make_event(message, accepted)?;
        self.stage(ticket, class);
        Ok(())
    }

    fn hold(&mut self, message: &Message<'_>, accepted: &Accepted) -> Result<u32, MessageReject> {
        if self.held.is_full() {
            return Err(MessageReject::PoolExhausted);
        }
        let (ticket, class) = self.make_event(message, accepted)?;
        Ok(self.held.put(ticket, class))
    }

    fn can_hold(&self) -> bool {
        !self.held.is_full()
    }

    fn release(&mut self, held: u32, marks: Marks) {
        let Some((mut ticket, class)) = self.held.take(held) else { return };
        self.pool.header_mut(&mut ticket).marks |= marks.0;
        self.stage(ticket, class);
    }

    fn notice(&mut self, notice: &Notice) {
        self.notices.tell(notice);
    }

    #[inline]
    fn has_room(&mut self, protocol: Protocol, message: &Message<'_>) -> bool {
        // What no slot ever holds is taken, and refused by name.
        let body_bytes = message.body.len();
        if !self.pool.has_slot(body_bytes) && body_bytes <= crate::limits::PAYLOAD_BYTES_MAX {
            return false;
        }
        let class = self.router.route(protocol, message.kind, message.body).class;
        if self.overflow[class as usize] != Overflow::Block {
            return true;
        }
        let is_paused = (class == Class::Transactional && actions(self.level).pause_transactional)
            || (self.level >= Level::Critical && self.is_kept_out(class));
        self.room[class as usize] > 0 && !is_paused && !self.pauses()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ClockKind, ShardId, ShedReason};
    use crate::pool::{PoolPlan, ReturnPort};
    use crate::queue::{QueueConsumer, queue};

    /// An outlet with so many slots, places in each queue and events held back; its pool's way home, and the consumers.
    fn outlet(slots: u32, places: usize, held_max: usize) -> (EventOutlet, ReturnPort, Vec<QueueConsumer>) {
        let plan = PoolPlan { slots: [slots, 1, 1, 1] };
        let (mut pool, _) = Pool::create(&plan, ShardId(0), &Pool::memory_wish(None)).expect("memory");
        let home = pool.attach();
        let (producers, consumers): (Vec<_>, Vec<_>) =
            Class::ALL.map(|class| queue(class, places, 1)).into_iter().unzip();
        let parts = OutletParts {
            pool,
            router: Router::default(),
            producers: producers.try_into().ok().expect("three classes"),
            held_max,
            clock: Clock::new(),
            overflows: vec![[Overflow::Block; 3]],
            inlet_overflows: Vec::new(),
            knobs: Knobs::default(),
            pause_when_killed: false,
            letters: LetterPort::closed(),
        };
        (EventOutlet::new(parts), home, consumers)
    }

    /// A trade of that number, and what goes with it.
    fn trade(sequence: u64, marks: Marks) -> (Message<'static>, Accepted) {
        let accepted = Accepted {
            stream: 0,
            epoch: 0,
            line: 0,
            protocol: Protocol::IexTp,
            wire_ns: 0,
            clock: ClockKind::Capture,
            session: 0,
            marks,
        };
        (Message { sequence, kind: u16::from(b'T'), source_ns: 0, body: b"T" }, accepted)
    }

    /// What is held back waits for what a replay brings: it must not keep that out.
    #[test]
    fn there_is_room_for_what_closes_a_gap_however_much_is_held_behind_it() {
        let held = STREAM_IN_FLIGHT_MAX + 10;
        let (mut outlet, _home, _consumers) = outlet(2 * held as u32, 4 * held, held);
        let (message, accepted) = trade(2, Marks::HELD);
        let places: Vec<u32> =
            (0..held).map(|_| outlet.hold(&message, &accepted).expect("there is room")).collect();
        outlet.begin_waiting(0, 0);
        assert!(outlet.has_room(Protocol::IexTp, &message));
        places.into_iter().for_each(|place| outlet.release(place, Marks::STALE));
        outlet.close();
    }

    #[test]
    fn what_is_staged_at_the_end_is_shed_by_name() {
        let (mut outlet, mut home, mut consumers) = outlet(8, 2, 0);
        // Trades: realtime, which has two places.
        for sequence in 1..=5 {
            let (message, accepted) = trade(sequence, Marks::NONE);
            assert_eq!(outlet.accept(&message, &accepted), Ok(()));
        }
        outlet.flush();
        assert!(!outlet.is_flushed());
        let mut closed = outlet.close();
        let events = closed.settle(|_, _| ());
        let shed = events.shed[ShedReason::RealtimeQueueFull as usize];
        assert_eq!((events.accepted, shed, events.in_flight), (5, 3, 2));
        assert_eq!(closed.pushed[Class::Realtime as usize].pushed, 2);
        let mut tickets = Vec::new();
        assert_eq!(consumers[Class::Realtime as usize].pop_batch(9, &mut tickets), 2);
        home.give_back(&mut tickets);
        let mut home = Vec::new();
        assert_eq!(closed.settle(|_, sequence| home.push(sequence)).in_flight, 0);
        home.sort_unstable();
        assert_eq!(home, [1, 2], "what is processed after the end is seen, what was shed is not");
    }
}
