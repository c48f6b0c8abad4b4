//! Hot path: what happens when a queue or the pool is full, or the pressure keeps a class out.
//!
//! Invariant: while an event of a less urgent class waits on this side of its queue, no realtime event is given up; within
//! a lane events are given up and taken in without changing the order of those that stay.

use super::outlet::{EventOutlet, key_of};
use crate::control::actions;
use crate::event::{Class, DeadReason, MessageReject, Overflow, ShedReason};
use crate::limits::{PAYLOAD_BYTES_MAX, STAGED_MAX};
use crate::pool::{EventRef, Ticket};
use crate::process::conflation_key;
use crate::sink::dead_letters::Reason;

/// Events of less urgent classes that are given up at most for one slot: those that come first may hold small slots.
const EVICTIONS_MAX: usize = 64;

impl EventOutlet {
    /// What is staged for a lane finds no place in its ring: keeps it back as far as the lane has places, and treats the
    /// rest as its source's policy says.
    #[cold]
    #[inline(never)]
    pub(super) fn overflow(&mut self, class: Class, lane: usize) {
        let policy = self.overflow[class as usize];
        let max = self.lanes.keepable(class);
        let ends = &mut self.lanes.of_mut(class)[lane];
        let reader = &self.reader;
        let key_of_ticket = |ticket: &Ticket| match policy {
            Overflow::Conflate => conflation_key_of(reader, ticket),
            _ => 0,
        };
        ends.producer.keep_back(&mut ends.staged, max, key_of_ticket);
        if ends.staged.is_empty() || policy == Overflow::Block {
            return;
        }
        let mut rest = std::mem::take(&mut ends.staged);
        rest.drain(..).for_each(|ticket| self.squeeze_in(ticket, class, lane, policy));
        self.lanes.of_mut(class)[lane].staged = rest;
    }

    /// Events that were lost for want of room: not those that the pressure kept out, which would hold itself up by them.
    pub fn dropped(&self) -> u64 {
        let full =
            [ShedReason::RealtimeQueueFull, ShedReason::TransactionalQueueFull, ShedReason::BatchQueueFull];
        let shed: u64 = full.iter().map(|reason| self.events.shed[*reason as usize]).sum();
        shed + self.events.dead_lettered.iter().sum::<u64>()
    }

    /// Finds a place for an event in a full lane, or gives it up.
    fn squeeze_in(&mut self, ticket: Ticket, class: Class, lane: usize, policy: Overflow) {
        let key = match policy {
            Overflow::Conflate => conflation_key_of(&self.reader, &ticket),
            _ => 0,
        };
        if class == Class::Realtime
            && self.lanes.of(class)[lane].producer.has_place_beyond()
            && let Some(victim) = self.lanes.take_below(class)
        {
            self.bury(victim, DeadReason::Evicted);
            return self.lanes.of_mut(class)[lane].producer.push_beyond(ticket, key);
        }
        self.check_none_below(class);
        let producer = &mut self.lanes.of_mut(class)[lane].producer;
        let (victim, reason) = match policy {
            Overflow::DropNewest => (None, DeadReason::DroppedOldest),
            Overflow::DropOldest | Overflow::Block => (producer.take_oldest(), DeadReason::DroppedOldest),
            Overflow::Conflate => match producer.take_key(key) {
                Some(victim) => (Some(victim), DeadReason::Conflated),
                None => (producer.take_oldest(), DeadReason::DroppedOldest),
            },
        };
        match victim {
            Some(victim) => {
                producer.push_beyond(ticket, key);
                self.bury(victim, reason);
            }
            None => self.shed(ticket, queue_full(class)),
        }
    }

    /// No slot is free for an event: takes one from those that wait in less urgent classes, and in its own where its
    /// source can't wait.
    ///
    /// # Errors
    /// Nobody had one to give.
    #[cold]
    #[inline(never)]
    pub(super) fn slot_of_another(
        &mut self,
        class: Class,
        payload_bytes: usize,
    ) -> Result<Ticket, MessageReject> {
        if payload_bytes > PAYLOAD_BYTES_MAX {
            return Err(MessageReject::TooLarge);
        }
        // What is staged holds slots, too, and can be taken back only behind the ring.
        self.flush();
        for _ in 0..EVICTIONS_MAX {
            let (victim, reason) = match self.lanes.take_below(class) {
                Some(victim) => (victim, DeadReason::Evicted),
                None => match self.oldest_of(class) {
                    Some(victim) => (victim, DeadReason::DroppedOldest),
                    None => {
                        self.check_none_below(class);
                        break;
                    }
                },
            };
            self.bury(victim, reason);
            if let Some(ticket) = self.pool.acquire(payload_bytes) {
                return Ok(ticket);
            }
        }
        Err(MessageReject::PoolExhausted)
    }

