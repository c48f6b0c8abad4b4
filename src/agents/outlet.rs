//! Hot path: new messages become events: a slot, a header, a place in the queue of their class.
//!
//! Invariant: an accepted event is either pushed or shed for a counted reason; tickets are never dropped.

use super::held::Held;
use super::notices::NoticePort;
use crate::event::{Class, EventHeader, Marks, MessageReject, Nanos, Protocol, ShedReason};
use crate::feed::{Accepted, Notice, Outlet};
use crate::ledger::{EventBook, QueueBook};
use crate::os::Clock;
use crate::pool::{Pool, Ticket};
use crate::process::ClassTable;
use crate::queue::QueueProducer;
use crate::wire::Message;

/// Tickets staged per class before they are pushed; a burst that makes more of them is pushed in parts.
const STAGED_MAX: usize = 4_096;

/// Events that a source which can wait may have under way: enough to keep processors busy through a pause of the
/// shard, few enough for their slots to stay in the caches (4,096 × 128 B is half an L2).
const WAITING_IN_FLIGHT_MAX: usize = 4_096;

/// The same for each queue and sources of byte streams, whose events are larger (1,024 × 256 B): in `scripts/bench tcp`
/// an event cost 82 ns of the shard's CPU time with this number, and 98 ns with 4,096.
const STREAM_IN_FLIGHT_MAX: usize = 1_024;

/// Bytes of a frame that a message typically takes, to turn that number of events into bytes.
const MESSAGE_BYTES_TYPICAL: usize = 32;

/// What an outlet is made of.
pub struct OutletParts {
    /// The shard's event pool.
    pub pool: Pool,
    /// The class of each message type.
    pub classes: ClassTable,
    /// This shard's ends of the three queues, indexed by [`Class`].
    pub producers: [QueueProducer; 3],
    /// Events that may be held back behind gaps at a time.
    pub held_max: usize,
    /// The clock of publish times.
    pub clock: Clock,
    /// Whether events that find no place in a queue stay staged (sources that can wait) or are shed.
    pub can_wait: bool,
}

/// Makes events of messages, and pushes them in batches.
pub struct EventOutlet {
    pool: Pool,
    classes: ClassTable,
    producers: [QueueProducer; 3],
    staged: [Vec<Ticket>; 3],
    held: Held,
    notices: NoticePort,
    clock: Clock,
    can_wait: bool,
    lane: u8,
    receive_ns: Nanos,
    // Events that each queue surely has a place for, for those who can wait; worked out at `begin_waiting`.
    room: [usize; 3],
    /// Events by fate, as far as the shard knows it.
    pub events: EventBook,
}

impl EventOutlet {
    /// Puts the parts together and allocates the staging.
    pub fn new(parts: OutletParts) -> EventOutlet {
        EventOutlet {
            pool: parts.pool,
            classes: parts.classes,
            producers: parts.producers,
            staged: std::array::from_fn(|_| Vec::with_capacity(STAGED_MAX)),
            held: Held::allocate(parts.held_max),
            notices: NoticePort::closed(),
            clock: parts.clock,
            can_wait: parts.can_wait,
            lane: 0,
            receive_ns: 0,
            room: [0; 3],
            events: EventBook::default(),
        }
    }

    /// The frames that follow were taken up by `lane`, now. Returns the time.
    #[inline]
    pub fn begin(&mut self, lane: u8) -> Nanos {
        self.lane = lane;
        self.receive_ns = self.clock.now();
        self.receive_ns
    }

    /// As [`begin`](EventOutlet::begin), for a source that asks for room before each message and can wait: its events are
    /// let into a queue as long as few enough wait there.
    #[inline]
    pub fn begin_waiting(&mut self, lane: u8) -> Nanos {
        for (class, room) in self.room.iter_mut().enumerate() {
            let producer = &mut self.producers[class];
            let free = producer.free();
            let waiting = producer.capacity() - free;
            let staged = self.staged[class].len();
            // What is held back needs its places in the end, but is not under way: else a replay could not bring what all
            // of it waits for.
            let places = free.saturating_sub(staged + self.held.len());
            *room = places.min(STREAM_IN_FLIGHT_MAX.saturating_sub(waiting + staged));
        }
        self.begin(lane)
    }

