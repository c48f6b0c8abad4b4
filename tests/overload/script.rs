//! A processor that does what a seeded script says: delivers, parks, refuses, or panics; and writes down what it delivered.
//!
//! Invariant: what is written down is in the order in which it was shown; second attempts are written down apart, since they
//! come later than what came behind them.

use crate::storm::Dice;
use sluice::agents::Processor;
use sluice::event::{Class, DeadReason, Nanos};
use sluice::process::{Fate, Subject, order_key};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};

/// Events that one processor may park.
const PARKED_MAX: usize = 8;

/// What a panic of the script says, by which its message is told from a real one's.
const ON_PURPOSE: &str = "the script panics on purpose";

/// An event, told from all others by its frame's number and its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) class: Class,
    pub(crate) stream: u32,
    pub(crate) key: u64,
    pub(crate) frame: u64,
    pub(crate) payload: u64,
}

impl Shown {
    fn of(subject: &Subject<'_>) -> Shown {
        let mut hasher = DefaultHasher::new();
        subject.payload.hash(&mut hasher);
        Shown {
            class: subject.class(),
            stream: subject.header.stream,
            key: order_key(subject.protocol(), subject.header.stream, subject.payload),
            frame: subject.header.wire_ns,
            payload: hasher.finish(),
        }
    }
}

/// What all processors of a run did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// Delivered at the first attempt, in order.
    pub(crate) delivered: Vec<Shown>,
    /// Delivered at a later one.
    pub(crate) delivered_later: u64,
    /// Those that were shown when a panic came.
    pub(crate) panicked: u64,
    /// Refused for good.
    pub(crate) refused: u64,
    /// Parked without a place for it.
    pub(crate) without_place: u64,
    /// Given up at the end.
    pub(crate) abandoned: u64,
}

pub(crate) type SharedLog = Arc<Mutex<Log>>;

/// How often things go wrong: once in so many events; 0 for never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trouble {
    pub(crate) panics: u64,
    pub(crate) refuses: u64,
    pub(crate) parks: u64,
}

/// The processor.
pub(crate) struct Scripted {
    dice: Dice,
    trouble: Trouble,
    free: Vec<u32>,
    parked: Vec<(u32, u8)>,
    attempts: u8,
    log: SharedLog,
}

impl Scripted {
    pub(crate) fn new(seed: u64, trouble: Trouble, log: SharedLog) -> Scripted {
        let free = (0..PARKED_MAX as u32).collect();
        Scripted { dice: Dice(seed), trouble, free, parked: Vec::new(), attempts: 1, log }
    }

    fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        self.log.lock().expect("no panic holds it")
    }
}

impl Processor for Scripted {
    fn process(&mut self, subject: &Subject<'_>, _now: Nanos) -> Fate {
        self.attempts = 1;
        if self.dice.one_in(self.trouble.panics) {
            self.log().panicked += 1;
            std::panic::panic_any(ON_PURPOSE.to_owned());
        }
        if self.dice.one_in(self.trouble.refuses) {
            self.log().refused += 1;
            return Fate::Dead(DeadReason::HandlerFailed);
        }
        if self.dice.one_in(self.trouble.parks) {
            return match self.free.pop() {
                Some(place) => {
                    self.parked.push((place, 1));
                    Fate::Parked(place)
                }
                None => {
                    self.log().without_place += 1;
                    Fate::Parked(PARKED_MAX as u32)
                }
            };
        }
        self.log().delivered.push(Shown::of(subject));
        Fate::Delivered
    }

    fn parked_max(&self) -> usize {
        PARKED_MAX
    }

    fn due(&mut self, _now: Nanos) -> Option<u32> {
        let at = (!self.parked.is_empty() && self.dice.one_in(3)).then_some(0)?;
        let (place, attempts) = self.parked.remove(at);
        self.attempts = attempts + 1;
        Some(place)
    }

    fn process_again(&mut self, place: u32, _subject: &Subject<'_>, _now: Nanos) -> Fate {
        if self.attempts < 3 && self.dice.one_in(2) {
            self.parked.push((place, self.attempts));
            return Fate::Parked(place);
        }
        self.free.push(place);
        if self.dice.one_in(4) {
            self.log().refused += 1;
            return Fate::Dead(DeadReason::HandlerFailed);
        }
        self.log().delivered_later += 1;
        Fate::Delivered
    }

    fn abandon(&mut self) -> Option<u32> {
        let (place, attempts) = self.parked.pop()?;
        self.attempts = attempts;
        self.log().abandoned += 1;
        Some(place)
    }

    fn attempts(&self) -> u8 {
        self.attempts
    }
}

/// Keeps the panics of the script off the screen, and shows all others.
pub(crate) fn hush() {
    static HUSHED: std::sync::Once = std::sync::Once::new();
    HUSHED.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload().downcast_ref::<String>().is_none_or(|told| told != ON_PURPOSE) {
                others(panic);
            }
        }));
    });
}
