//! Hot path: what becomes of a stream's numbers that are not simply the next ones: gaps, copies, holding back, loss.
//!
//! Invariant: a number is delivered at most once; in-order streams deliver rising numbers only, and what was given up is
//! never delivered; each skipped number ends in exactly one record.

use super::gaps::{Filled, Gap, GapTable, Opening};
use super::holdback::HoldStore;
use super::notice::{Event, GapEnd, GapRecord, Loss, Notice};
use super::policy::FeedPolicy;
use super::sequence::Arrival;
use super::streams::EpochBegin;
use super::{Outlet, StreamState};
use crate::event::{Marks, Nanos};
use crate::limits::RECOVERY_LINE;
use std::ops::Range;

/// What is done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is delivered, so marked.
    New(Marks),
    /// It is held back behind a gap.
    Held,
    /// It has come before, on this or another line.
    Duplicate,
    /// It is older than the window, was given up, or is of an ended epoch: whether it was seen can't be told or does not
    /// matter any more.
    Stale,
    /// It is too far ahead of a gap that is being recovered.
    Beyond,
    /// It is so far ahead that it is not believed, and its stream can't go back behind it.
    Doubted,
}

/// One stream and what its decisions need, for the length of one decision.
pub(super) struct Keeper<'a, O> {
    pub(super) state: &'a mut StreamState,
    pub(super) policy: &'a FeedPolicy,
    pub(super) gaps: &'a mut GapTable,
    pub(super) holds: &'a mut HoldStore,
    pub(super) outlet: &'a mut O,
    pub(super) stream: u32,
    pub(super) line: u8,
    pub(super) now: Nanos,
}

