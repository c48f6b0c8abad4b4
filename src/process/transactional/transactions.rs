//! Hot path: the transactional processor: each event is handed to its handler once with success, or dies.
//!
//! Invariant: events of one key reach the handler in the order in which they came; an id is in the window if and only if
//! the handler took its event; and each event has one fate that is not `Parked`.

use super::chains::{Chains, Taken};
use super::dedup::DedupWindow;
use super::identity::{EventId, Identities};
use super::wheel::TimingWheel;
use super::{Handler, HandlerError, TransactionBook};
use crate::config::TransactionalSettings;
use crate::event::{DeadReason, Nanos};
use crate::process::{Fate, Subject};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// How exactly attempts are timed: finer than any back-off that is worth waiting for, coarser than a duty cycle.
const RESOLUTION_NS: Nanos = 1_000_000;

/// What came of showing an event to the handler.
enum Attempt {
    Taken,
    Refused,
    Failed,
    Panicked,
}

/// Processes events exactly once as far as can be told, and again after a while where the handler failed.
///
/// An event whose handler fails is parked: its owner keeps it by the place that [`Fate::Parked`] names, and shows it
/// again when [`Transactions::due`] names that place. Events of the same [`Subject::order_key`] that come meanwhile are
/// parked behind it without an attempt, and follow one by one, each as soon as the one in front has its fate. Where all
/// places are taken an event that would have to wait dies as [`DeadReason::RetryFull`]; none goes past another.
///
/// A copy of an event that is parked waits behind it, as its key is the same, and is judged when its turn comes: it is
/// deduplicated if the handler has taken an event with that id, and has attempts of its own if not. An id alone counts:
/// a producer that sends one under two topics has said the same event twice, and whichever is taken first is the one.
#[derive(Debug)]
pub struct Transactions<H> {
    handler: H,
    identities: Identities,
    window: DedupWindow,
    chains: Chains,
    wheel: TimingWheel,
    attempts_max: u8,
    retry_first_ns: Nanos,
    retry_max_ns: Nanos,
    book: TransactionBook,
    last_attempts: u8,
    // The bucket of chains from which on there may be events to be abandoned; `None` while the processor runs.
    abandoned_to: Option<usize>,
}

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

impl<H: Handler> Transactions<H> {
    /// A processor in front of `handler`, with all the memory that it will ever use.
    pub fn allocate(settings: &TransactionalSettings, handler: H) -> Transactions<H> {
        let window_ns = nanos(settings.dedup_window);
        let entries_max = if window_ns == 0 { 0 } else { settings.dedup_entries_max };
        Transactions {
            handler,
            identities: Identities::new(settings.dedup_v1),
            window: DedupWindow::allocate(entries_max, window_ns),
            chains: Chains::allocate(settings.parked_max),
            wheel: TimingWheel::allocate(settings.parked_max, RESOLUTION_NS),
            attempts_max: settings.attempts.max(1),
            retry_first_ns: nanos(settings.retry_first),
            retry_max_ns: nanos(settings.retry_max),
            book: TransactionBook::default(),
            last_attempts: 0,
            abandoned_to: None,
        }
    }

    /// Processes an event that came. With [`Fate::Parked`] its owner keeps it at that place, which is below
    /// [`TransactionalSettings::parked_max`] and nobody else's.
    #[inline]
    pub fn process(&mut self, subject: &Subject<'_>, now: Nanos) -> Fate {
        self.book.processed += 1;
        self.last_attempts = 0;
        let id = self.identities.of(subject);
        if self.is_copy(id.as_ref(), now) {
            return self.deduplicated();
        }
        // Nothing is parked nearly always, and then no key is looked for.
        if self.chains.len() > 0 && self.chains.has(subject.order_key()) {
            return self.park_behind(subject);
        }
        match self.attempt(subject, 0, now) {
            Attempt::Taken => self.delivered(id.as_ref(), now),
            Attempt::Failed if self.last_attempts < self.attempts_max => self.park(subject, now),
            failed => self.dead(failed),
        }
    }

    /// The place of a parked event that is to be shown again now, by [`Transactions::process_again`]. Each place is named
    /// once for each time that it is to be shown.
    #[inline]
    pub fn due(&mut self, now: Nanos) -> Option<u32> {
        let place = self.wheel.poll(now)?;
        self.chains.show(place);
        Some(place)
    }

    /// Processes a parked event again. With any fate but [`Fate::Parked`], which names the same place, its place is free.
    /// A place that [`Transactions::due`] has not named stays parked.
    pub fn process_again(&mut self, place: u32, subject: &Subject<'_>, now: Nanos) -> Fate {
        self.last_attempts = self.chains.attempts(place);
        if self.chains.take_back(place).is_none() {
            debug_assert!(false, "place {place} was not named by `due`");
            return Fate::Parked(place);
        }
        let id = self.identities.of(subject);
        let fate = if self.is_copy(id.as_ref(), now) {
            self.deduplicated()
        } else {
            match self.attempt(subject, self.last_attempts, now) {
                Attempt::Taken => self.delivered(id.as_ref(), now),
                Attempt::Failed if self.last_attempts < self.attempts_max => {
                    self.chains.set_attempts(place, self.last_attempts);
                    self.wheel.insert(place, self.next_attempt_ns(now));
                    return Fate::Parked(place);
                }
                failed => self.dead(failed),
            }
        };
        if let Some(next) = self.chains.remove_first(place) {
            self.wheel.insert(next, 0);
        }
        fate
    }