    /// A realtime event is about to be lost: nothing less urgent may be kept back. Builds without debug assertions take it
    /// for granted.
    fn check_none_below(&self, class: Class) {
        debug_assert!(
            class != Class::Realtime || self.lanes.kept_back_below(class) == 0,
            "a realtime event is lost while {} less urgent ones are kept back",
            self.lanes.kept_back_below(class)
        );
    }

    /// The oldest event of a class, where its policy gives that up for a newer one.
    fn oldest_of(&mut self, class: Class) -> Option<Ticket> {
        if !matches!(self.overflow[class as usize], Overflow::DropOldest | Overflow::Conflate) {
            return None;
        }
        let lanes = self.lanes.of_mut(class).iter_mut();
        lanes.max_by_key(|lane| lane.producer.kept_back())?.producer.take_oldest()
    }

    /// Whether the pressure keeps a class out.
    #[cold]
    #[inline(never)]
    pub(super) fn is_kept_out(&self, class: Class) -> bool {
        match class {
            Class::Realtime => false,
            Class::Transactional => actions(self.level).shed_transactional,
            Class::Batch => actions(self.level).shed_batch,
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn shed_for_pressure(&mut self, ticket: Ticket, class: Class) {
        let reason = match class {
            Class::Transactional => ShedReason::PressureTransactional,
            _ => ShedReason::PressureBatch,
        };
        self.shed(ticket, reason);
    }

    /// Gives up an event that was not queued.
    pub(super) fn shed(&mut self, ticket: Ticket, reason: ShedReason) {
        self.events.shed[reason as usize] += 1;
        self.end(ticket, reason.into());
    }

    /// Gives up an event that was queued.
    pub(super) fn bury(&mut self, ticket: Ticket, reason: DeadReason) {
        self.events.dead_lettered[reason as usize] += 1;
        self.end(ticket, reason.into());
    }

    fn end(&mut self, ticket: Ticket, reason: Reason) {
        let EventRef { header, payload } = self.reader.event(&ticket);
        self.letters.write(reason, header, payload, ticket.owner(), 0, self.receive_ns);
        if header.session > 0 {
            self.gone.push((header.session, header.sequence));
        }
        self.pool.release(ticket);
    }

    /// One frame made more events than the staging holds: pushes them; what finds no place is shed even where the
    /// source can wait, since the frame can't be put back.
    #[cold]
    #[inline(never)]
    pub(super) fn flush_full(&mut self, class: Class, lane: usize) {
        self.flush();
        if self.lanes.of(class)[lane].staged.len() == STAGED_MAX {
            self.check_none_below(class);
            self.shed_staged(class, lane);
        }
    }

    fn shed_staged(&mut self, class: Class, lane: usize) {
        let mut rest = std::mem::take(&mut self.lanes.of_mut(class)[lane].staged);
        rest.drain(..).for_each(|ticket| self.shed(ticket, queue_full(class)));
        self.lanes.of_mut(class)[lane].staged = rest;
    }

    /// Gives up what waits on this side of a class' queue.
    pub(super) fn give_up(&mut self, class: Class) {
        for lane in 0..self.lanes.of(class).len() {
            self.shed_staged(class, lane);
            while let Some(ticket) = self.lanes.of_mut(class)[lane].producer.take_oldest() {
                self.bury(ticket, DeadReason::Stopped);
            }
        }
    }
}

fn queue_full(class: Class) -> ShedReason {
    match class {
        Class::Realtime => ShedReason::RealtimeQueueFull,
        Class::Transactional => ShedReason::TransactionalQueueFull,
        Class::Batch => ShedReason::BatchQueueFull,
    }
}

fn conflation_key_of(reader: &crate::pool::SlotReader, ticket: &Ticket) -> u64 {
    let event = reader.event(ticket);
    let protocol = crate::event::Protocol::from_u8(event.header.protocol);
    match protocol {
        Some(protocol) => conflation_key(protocol, event.header.kind, event.header.stream, event.payload),
        None => key_of(event.header, event.payload),
    }
}