    /// Bytes of frames that surely find room: slots for all their messages, and places in whichever queue. No limit
    /// while nothing is under way, so that a frame larger than any room still gets its turn.
    #[inline]
    pub fn room_bytes(&mut self) -> usize {
        let held = self.held.len();
        let in_flight = (self.pool.in_flight() as usize).saturating_sub(held);
        if in_flight == 0 {
            return usize::MAX;
        }
        // A message takes two bytes of a frame at least.
        let places = |producer: &mut QueueProducer, staged: &Vec<Ticket>| {
            producer.free().saturating_sub(staged.len() + held).saturating_mul(2)
        };
        let [realtime, transactional, batch] = &mut self.producers;
        places(realtime, &self.staged[0])
            .min(places(transactional, &self.staged[1]))
            .min(places(batch, &self.staged[2]))
            .min(self.pool.room_bytes())
            .min(WAITING_IN_FLIGHT_MAX.saturating_sub(in_flight).saturating_mul(MESSAGE_BYTES_TYPICAL))
    }

    /// Takes home the tickets that processors gave back.
    #[inline]
    pub fn reclaim(&mut self) -> usize {
        self.pool.reclaim()
    }

    /// As [`reclaim`](EventOutlet::reclaim), and shows the header of each event that has come home.
    #[inline]
    pub fn reclaim_with(&mut self, seen: impl FnMut(&EventHeader)) -> usize {
        self.pool.reclaim_with(seen)
    }

    /// Pushes what is staged. What finds no place stays staged if the source can wait, and is shed otherwise.
    #[inline]
    pub fn flush(&mut self) {
        if self.staged.iter().all(Vec::is_empty) {
            return;
        }
        let publish_ns = self.clock.now();
        for class in Class::ALL {
            self.flush_class(class, publish_ns);
        }
    }

    #[inline]
    fn flush_class(&mut self, class: Class, publish_ns: Nanos) {
        let staged = &mut self.staged[class as usize];
        for ticket in staged.iter_mut() {
            self.pool.header_mut(ticket).publish_ns = publish_ns;
        }
        self.producers[class as usize].push_batch(staged);
        if !staged.is_empty() && !self.can_wait {
            self.shed(class);
        }
    }

    #[cold]
    #[inline(never)]
    fn shed(&mut self, class: Class) {
        let reason = match class {
            Class::Realtime => ShedReason::RealtimeQueueFull,
            Class::Transactional => ShedReason::TransactionalQueueFull,
            Class::Batch => ShedReason::BatchQueueFull,
        };
        for ticket in self.staged[class as usize].drain(..) {
            self.events.shed[reason as usize] += 1;
            self.pool.release(ticket);
        }
    }

    /// Tells of streams and lines to whoever holds the other end.
    pub fn tell_to(&mut self, notices: NoticePort) {
        self.notices = notices;
    }

    /// Keeps the clock in step with the system's.
    pub fn recalibrate(&mut self) {
        self.clock.recalibrate();
    }

    /// Whether all that was accepted has left the staging.
    pub fn is_flushed(&self) -> bool {
        self.staged.iter().all(Vec::is_empty)
    }

    /// The end: drops the producers, so that the processors see their queues closed, and keeps the pool for the
    /// tickets that are still to come home. What is still staged, because the time to drain ran out with full queues, is
    /// shed: it has no other way to go.
    pub fn close(mut self) -> ClosedOutlet {
        Class::ALL.into_iter().for_each(|class| self.shed(class));
        debug_assert_eq!(self.held.len(), 0, "gaps are finished before");
        let pushed = std::array::from_fn(|class| QueueBook {
            pushed: self.producers[class].pushed(),
            ..QueueBook::default()
        });
        ClosedOutlet { pool: self.pool, events: self.events, pushed }
    }
}

/// An outlet whose queues are closed.
pub struct ClosedOutlet {
    pool: Pool,
    events: EventBook,
    /// What it had pushed, by class.
    pub pushed: [QueueBook; 3],
}

