//! Does to the records of captures what a bad network would have done to them.
//!
//! Invariant: a record that is taken in is handed back at once (lost), or comes out of `front` once per copy, by the
//! end of the pass at the latest.

use std::collections::{HashMap, VecDeque};

use super::super::order::Held;
use super::corrupt::corrupt;
use super::delay::Delayed;
use super::line::{Line, Outgoing};
use super::plan::FaultPlan;
use super::report::FaultReport;
use crate::event::{Destination, Nanos};
use crate::wire::link;

/// Lines that faults are counted for: those of the largest venues are some hundreds.
const LINES_MAX: usize = 4_096;

/// Memory for packets that are late: a tenth of a second at 5 Gb/s.
const LATE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The faults, and the packets that are late.
pub(in super::super) struct FaultInjector {
    plan: FaultPlan,
    lines: Vec<Line>,
    line_index: HashMap<Destination, usize>,
    /// How many lines got a letter by their order.
    lettered: usize,
    delayed: Delayed,
    held_back_bytes: usize,
    late_bytes_max: usize,
    /// What goes out next.
    ready: VecDeque<Outgoing>,
    /// The newest time of a record in this pass.
    newest_ns: Nanos,
    other_frames: u64,
    untracked_packets: u64,
    flushed: bool,
}

impl FaultInjector {
    /// Before the first record.
    pub(in super::super) fn new(plan: FaultPlan) -> FaultInjector {
        FaultInjector::with_memory(plan, LATE_BYTES_MAX)
    }

    /// Like `new`, with so much memory for packets that are late.
    pub(super) fn with_memory(plan: FaultPlan, late_bytes_max: usize) -> FaultInjector {
        FaultInjector {
            plan,
            lines: Vec::new(),
            line_index: HashMap::new(),
            lettered: 0,
            delayed: Delayed::default(),
            held_back_bytes: 0,
            late_bytes_max,
            ready: VecDeque::new(),
            newest_ns: 0,
            other_frames: 0,
            untracked_packets: 0,
            flushed: false,
        }
    }

    /// Takes a record of a capture that begins at `first_ns`; hands it back if it is lost.
    pub(in super::super) fn take(&mut self, held: Held, first_ns: Nanos) -> Option<Held> {
        self.newest_ns = self.newest_ns.max(held.time_ns);
        // A record without a time is of the time of the newest one.
        let now = if held.time_ns == 0 { self.newest_ns } else { held.time_ns };
        while let Some(arrived) = self.delayed.arrived(now) {
            self.ready.push_back(arrived);
        }
        let Ok(datagram) = link::parse(&held.bytes, held.link) else {
            self.other_frames += 1;
            self.ready.push_back(Outgoing::once(held, None));
            return None;
        };
        // The payload lies inside the frame: the distance is where it begins.
        let start = datagram.payload.as_ptr().addr() - held.bytes.as_ptr().addr();
        let payload = start..start + datagram.payload.len();
        let Some(line) = self.line_of(datagram.destination) else {
            self.untracked_packets += 1;
            self.ready.push_back(Outgoing::once(held, None));
            return None;
        };
        self.pass(line, held, payload, now, now.saturating_sub(first_ns))
    }

    /// The pass is over: whatever is late comes now.
    pub(in super::super) fn flush(&mut self) {
        for line in 0..self.lines.len() {
            self.let_go(line, self.newest_ns, true);
        }
        while let Some(arrived) = self.delayed.earliest() {
            self.ready.push_back(arrived);
        }
        self.newest_ns = 0;
        self.flushed = true;
    }

    /// Another pass begins.
    pub(in super::super) fn begin_again(&mut self) {
        self.flushed = false;
    }

    /// The record that goes out next.
    pub(in super::super) fn front(&self) -> Option<&Held> {
        self.ready.front().map(|outgoing| &outgoing.held)
    }

    /// Steps over the record that `front` showed; gives it back after its last copy.
    pub(in super::super) fn delivered(&mut self) -> Option<Held> {
        let outgoing = self.ready.front_mut()?;
        if let Some(line) = outgoing.line {
            let counts = &mut self.lines[line].counts;
            counts.delivered += 1;
            if outgoing.delivered {
                counts.duplicated += 1;
            } else {
                counts.waiting -= 1;
            }
        }
        outgoing.delivered = true;
        outgoing.copies -= 1;
        if outgoing.copies > 0 {
            return None;
        }
        self.ready.pop_front().map(|outgoing| outgoing.held)
    }

