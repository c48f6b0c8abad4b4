//! Hot path: what the appliance does with the events of each class: rules, transactions, windows.
//!
//! Invariant: an event is counted by stream and type when it is delivered, and only then.

use super::alerts::AlertPort;
use super::partition::Processor;
use super::rule_mailbox::RuleInbox;
use super::tally::Tally;
use super::tap::{TapPort, TapReader};
use super::window_way::WindowPort;
use crate::event::Nanos;
use crate::process::rules::Engine;
use crate::process::windows::WindowEngine;
use crate::process::{Accepting, Fate, Subject, Transactions};

/// Alert rules, with their ways in and out.
pub struct RuleStage {
    /// The rules.
    pub engine: Engine,
    /// Where new ones come from.
    pub inbox: RuleInbox,
    /// Where alerts go.
    pub alerts: AlertPort,
}

/// Windows, with their ways in and out.
pub struct WindowStage {
    /// The windows.
    pub engine: WindowEngine,
    /// Where closed ones go.
    pub port: WindowPort,
    /// Copies of realtime events, for one of the batch processors.
    pub tap: Option<TapReader>,
}

impl WindowStage {
    /// Adds up what was copied since. Returns how many copies.
    #[inline]
    fn take_copies(&mut self) -> usize {
        let WindowStage { engine, port, tap } = self;
        let Some(tap) = tap else { return 0 };
        tap.drain(|subject, now| {
            // A copy has no fate: where it came too late, its windows have counted that.
            engine.process(subject, now, &mut |window| port.tell(window));
        })
    }
}

/// What is done with the events of a class.
pub enum Work {
    /// Realtime: alert rules.
    Realtime {
        /// The rules, where there are any.
        rules: Option<Box<RuleStage>>,
        /// Copies for windows.
        tap: Option<TapPort>,
    },
    /// Transactional: each once, by a handler.
    Transactional(Box<Transactions<Accepting>>),
    /// Batch: windows.
    Batch(Box<WindowStage>),
}

/// The processor of a partition.
pub struct Stage {
    tally: Tally,
    work: Work,
}

impl Stage {
    /// Puts it together.
    pub fn new(tally: Tally, work: Work) -> Stage {
        Stage { tally, work }
    }

    /// What was delivered, by stream and type.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What it did.
    pub fn into_work(self) -> Work {
        self.work
    }
}

impl Processor for Stage {
    #[inline]
    fn process(&mut self, subject: &Subject<'_>, now: Nanos) -> Fate {
        let fate = match &mut self.work {
            Work::Realtime { rules, tap } => {
                if let Some(RuleStage { engine, alerts, .. }) = rules.as_deref_mut() {
                    engine.evaluate(subject, now, &mut |alert| alerts.tell(alert));
                }
                if let Some(tap) = tap {
                    tap.copy(subject, now);
                }
                Fate::Delivered
            }
            Work::Transactional(transactions) => transactions.process(subject, now),
            Work::Batch(windows) => {
                let WindowStage { engine, port, .. } = &mut **windows;
                engine.process(subject, now, &mut |window| port.tell(window))
            }
        };
        if fate == Fate::Delivered {
            self.tally.count(subject);
        }
        fate
    }

    fn parked_max(&self) -> usize {
        match &self.work {
            Work::Transactional(transactions) => transactions.parked_max(),
            _ => 0,
        }
    }

    fn due(&mut self, now: Nanos) -> Option<u32> {
        match &mut self.work {
            Work::Transactional(transactions) => transactions.due(now),
            _ => None,
        }
    }

    fn process_again(&mut self, place: u32, subject: &Subject<'_>, now: Nanos) -> Fate {
        let fate = match &mut self.work {
            Work::Transactional(transactions) => transactions.process_again(place, subject, now),
            _ => Fate::Delivered,
        };
        if fate == Fate::Delivered {
            self.tally.count(subject);
        }
        fate
    }

    fn abandon(&mut self) -> Option<u32> {
        match &mut self.work {
            Work::Transactional(transactions) => transactions.abandon(),
            _ => None,
        }
    }

    fn attempts(&self) -> u8 {
        match &self.work {
            Work::Transactional(transactions) => transactions.last_attempts(),
            _ => 1,
        }
    }

    #[inline]
    fn turn(&mut self) -> usize {
        match &mut self.work {
            Work::Batch(windows) => windows.take_copies(),
            _ => 0,
        }
    }

    fn housekeeping(&mut self, now: Nanos) {
        match &mut self.work {
            Work::Realtime { rules: Some(rules), .. } => {
                rules.inbox.take(&mut rules.engine);
            }
            Work::Realtime { .. } => {}
            Work::Transactional(transactions) => transactions.turn(now),
            Work::Batch(windows) => {
                let WindowStage { engine, port, .. } = &mut **windows;
                engine.turn(now, &mut |window| port.tell(window));
            }
        }
    }

    fn is_done(&self) -> bool {
        match &self.work {
            Work::Batch(windows) => windows.tap.as_ref().is_none_or(TapReader::is_closed),
            _ => true,
        }
    }

    fn finish(&mut self, _now: Nanos) {
        match &mut self.work {
            Work::Realtime { tap: Some(tap), .. } => tap.close(),
            Work::Batch(windows) => {
                while windows.take_copies() > 0 {}
                let WindowStage { engine, port, .. } = &mut **windows;
                engine.finish(&mut |window| port.tell(window));
            }
            _ => {}
        }
    }
}