impl ClosedOutlet {
    /// The shard's events book, with what has not come home as in flight; shows the header of each event that has come
    /// home since. Call it when the processors have ended.
    pub fn settle(&mut self, seen: impl FnMut(&EventHeader)) -> EventBook {
        self.pool.reclaim_with(seen);
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
        let mut ticket = match self.pool.acquire(message.body.len()) {
            Some(ticket) => ticket,
            None => return Err(self.no_slot(message.body.len())),
        };
        let class = self.classes.class_of(accepted.protocol, message.kind);
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
            marks: accepted.marks.0,
            protocol: accepted.protocol as u8,
            class: class as u8,
            line: accepted.line,
            clock: accepted.clock as u8,
            session: accepted.session,
        };
        self.pool.write(&mut ticket, &header, message.body);
        self.events.accepted += 1;
        Ok((ticket, class))
    }

    /// Stages a ticket for the queue of its class.
    #[inline]
    fn stage(&mut self, ticket: Ticket, class: Class) {
        let staged = &mut self.staged[class as usize];
        staged.push(ticket);
        self.room[class as usize] = self.room[class as usize].saturating_sub(1);
        if staged.len() == STAGED_MAX {
            self.flush_full(class);
        }
    }
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
    fn has_room(&mut self, protocol: Protocol, kind: u16, body_bytes: usize) -> bool {
        let class = self.classes.class_of(protocol, kind);
        // What no slot ever holds is taken, and refused by name.
        self.room[class as usize] > 0
            && (self.pool.has_slot(body_bytes) || body_bytes > crate::limits::PAYLOAD_BYTES_MAX)
    }
}

impl EventOutlet {
    #[cold]
    #[inline(never)]
    fn no_slot(&mut self, payload_bytes: usize) -> MessageReject {
        if payload_bytes > crate::limits::PAYLOAD_BYTES_MAX {
            MessageReject::TooLarge
        } else {
            MessageReject::PoolExhausted
        }
    }

    /// One frame made more events than the staging holds: pushes them; what finds no place is shed even where the
    /// source can wait, since the frame can't be put back.
    #[cold]
    #[inline(never)]
    fn flush_full(&mut self, class: Class) {
        let publish_ns = self.clock.now();
        self.flush_class(class, publish_ns);
        if self.staged[class as usize].len() == STAGED_MAX {
            self.shed(class);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ClockKind, ShardId};
    use crate::pool::{PoolPlan, ReturnPort};
    use crate::queue::{QueueConsumer, queue};

    /// An outlet with so many slots, places in each queue and events held back; its pool's way home, and the consumers.
    fn outlet(slots: u32, places: usize, held_max: usize) -> (EventOutlet, ReturnPort, Vec<QueueConsumer>) {
        let plan = PoolPlan { slots: [slots, 1, 1, 1] };
        let (mut pool, _) = Pool::create(&plan, ShardId(0), &Pool::memory_wish(None)).expect("memory");
        let home = pool.attach();
        let (producers, consumers): (Vec<_>, Vec<_>) = Class::ALL
            .map(|class| queue(class, places, 1))
            .into_iter()
            .map(|(mut producers, consumer)| (producers.remove(0), consumer))
            .unzip();
        let producers = producers.try_into().ok().expect("three classes");
        let (classes, clock) = (ClassTable::default(), Clock::new());
        let parts = OutletParts { pool, classes, producers, held_max, clock, can_wait: true };
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
        outlet.begin_waiting(0);
        assert!(outlet.has_room(Protocol::IexTp, u16::from(b'T'), 1));
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
        let events = closed.settle(|_| ());
        let shed = events.shed[ShedReason::RealtimeQueueFull as usize];
        assert_eq!((events.accepted, shed, events.in_flight), (5, 3, 2));
        assert_eq!(closed.pushed[Class::Realtime as usize].pushed, 2);
        let mut tickets = Vec::new();
        assert_eq!(consumers[Class::Realtime as usize].pop_batch(9, &mut tickets), 2);
        home.give_back(&mut tickets);
        let mut home = Vec::new();
        assert_eq!(closed.settle(|header| home.push(header.sequence)).in_flight, 0);
        home.sort_unstable();
        assert_eq!(home, [1, 2], "what is processed after the end is seen, what was shed is not");
    }
}