    /// At shutdown, behind the last event: the place of an event that is still parked, which dies as
    /// [`DeadReason::Stopped`]; `None` when there are no more. Those of one key come in their order.
    pub fn abandon(&mut self) -> Option<u32> {
        if self.abandoned_to.is_none() {
            self.wheel.clear();
        }
        let found = self.chains.any_from(self.abandoned_to.unwrap_or(0));
        self.abandoned_to = found.map(|(_, bucket)| bucket);
        let (place, _) = found?;
        self.last_attempts = self.chains.attempts(place);
        self.chains.remove_first(place);
        self.book.stopped += 1;
        Some(place)
    }

    /// The most events that can be parked at a time.
    pub fn parked_max(&self) -> usize {
        self.chains.places_max()
    }

    /// Events that are parked.
    pub fn parked(&self) -> usize {
        self.chains.len()
    }

    /// Attempts that were made of the event that is parked at this place: none of one that waits behind others.
    pub fn attempts(&self, place: u32) -> u8 {
        self.chains.attempts(place)
    }

    /// Attempts that were made of the event that had its fate last, by whichever method.
    pub fn last_attempts(&self) -> u8 {
        self.last_attempts
    }

    /// Forgets ids whose time is over: for each turn of the processor's loop. It takes bounded time.
    #[inline]
    pub fn turn(&mut self, now: Nanos) {
        self.window.turn(now);
    }

    /// What was counted until now.
    pub fn book(&self) -> TransactionBook {
        TransactionBook {
            parked: self.chains.len() as u64,
            parked_high_water: self.chains.high_water() as u64,
            window_entries: self.window.len() as u64,
            ids_expired: self.window.expired(),
            ids_evicted_early: self.window.evicted_early(),
            ..self.book
        }
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// The handler, for what its owner does with it beside events.
    pub fn handler_mut(&mut self) -> &mut H {
        &mut self.handler
    }

    #[inline]
    fn is_copy(&self, id: Option<&EventId>, now: Nanos) -> bool {
        id.is_some_and(|id| self.window.contains(id, now))
    }

    #[inline]
    fn attempt(&mut self, subject: &Subject<'_>, attempts: u8, now: Nanos) -> Attempt {
        self.book.attempts += 1;
        self.book.retried += u64::from(attempts > 0);
        self.last_attempts = attempts.saturating_add(1);
        // Unwind safety: nothing but the handler is under way, and what state it is in is its own affair, as its trait
        // says.
        match catch_unwind(AssertUnwindSafe(|| self.handler.handle(subject, now))) {
            Ok(Ok(())) => Attempt::Taken,
            Ok(Err(HandlerError::Refused)) => Attempt::Refused,
            Ok(Err(HandlerError::Failed)) => Attempt::Failed,
            Err(payload) => {
                drop_quietly(payload);
                Attempt::Panicked
            }
        }
    }

    #[inline]
    fn delivered(&mut self, id: Option<&EventId>, now: Nanos) -> Fate {
        if let Some(id) = id {
            self.window.insert(id, now);
        }
        self.book.delivered += 1;
        self.book.succeeded_after_retry += u64::from(self.last_attempts > 1);
        Fate::Delivered
    }

    #[inline]
    fn deduplicated(&mut self) -> Fate {
        self.book.deduplicated += 1;
        Fate::Deduplicated
    }

    /// The end of an event that the handler did not take.
    #[cold]
    #[inline(never)]
    fn dead(&mut self, attempt: Attempt) -> Fate {
        let (count, reason) = match attempt {
            Attempt::Refused => (&mut self.book.refused, DeadReason::HandlerFailed),
            Attempt::Panicked => (&mut self.book.panicked, DeadReason::HandlerPanicked),
            Attempt::Failed | Attempt::Taken => (&mut self.book.failed, DeadReason::HandlerFailed),
        };
        *count += 1;
        Fate::Dead(reason)
    }

    /// Parks an event that the handler failed on.
    #[cold]
    #[inline(never)]
    fn park(&mut self, subject: &Subject<'_>, now: Nanos) -> Fate {
        let parked = self.take_place(subject);
        if let Fate::Parked(place) = parked {
            self.wheel.insert(place, self.next_attempt_ns(now));
        }
        parked
    }

    /// Parks an event behind others of its key.
    #[cold]
    #[inline(never)]
    fn park_behind(&mut self, subject: &Subject<'_>) -> Fate {
        self.take_place(subject)
    }

    fn take_place(&mut self, subject: &Subject<'_>) -> Fate {
        match self.chains.append(subject.order_key(), self.last_attempts) {
            Some(Taken { place, .. }) => Fate::Parked(place),
            None => {
                self.book.retry_full += 1;
                Fate::Dead(DeadReason::RetryFull)
            }
        }
    }

    /// When the event that was just tried is tried again: the delay doubles from attempt to attempt.
    fn next_attempt_ns(&self, now: Nanos) -> Nanos {
        let doublings = u32::from(self.last_attempts).saturating_sub(1);
        let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
        let delay = self.retry_first_ns.saturating_mul(factor).min(self.retry_max_ns);
        now.saturating_add(delay)
    }
}

/// Frees what a panic carried; a second panic from there would end the process' thread, so what that carries stays.
#[cold]
#[inline(never)]
fn drop_quietly(payload: Box<dyn std::any::Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
}
