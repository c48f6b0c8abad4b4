//! The kill switch: a knob that rules, people and the configuration set, and the record of who did, when and why.
//!
//! Invariant: agents may set the knob at any time, but only this takes it back; so no transition escapes the record.

use crate::event::Nanos;
use crate::ledger::{KilledBy, Knobs};
use crate::limits::KILL_RECORDS_MAX;

/// The kill switch was set, or taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KillRecord {
    /// When, ns of the monotonic clock.
    pub at_ns: Nanos,
    /// Whether it was set.
    pub is_set: bool,
    /// Who did it.
    pub by: KilledBy,
    /// Why, for a person.
    pub why: String,
}

/// The switch and its record.
#[derive(Debug)]
pub struct KillSwitch {
    knobs: Knobs,
    /// As the last record has it.
    is_set: bool,
    changed_ns: Nanos,
    records: Vec<KillRecord>,
    not_kept: u64,
}

impl KillSwitch {
    /// The switch of these knobs, with an empty record.
    pub fn new(knobs: Knobs) -> KillSwitch {
        KillSwitch { knobs, is_set: false, changed_ns: 0, records: Vec::new(), not_kept: 0 }
    }

    /// Sets it; `None` if it was set already.
    pub fn set(&mut self, by: KilledBy, why: &str, now: Nanos) -> Option<KillRecord> {
        // An agent may be first, and is recorded by the next look.
        let is_mine = self.knobs.kill(by, now);
        is_mine.then(|| self.record(true, by, why.to_owned(), now))
    }

    /// Takes it back; `None` if it was not set. Look first ([`KillSwitch::look`]), so that who set it is on record.
    pub fn clear(&mut self, by: KilledBy, why: &str, now: Nanos) -> Option<KillRecord> {
        let was_set = self.is_set && self.knobs.revive();
        was_set.then(|| self.record(false, by, why.to_owned(), now))
    }

    /// Records what agents have done to the knob since the last look.
    pub fn look(&mut self, now: Nanos) -> Option<KillRecord> {
        let killed = self.knobs.killed();
        if killed.is_some() == self.is_set {
            return None;
        }
        let Some(kill) = killed else {
            return Some(self.record(false, KilledBy::Program, why(KilledBy::Program), now));
        };
        // A time from before the last change is an older kill's: this one's comes in an instant, and was just now.
        let is_known = (self.changed_ns..=now).contains(&kill.at_ns) && kill.at_ns > 0;
        let at_ns = if is_known { kill.at_ns } else { now };
        Some(self.record(true, kill.by, why(kill.by), at_ns))
    }

    /// Whether it is set, as far as it is on record.
    pub fn is_set(&self) -> bool {
        self.is_set
    }

    /// The first [`KILL_RECORDS_MAX`] records.
    pub fn records(&self) -> &[KillRecord] {
        &self.records
    }

    /// Records that are not kept, for want of room.
    pub fn not_kept(&self) -> u64 {
        self.not_kept
    }

    fn record(&mut self, is_set: bool, by: KilledBy, why: String, at_ns: Nanos) -> KillRecord {
        (self.is_set, self.changed_ns) = (is_set, at_ns);
        let record = KillRecord { at_ns, is_set, by, why };
        match self.records.len() < KILL_RECORDS_MAX {
            true => self.records.push(record.clone()),
            false => self.not_kept += 1,
        }
        record
    }
}

fn why(by: KilledBy) -> String {
    match by {
        KilledBy::Rule(rule) => format!("rule {rule}"),
        KilledBy::Signal => "a signal".to_owned(),
        KilledBy::Config => "the configuration".to_owned(),
        KilledBy::Program => "a part of the program".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transition_is_on_record() {
        let knobs = Knobs::default();
        let mut switch = KillSwitch::new(knobs.clone());
        assert_eq!((switch.look(1), switch.clear(KilledBy::Signal, "SIGUSR2", 2)), (None, None));
        // By a rule, on the hot path; noticed later, and on record as of then.
        assert!(knobs.kill(KilledBy::Rule(7), 10));
        let told = switch.look(15).expect("noticed");
        assert_eq!(
            (told.at_ns, told.is_set, told.by, told.why.as_str()),
            (10, true, KilledBy::Rule(7), "rule 7")
        );
        assert_eq!(switch.look(16), None, "told once");
        assert_eq!(switch.set(KilledBy::Signal, "SIGUSR1", 17), None, "set already");
        let told = switch.clear(KilledBy::Signal, "SIGUSR2", 20).expect("was set");
        assert_eq!((told.at_ns, told.is_set, told.why.as_str()), (20, false, "SIGUSR2"));
        assert!(!knobs.is_killed() && !switch.is_set());
        let told = switch.set(KilledBy::Signal, "SIGUSR1", 30).expect("was not set");
        assert!(told.is_set && knobs.is_killed() && switch.is_set());
        assert_eq!(switch.look(31), None, "on record already");
        let order: Vec<_> = switch.records().iter().map(|record| (record.at_ns, record.is_set)).collect();
        assert_eq!((order, switch.not_kept()), (vec![(10, true), (20, false), (30, true)], 0));
    }

    #[test]
    fn a_kill_that_nobody_looked_at_is_not_cleared_unseen() {
        let knobs = Knobs::default();
        let mut switch = KillSwitch::new(knobs.clone());
        knobs.kill(KilledBy::Rule(1), 5);
        assert_eq!(switch.clear(KilledBy::Signal, "SIGUSR2", 6), None);
        assert!(knobs.is_killed());
        assert!(switch.look(7).is_some() && switch.clear(KilledBy::Signal, "SIGUSR2", 8).is_some());
    }

    #[test]
    fn a_time_that_is_not_there_yet_is_now() {
        let knobs = Knobs::default();
        let mut switch = KillSwitch::new(knobs.clone());
        knobs.kill(KilledBy::Rule(1), 0);
        assert_eq!(switch.look(9).expect("set").at_ns, 9);
        switch.clear(KilledBy::Signal, "SIGUSR2", 20);
        knobs.kill(KilledBy::Rule(1), 19);
        assert_eq!(switch.look(25).expect("set").at_ns, 25, "before it was cleared");
    }

    #[test]
    fn the_record_is_bounded() {
        let mut switch = KillSwitch::new(Knobs::default());
        for turn in 0..KILL_RECORDS_MAX as u64 {
            assert!(switch.set(KilledBy::Program, "a test", 2 * turn).is_some());
            assert!(switch.clear(KilledBy::Program, "a test", 2 * turn + 1).is_some());
        }
        assert_eq!(switch.records().len(), KILL_RECORDS_MAX);
        assert_eq!(switch.not_kept(), KILL_RECORDS_MAX as u64);
    }
}
