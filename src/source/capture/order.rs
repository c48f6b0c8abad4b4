//! A bounded heap that puts records in order of time.
//!
//! Invariant: it holds at most as many records as it was made for; a record that comes later than that many others
//! stays out of order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Record;
use crate::event::Nanos;
use crate::source::LinkType;

/// A record with bytes of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) time_ns: Nanos,
    pub(super) link: LinkType,
    pub(super) bytes: Vec<u8>,
}

/// Order of leaving: by time, then by arrival.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    time_ns: Nanos,
    arrival: u64,
}

/// A record waiting for its turn.
struct Waiting(Key, Held);

impl PartialEq for Waiting {
    fn eq(&self, other: &Waiting) -> bool {
        self.0 == other.0
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Waiting) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Waiting) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// The heap, and spare buffers for its records.
pub(super) struct Reorder {
    heap: BinaryHeap<Reverse<Waiting>>,
    records_max: usize,
    arrivals: u64,
    newest_ns: Nanos,
    spare: Vec<Vec<u8>>,
}

impl Reorder {
    /// A heap for this many records; with 0, records leave as they come.
    pub(super) fn new(records_max: usize) -> Reorder {
        Reorder { heap: BinaryHeap::new(), records_max, arrivals: 0, newest_ns: 0, spare: Vec::new() }
    }

    /// Whether records leave as they come.
    pub(super) fn is_off(&self) -> bool {
        self.records_max == 0
    }

    /// Takes a record in, and gives the earliest one if there is no room for it otherwise. A record without a time
    /// keeps its place behind the newest one.
    pub(super) fn exchange(&mut self, record: Record<'_>) -> Option<Held> {
        self.newest_ns = self.newest_ns.max(record.time_ns);
        let time_ns = if record.time_ns == 0 { self.newest_ns } else { record.time_ns };
        let held = self.hold(record);
        self.heap.push(Reverse(Waiting(Key { time_ns, arrival: self.arrivals }, held)));
        self.arrivals += 1;
        if self.heap.len() > self.records_max { self.pop() } else { None }
    }

    /// The earliest record.
    pub(super) fn pop(&mut self) -> Option<Held> {
        self.heap.pop().map(|Reverse(Waiting(_, held))| held)
    }

    /// A copy of a record.
    pub(super) fn hold(&mut self, record: Record<'_>) -> Held {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(record.bytes);
        Held { time_ns: record.time_ns, link: record.link, bytes }
    }

    /// Takes a record's buffer back.
    pub(super) fn recycle(&mut self, held: Held) {
        self.spare.push(held.bytes);
    }
}