    /// What became of the packets so far.
    pub(in super::super) fn report(&self) -> FaultReport {
        let absent = self.plan.choices().filter(|choice| {
            !self.lines.iter().any(|line| choice.is_of(&line.counts.destination, line.letter))
        });
        let never_dead =
            self.lines.iter().filter(|line| !line.faults.dead.is_empty() && line.counts.dead == 0);
        FaultReport {
            seed: self.plan.seed,
            lines: self.lines.iter().map(|line| line.counts.clone()).collect(),
            other_frames: self.other_frames,
            untracked_packets: self.untracked_packets,
            absent_lines: absent.map(|choice| self.plan.name_of(choice)).collect(),
            never_dead_lines: never_dead.map(|line| line.counts.name.clone()).collect(),
            complete: self.flushed && self.ready.is_empty(),
        }
    }

    /// Whether no record waits to go out.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// The line of a destination, entered at its first packet; `None` when there are too many.
    fn line_of(&mut self, destination: Destination) -> Option<usize> {
        if let Some(line) = self.line_index.get(&destination) {
            return Some(*line);
        }
        if self.lines.len() >= LINES_MAX && !self.plan.names(&destination) {
            return None;
        }
        let letter = self.plan.letter(&destination, &mut self.lettered);
        let name = self.plan.line_name(&destination, letter);
        let faults = self.plan.faults_of(Some(&destination), letter);
        self.lines.push(Line::new(destination, name, letter, faults, self.plan.seed));
        self.line_index.insert(destination, self.lines.len() - 1);
        Some(self.lines.len() - 1)
    }

    /// What happens to one packet on its line.
    fn pass(
        &mut self,
        index: usize,
        mut held: Held,
        payload: std::ops::Range<usize>,
        now: Nanos,
        after_ns: Nanos,
    ) -> Option<Held> {
        let line = &mut self.lines[index];
        let draw = line.draw();
        line.counts.seen += 1;
        if now != 0 && line.is_dead(after_ns) {
            line.counts.dead += 1;
            return Some(held);
        }
        if draw.lost {
            line.counts.lost += 1;
            return Some(held);
        }
        line.counts.waiting += 1;
        if let Some(seed) = draw.corrupt
            && corrupt(&mut held.bytes[payload], seed)
        {
            line.counts.corrupted += 1;
        }
        let mut outgoing = Outgoing::once(held, Some(index));
        outgoing.copies += u8::from(draw.duplicate);
        let bytes = outgoing.footprint();
        match draw.overtaken_by {
            Some(overtaken_by)
                if line.can_hold_back() && self.held_back_bytes + bytes <= self.late_bytes_max =>
            {
                self.held_back_bytes += bytes;
                line.hold_back(outgoing, overtaken_by);
            }
            _ => {
                self.send(index, outgoing, now);
                self.lines[index].overtake();
                self.let_go(index, now, false);
            }
        }
        None
    }

    /// Sends packets on that were overtaken; all that are held back, if `all`.
    fn let_go(&mut self, index: usize, now: Nanos, all: bool) {
        while self.lines[index].holds_back() {
            let Some(outgoing) = self.lines[index].let_go(now, all) else { return };
            self.held_back_bytes -= outgoing.footprint();
            let now = now.max(outgoing.held.time_ns);
            self.send(index, outgoing, now);
        }
    }

    /// Sends a packet on at `now`: it comes at once, or after its line's delay.
    fn send(&mut self, index: usize, outgoing: Outgoing, now: Nanos) {
        let line = &mut self.lines[index];
        match line.faults.delay_ns {
            0 => self.ready.push_back(outgoing),
            _ if now == 0 => {
                line.counts.undelayed += 1;
                self.ready.push_back(outgoing);
            }
            delay_ns => {
                line.counts.delayed += 1;
                self.delayed.depart(now.saturating_add(delay_ns), outgoing);
                self.make_room();
            }
        }
    }

    /// Lets packets arrive early while there is no memory for all that are under way.
    fn make_room(&mut self) {
        while self.delayed.bytes() > self.late_bytes_max {
            let Some(early) = self.delayed.earliest() else { return };
            if let Some(line) = early.line {
                self.lines[line].counts.delayed_less += 1;
            }
            self.ready.push_back(early);
        }
    }
}
