//! Packets under way on slow lines: a heap by the time at which they arrive.
//!
//! Invariant: it holds at most a fixed number of bytes; what finds no room lets the earliest packet arrive early.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::line::Outgoing;
use crate::event::Nanos;

/// A packet, and when it arrives. Packets that arrive at the same time do so in the order of their departure.
struct Travelling {
    due_ns: Nanos,
    departure: u64,
    outgoing: Outgoing,
}

impl Travelling {
    fn key(&self) -> (Nanos, u64) {
        (self.due_ns, self.departure)
    }
}

impl PartialEq for Travelling {
    fn eq(&self, other: &Travelling) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Travelling {}

impl PartialOrd for Travelling {
    fn partial_cmp(&self, other: &Travelling) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Travelling {
    fn cmp(&self, other: &Travelling) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// The packets under way.
#[derive(Default)]
pub(super) struct Delayed {
    heap: BinaryHeap<Reverse<Travelling>>,
    departures: u64,
    bytes: usize,
}

impl Delayed {
    /// A packet departs; it arrives at `due_ns`.
    pub(super) fn depart(&mut self, due_ns: Nanos, mut outgoing: Outgoing) {
        outgoing.held.time_ns = due_ns;
        self.bytes += outgoing.footprint();
        self.heap.push(Reverse(Travelling { due_ns, departure: self.departures, outgoing }));
        self.departures += 1;
    }

    /// The earliest packet, if it has arrived by `now`.
    pub(super) fn arrived(&mut self, now: Nanos) -> Option<Outgoing> {
        if self.heap.peek()?.0.due_ns > now {
            return None;
        }
        self.earliest()
    }

    /// The earliest packet, whenever it arrives.
    pub(super) fn earliest(&mut self) -> Option<Outgoing> {
        let Reverse(travelling) = self.heap.pop()?;
        self.bytes -= travelling.outgoing.footprint();
        Some(travelling.outgoing)
    }

    /// Memory that packets under way take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
