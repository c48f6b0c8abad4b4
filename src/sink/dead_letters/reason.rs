//! Why an event became a dead letter: the reasons of queued events and those of events that never were, in one space.
//!
//! Invariant: each reason has one code, below [`Reason::COUNT`], and one name that no other one has. Codes are of this
//! process only: files have names.

use crate::event::{DeadReason, ShedReason};
use std::str::FromStr;

/// Why an event was not processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It had been queued.
    Dead(DeadReason),
    /// It was given up before that.
    Shed(ShedReason),
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = DeadReason::COUNT + ShedReason::COUNT;

    /// All of them, in the order of their codes.
    pub fn all() -> impl Iterator<Item = Reason> {
        let dead = DeadReason::ALL.iter().copied().map(Reason::Dead);
        dead.chain(ShedReason::ALL.iter().copied().map(Reason::Shed))
    }

    /// Its code.
    #[inline]
    pub const fn code(self) -> u8 {
        match self {
            Reason::Dead(reason) => reason as u8,
            Reason::Shed(reason) => DeadReason::COUNT as u8 + reason as u8,
        }
    }

    /// The reason with this code, if there is one.
    pub fn from_code(code: u8) -> Option<Reason> {
        let code = usize::from(code);
        match DeadReason::ALL.get(code) {
            Some(reason) => Some(Reason::Dead(*reason)),
            None => ShedReason::ALL.get(code - DeadReason::COUNT).copied().map(Reason::Shed),
        }
    }

    /// Its name in reports, files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Dead(reason) => reason.name(),
            Reason::Shed(reason) => reason.name(),
        }
    }

    /// The side of the events book that counts it: `dead` or `shed`.
    pub const fn fate(self) -> &'static str {
        match self {
            Reason::Dead(_) => "dead",
            Reason::Shed(_) => "shed",
        }
    }
}

impl From<DeadReason> for Reason {
    fn from(reason: DeadReason) -> Reason {
        Reason::Dead(reason)
    }
}

impl From<ShedReason> for Reason {
    fn from(reason: ShedReason) -> Reason {
        Reason::Shed(reason)
    }
}

impl FromStr for Reason {
    type Err = String;

    fn from_str(name: &str) -> Result<Reason, String> {
        Reason::all().find(|reason| reason.name() == name).ok_or_else(|| {
            let known: Vec<&str> = Reason::all().map(Reason::name).collect();
            format!("unknown reason '{name}'; known: {}", known.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_distinct_and_found_again() {
        let all: Vec<Reason> = Reason::all().collect();
        assert_eq!(all.len(), Reason::COUNT);
        for (place, reason) in all.iter().enumerate() {
            assert_eq!(usize::from(reason.code()), place);
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
            // By name, so that two of one name would be found out.
            assert_eq!(reason.name().parse(), Ok(*reason));
        }
        assert_eq!(Reason::from_code(Reason::COUNT as u8), None);
        let error = "lost".parse::<Reason>().expect_err("is none");
        assert!(error.contains("evicted") && error.contains("pressure_batch"), "{error}");
    }
}
