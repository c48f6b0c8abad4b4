//! Which of a session's events are under way: sent, and not acknowledged.
//!
//! Invariant: every number up to `next` is confirmed or in the window; a server's words that contradict that are
//! named and never believed.

use crate::event::Nanos;
use std::collections::VecDeque;

/// What a server said that can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contradiction {
    /// It acknowledged this number, and does not know it any more; it knows the second.
    Forgotten(u64, u64),
    /// It has this number, which was never sent; the second was the last.
    NeverSent(u64, u64),
}

/// The numbers of one producer's session, across its connections.
#[derive(Debug)]
pub(super) struct Window {
    capacity: usize,
    /// Number of this sender's first event, once the first welcome told it.
    first: Option<u64>,
    confirmed: u64,
    /// When each event behind `confirmed` was due.
    intended: VecDeque<Nanos>,
}

impl Window {
    pub(super) fn new(capacity: usize) -> Window {
        Window { capacity: capacity.max(1), first: None, confirmed: 0, intended: VecDeque::new() }
    }

    /// A connection begins: the server has all up to `received`. The number that is to be sent first.
    pub(super) fn open(&mut self, received: u64) -> Result<u64, Contradiction> {
        if self.first.is_none() {
            self.first = Some(received + 1);
            self.confirmed = received;
        }
        if received < self.confirmed {
            return Err(Contradiction::Forgotten(self.confirmed, received));
        }
        if received > self.last() {
            return Err(Contradiction::NeverSent(received, self.last()));
        }
        Ok(received + 1)
    }

    /// All up to `sequence` are acknowledged. Tells when each that was not before had been due, oldest first, and how
    /// many there were.
    pub(super) fn confirm(
        &mut self,
        sequence: u64,
        mut each: impl FnMut(Nanos),
    ) -> Result<u64, Contradiction> {
        if sequence > self.last() {
            return Err(Contradiction::NeverSent(sequence, self.last()));
        }
        let newly = sequence.saturating_sub(self.confirmed);
        self.intended.drain(..newly as usize).for_each(&mut each);
        self.confirmed += newly;
        Ok(newly)
    }

    /// A further event, due at `intended_ns`: its number, or `None` while the window is full or no welcome came.
    pub(super) fn push(&mut self, intended_ns: Nanos) -> Option<u64> {
        if self.is_full() || self.first.is_none() {
            return None;
        }
        self.intended.push_back(intended_ns);
        Some(self.last())
    }

    /// When an event that is under way was due.
    pub(super) fn intended_ns(&self, sequence: u64) -> Option<Nanos> {
        let place = sequence.checked_sub(self.confirmed + 1)?;
        self.intended.get(usize::try_from(place).ok()?).copied()
    }

    pub(super) fn is_full(&self) -> bool {
        self.intended.len() >= self.capacity
    }

    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.intended.is_empty()
    }

    /// The number of this sender's first event; of the next one, if there was none yet; 1 before any welcome.
    pub(super) fn first(&self) -> u64 {
        self.first.unwrap_or(1)
    }

    /// The last number that was given to an event.
    pub(super) fn last(&self) -> u64 {
        self.confirmed + self.intended.len() as u64
    }

    /// All up to here is acknowledged.
    pub(super) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Events of this sender that got a number.
    pub(super) fn sent(&self) -> u64 {
        self.last() + 1 - self.first.unwrap_or(self.last() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_fresh_sender_goes_on_where_the_producer_stood() {
        let mut window = Window::new(2);
        assert_eq!((window.push(1), window.sent(), window.first()), (None, 0, 1));
        assert_eq!(window.open(41), Ok(42));
        assert_eq!((window.sent(), window.confirmed()), (0, 41));
        assert_eq!((window.push(100), window.push(200), window.push(300)), (Some(42), Some(43), None));
        assert_eq!((window.intended_ns(41), window.intended_ns(43)), (None, Some(200)));
        let mut due = Vec::new();
        assert_eq!(window.confirm(42, |ns| due.push(ns)), Ok(1));
        assert_eq!(window.confirm(42, |ns| due.push(ns)), Ok(0));
        assert_eq!((due, window.push(300), window.sent()), (vec![100], Some(44), 3));
    }

    #[test]
    fn a_later_connection_goes_on_behind_what_the_server_has() {
        let mut window = Window::new(8);
        window.open(0).expect("the first");
        (0..5).for_each(|ns| assert!(window.push(ns).is_some()));
        window.confirm(2, |_| {}).expect("was sent");
        assert_eq!(window.open(4), Ok(5));
        assert_eq!(window.open(2), Ok(3));
        assert_eq!(window.open(1), Err(Contradiction::Forgotten(2, 1)));
        assert_eq!(window.open(6), Err(Contradiction::NeverSent(6, 5)));
        assert_eq!(window.confirm(6, |_| {}), Err(Contradiction::NeverSent(6, 5)));
        assert_eq!(window.confirm(1, |_| {}), Ok(0), "an old word says nothing new");
    }

    proptest! {
        #[test]
        fn each_event_is_confirmed_once(
            base in 0u64..1_000, steps in prop::collection::vec((any::<bool>(), 0u64..30), 0..200),
        ) {
            let mut window = Window::new(16);
            window.open(base).expect("the first");
            let mut confirmed = 0;
            for (push, number) in steps {
                if push {
                    let full = window.is_full();
                    prop_assert_eq!(window.push(number).is_none(), full);
                } else {
                    let to = (window.confirmed() + number).min(window.last());
                    confirmed += window.confirm(to, |_| {}).expect("was sent");
                }
                prop_assert_eq!(window.sent(), window.last() - base);
                prop_assert_eq!(window.confirmed(), base + confirmed);
            }
        }
    }
}