impl<O: Outlet> Keeper<'_, O> {
    /// Judges a number that is not simply the next one.
    #[cold]
    #[inline(never)]
    pub(super) fn judge(&mut self, sequence: u64) -> Verdict {
        if let Some(verdict) = self.doubt(sequence) {
            return verdict;
        }
        if self.policy.is_in_order() && !self.bring_into_reach(sequence) {
            return Verdict::Beyond;
        }
        let arrival = self.state.sequencer.arrive(sequence, self.line, &mut self.state.book);
        match arrival {
            Arrival::Next if self.state.sequencer.holding => Verdict::Held,
            Arrival::Next => Verdict::New(self.marks_of(sequence)),
            Arrival::Behind(skipped) => {
                self.open(skipped);
                if self.state.sequencer.holding {
                    return Verdict::Held;
                }
                Verdict::New(self.marks().and(Marks::AFTER_GAP))
            }
            Arrival::Late => {
                self.fill(sequence);
                self.deliver_late(sequence)
            }
            Arrival::Before(missing) => {
                if !missing.is_empty() {
                    self.open(missing);
                }
                Verdict::New(self.marks_late(sequence))
            }
            Arrival::Copy => Verdict::Duplicate,
            Arrival::Stale => Verdict::Stale,
        }
    }

    fn marks(&self) -> Marks {
        let standing = self.state.sequencer.standing;
        if self.line == RECOVERY_LINE { standing.and(Marks::RECOVERED) } else { standing }
    }

    /// Marks of a number that is delivered now, and behind none that is higher.
    pub(super) fn marks_of(&self, sequence: u64) -> Marks {
        if self.state.sequencer.is_after_gap(sequence) {
            self.marks().and(Marks::AFTER_GAP)
        } else {
            self.marks()
        }
    }

    /// Marks of a number that is delivered now, perhaps behind higher ones.
    fn marks_late(&mut self, sequence: u64) -> Marks {
        let marks = self.marks_of(sequence);
        if self.state.sequencer.is_overtaken(sequence) { marks.and(Marks::OUT_OF_ORDER) } else { marks }
    }

    /// Marks of a message that is held back now; further ones are added when it is released.
    pub(super) fn marks_held(&self) -> Marks {
        if self.line == RECOVERY_LINE { Marks::HELD.and(Marks::RECOVERED) } else { Marks::HELD }
    }

    /// Whether messages of that number are to wait.
    pub(super) fn holds_back(&self, sequence: u64) -> bool {
        self.state.hold.as_ref().is_some_and(|ring| ring.cursor <= sequence)
    }

    /// The most numbers that are held back: no more than are remembered.
    pub(super) fn window(&self) -> u64 {
        self.policy.window.min(self.state.sequencer.window())
    }

    fn deliver_late(&mut self, sequence: u64) -> Verdict {
        match &mut self.state.hold {
            Some(ring) if ring.cursor == sequence => {
                // What follows it is released when all of its own messages are through.
                ring.cursor += 1;
                Verdict::New(self.marks_of(sequence))
            }
            Some(_) => Verdict::Held,
            None => Verdict::New(self.marks_late(sequence)),
        }
    }

    /// A heartbeat, or the end of a session, names the next number.
    #[cold]
    pub(super) fn announce(&mut self, sequence: u64) {
        let next = self.state.sequencer.next();
        if sequence <= next {
            return;
        }
        if self.policy.is_in_order() && self.policy.recovers() && self.borrow_ring(next) {
            return self.know_of(sequence);
        }
        if self.policy.is_in_order() {
            // What is held back must not be left behind by the window.
            self.bring_into_reach(sequence - 1);
        }
        let skipped = self.state.sequencer.announce_next(sequence, &mut self.state.book);
        self.open(skipped);
    }

    /// The stream has numbers up to `known_next`: a gap is opened for as many as can be held back behind it.
    pub(super) fn know_of(&mut self, known_next: u64) {
        let window = self.window();
        let Some(ring) = &mut self.state.hold else { return };
        ring.known_next = ring.known_next.max(known_next);
        let reach = ring.known_next.min(ring.cursor.saturating_add(window));
        let skipped = self.state.sequencer.announce_next(reach, &mut self.state.book);
        if !skipped.is_empty() {
            self.open(skipped);
        }
    }

    pub(super) fn borrow_ring(&mut self, cursor: u64) -> bool {
        if self.state.hold.is_none() {
            self.state.hold = self.holds.lend(cursor);
            self.state.sequencer.holding = self.state.hold.is_some();
        }
        self.state.hold.is_some()
    }

    /// Enters skipped numbers as a gap.
    fn open(&mut self, skipped: Range<u64>) {
        if self.policy.is_in_order() && !self.borrow_ring(skipped.start) {
            return self.lose(skipped, Loss::NoRoom);
        }
        let packets = self.state.book.packets;
        let opening = Opening {
            now: self.now,
            packets,
            line: self.line,
            // What joins an older gap shares its deadline, so that it has three quarters of its time at least.
            joins_from_ns: self.now.saturating_sub(self.policy.reorder_ns / 4),
            joins_from_packets: packets.saturating_sub(self.policy.reorder_packets / 4),
        };
        match self.gaps.slab.open(&mut self.state.gaps, skipped.clone(), opening) {
            Ok(is_own) => self.state.book.gaps_opened += u64::from(is_own),
            Err(_) => return self.lose(skipped, Loss::NoRoom),
        }
        let due_ns = self.now.saturating_add(self.policy.reorder_ns);
        let due_packets = packets.saturating_add(self.policy.reorder_packets);
        self.state.gaps.due_ns = self.state.gaps.due_ns.min(due_ns);
        self.state.gaps.due_packets = self.state.gaps.due_packets.min(due_packets);
        self.gaps.watch(self.stream, self.state);
    }

    fn fill(&mut self, sequence: u64) {
        let by_recovery = self.line == RECOVERY_LINE;
        self.state.book.recovered += u64::from(by_recovery);
        self.state.book.filled += u64::from(!by_recovery);
        let (filled, lost) = match self.gaps.slab.fill(&mut self.state.gaps, sequence, self.line) {
            Ok(filled) => (filled, None),
            Err((filled, lower)) => (filled, Some(lower)),
        };
        if let Filled::Piece(record) | Filled::All(record) = filled {
            self.tell(Event::Gap(record));
        }
        if let Some(lower) = lost {
            self.declare(&lower, Loss::NoRoom);
        }
    }

    /// Gives up numbers that are in no gap's entry.
    pub(super) fn lose(&mut self, range: Range<u64>, loss: Loss) {
        if range.is_empty() {
            return;
        }
        self.state.book.gaps_opened += 1;
        let record = GapRecord {
            first: range.start,
            last: range.end - 1,
            opened_ns: self.now,
            opened_on: self.line,
            brought_by: 0,
            end: GapEnd::Lost(loss),
        };
        self.state.sequencer.give_up(range);
        self.tell_lost(record);
    }

    /// Ends a gap: what is missing of it is given up.
    pub(super) fn end_gap(&mut self, index: u32, loss: Loss) {
        let gap = self.gaps.slab.remove(&mut self.state.gaps, index);
        self.declare(&gap, loss);
    }

    /// Gives up what is missing of a gap that is in no list any more.
    fn declare(&mut self, gap: &Gap, loss: Loss) {
        if let Some(record) = gap.filled() {
            self.tell(Event::Gap(record));
        }
        self.state.sequencer.give_up(gap.from..gap.to);
        if let Some(record) = gap.lost(loss) {
            self.tell_lost(record);
        }
    }

    fn tell_lost(&mut self, record: GapRecord) {
        self.state.book.gaps += 1;
        self.tell(Event::Gap(record));
        if record.end != GapEnd::Lost(Loss::SnapshotTaken) {
            self.make_stale(record.last);
        }
    }

    fn make_stale(&mut self, last: u64) {
        let sequencer = &mut self.state.sequencer;
        sequencer.lost_last = sequencer.lost_last.max(last);
        if !sequencer.standing.has(Marks::STALE) {
            sequencer.standing = sequencer.standing.and(Marks::STALE);
            self.state.book.times_stale += 1;
            self.tell(Event::Stale { last });
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        let epoch = self.state.sequencer.epoch(&self.state.book);
        let (at_ns, stream, line) = (self.now, self.stream, self.line);
        let (feed, unit) = (self.state.feed, self.state.unit);
        self.outlet.notice(&Notice { at_ns, stream, feed, unit, epoch, line, event });
    }

    /// Looks at the deadlines of a stream that has gaps: those whose reorder window is over are asked for, or lost.
    #[cold]
    #[inline(never)]
    pub(super) fn expire(&mut self) {
        let loss = if self.policy.recovers() { Loss::RecoveryGaveUp } else { Loss::ReorderWindow };
        let (mut at, mut gave_up) = (self.gaps.slab.first_pending(&mut self.state.gaps), false);
        let (mut due_ns, mut due_packets) = (Nanos::MAX, u64::MAX);
        let packets = self.state.book.packets;
        while let Some(index) = at {
            at = self.gaps.slab.after(index);
            let gap = self.gaps.slab.get_mut(index);
            let reordered_ns = gap.opened_ns.saturating_add(self.policy.reorder_ns);
            gap.overdue |= self.now >= reordered_ns
                || packets.saturating_sub(gap.opened_packets) >= self.policy.reorder_packets;
            let lost_ns = self.policy.lost_ns(gap.opened_ns);
            if !gap.overdue {
                due_packets = due_packets.min(gap.opened_packets.saturating_add(self.policy.reorder_packets));
            }
            if !gap.overdue || (self.policy.recovers() && self.now < lost_ns) {
                due_ns = due_ns.min(if gap.overdue { lost_ns } else { reordered_ns });
            } else if self.policy.is_in_order() {
                self.end_gap(index, loss);
                gave_up = true;
            } else if gap.given_up.is_none() {
                gap.given_up = Some(loss);
                let last = gap.to - 1;
                self.make_stale(last);
            }
        }
        (self.state.gaps.due_ns, self.state.gaps.due_packets) = (due_ns, due_packets);
        if gave_up {
            if self.state.gaps.is_empty() {
                self.give_up_the_known(loss);
            } else {
                self.release();
            }
        }
    }

    /// Ends the gaps whose numbers have all left the window.
    #[inline]
    pub(super) fn close_passed(&mut self) {
        let oldest = self.state.sequencer.oldest();
        while let Some(index) = self.gaps.slab.first(&self.state.gaps)
            && self.gaps.slab.get(index).to <= oldest
        {
            self.end_gap(index, Loss::WindowPassed);
        }
    }

    /// Whether the packets of its reorder window have come since one of the gaps opened.
    #[inline]
    pub(super) fn has_seen_enough(&self) -> bool {
        self.state.book.packets >= self.state.gaps.due_packets
    }

    /// What is known of behind the reach of a recovery that failed is lost with it. What is held back goes first: the
    /// window would leave it behind.
    fn give_up_the_known(&mut self, loss: Loss) {
        let next = self.state.sequencer.next();
        let known_next =
            self.state.hold.as_mut().map_or(0, |ring| std::mem::replace(&mut ring.known_next, next));
        self.release();
        let skipped = self.state.sequencer.announce_next(known_next, &mut self.state.book);
        self.lose(skipped, loss);
    }

    /// Ends all gaps, and delivers what was held back behind them.
    #[cold]
    pub(super) fn lose_all(&mut self, loss: Loss) {
        while let Some(index) = self.gaps.slab.first(&self.state.gaps) {
            self.end_gap(index, loss);
        }
        (self.state.gaps.due_ns, self.state.gaps.due_packets) = (Nanos::MAX, u64::MAX);
        self.give_up_the_known(loss);
    }

    /// Holds back the message that is with the outlet at `held`.
    #[inline]
    pub(super) fn keep(&mut self, sequence: u64, held: u32) {
        self.state.book.held += 1;
        if let Some(ring) = &mut self.state.hold {
            self.holds.add(ring, sequence, held);
        }
    }

    /// Delivers what is held back in front of the first gap that is still open.
    #[cold]
    #[inline(never)]
    pub(super) fn release(&mut self) {
        let Some(mut ring) = self.state.hold.take() else { return };
        loop {
            let first = self.gaps.slab.first(&self.state.gaps).map(|index| self.gaps.slab.get(index).from);
            let sequencer = &self.state.sequencer;
            let limit = first.unwrap_or(sequencer.next());
            let oldest = sequencer.oldest().min(limit);
            let mut marks = sequencer.standing.and(Marks::HELD);
            if ring.cursor < oldest {
                (ring.cursor, marks) = (oldest, marks.and(Marks::AFTER_GAP));
            }
            while ring.cursor < limit {
                let cursor = ring.cursor;
                if sequencer.has(cursor) {
                    for held in self.holds.take(&mut ring, cursor) {
                        self.outlet.release(held, marks);
                    }
                    marks = marks.without(Marks::AFTER_GAP);
                } else {
                    marks = marks.and(Marks::AFTER_GAP);
                }
                ring.cursor += 1;
            }
            if first.is_some() {
                self.state.hold = Some(ring);
                return;
            }
            if ring.known_next <= sequencer.next() {
                self.state.sequencer.holding = false;
                return self.holds.give_back(ring);
            }
            // What was too far ahead comes into reach.
            let known_next = ring.known_next;
            self.state.hold = Some(ring);
            self.know_of(known_next);
            match self.state.hold.take() {
                Some(lent) if !self.state.gaps.is_empty() => {
                    self.state.hold = Some(lent);
                    return;
                }
                Some(lent) => ring = lent,
                None => return,
            }
        }
    }

    /// Begins an epoch; the one before is over, and all that was missing of it lost.
    #[cold]
    pub(super) fn begin_epoch(&mut self, mut begin: EpochBegin) {
        let is_first = !self.state.sequencer.started();
        self.lose_all(Loss::EpochEnded);
        let was_stale = self.state.sequencer.standing.has(Marks::STALE);
        self.state.backfill_until = 0;
        if self.policy.backfill && self.policy.recovers() && begin.sequence > 1 {
            self.state.backfill_until = begin.sequence;
            // Without holding back, no more can be told from copies than the window remembers.
            let earliest = begin.sequence.saturating_sub(self.state.sequencer.window()).max(1);
            begin.sequence = if self.policy.is_in_order() { 1 } else { earliest };
        }
        self.state.sequencer.begin_epoch(begin, &mut self.state.book);
        self.state.epoch_packet = self.state.book.packets;
        self.state.sequencer.in_order = self.policy.is_in_order();
        if was_stale {
            self.tell(Event::Fresh { by_snapshot: false });
        }
        if !is_first {
            self.tell(Event::Epoch { first: begin.sequence });
        }
        // The number that the epoch was met with: what is before it is missing.
        self.announce(self.state.backfill_until);
    }

    /// The venue said that it can't send these numbers again: gaps that lie among them are over.
    #[cold]
    pub(super) fn give_up_asked(&mut self, first: u64, last: u64) {
        let mut at = self.gaps.slab.first(&self.state.gaps);
        while let Some(index) = at {
            at = self.gaps.slab.after(index);
            let gap = self.gaps.slab.get(index);
            if gap.from >= first && gap.to <= last.saturating_add(1) {
                self.end_gap(index, Loss::Unavailable);
            }
        }
        self.release();
    }

    /// A snapshot was taken that covers all numbers up to `through`.
    #[cold]
    pub(super) fn snapshot(&mut self, through: u64) {
        while let Some(index) = self.gaps.slab.first(&self.state.gaps)
            && self.gaps.slab.get(index).to <= through.saturating_add(1)
        {
            self.end_gap(index, Loss::SnapshotTaken);
        }
        let sequencer = &mut self.state.sequencer;
        if sequencer.standing.has(Marks::STALE) && sequencer.lost_last <= through {
            sequencer.standing = sequencer.standing.without(Marks::STALE);
            self.tell(Event::Fresh { by_snapshot: true });
        }
        self.release();
    }
}
