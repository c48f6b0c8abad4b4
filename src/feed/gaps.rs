//! Hot path: the open gaps of all streams of a shard: which numbers are missing, and since when.
//!
//! Invariant: a stream's gaps are disjoint, rising and not empty; an entry is in one stream's list or free. Lists are
//! linked through one slab of fixed size, so that any stream may have many gaps and none allocates.

use super::StreamState;
use super::notice::{GapEnd, GapRecord, Loss};
use crate::event::Nanos;
use std::ops::Range;

const NIL: u32 = u32::MAX;

/// Missing numbers in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// The first number that is still missing.
    pub(super) from: u64,
    /// The number behind the last one that is missing.
    pub(super) to: u64,
    /// The first number when it was opened: those up to `from` have come since.
    pub(super) opened_from: u64,
    pub(super) opened_ns: Nanos,
    /// Packets of the stream until then.
    pub(super) opened_packets: u64,
    pub(super) opened_on: u8,
    /// Bit set of the lines that brought what has come since.
    pub(super) brought_by: u8,
    /// Whether its reorder window is over.
    pub(super) overdue: bool,
    /// Why it was given up, where its numbers may still come all the same.
    pub(super) given_up: Option<Loss>,
    previous: u32,
    next: u32,
}

impl Gap {
    /// What an entry has that is in no list.
    const FREE: Gap = Gap {
        from: 0,
        to: 0,
        opened_from: 0,
        opened_ns: 0,
        opened_packets: 0,
        opened_on: 0,
        brought_by: 0,
        overdue: false,
        given_up: None,
        previous: NIL,
        next: NIL,
    };

    fn record(&self, range: Range<u64>, brought_by: u8, end: GapEnd) -> Option<GapRecord> {
        let (first, last) = (range.start, range.end.checked_sub(1)?);
        let (opened_ns, opened_on) = (self.opened_ns, self.opened_on);
        (first <= last).then_some(GapRecord { first, last, opened_ns, opened_on, brought_by, end })
    }

    /// What has come of it, if anything has.
    pub(super) fn filled(&self) -> Option<GapRecord> {
        self.record(self.opened_from..self.from, self.brought_by, GapEnd::Filled)
    }

    /// What is missing of it, as lost.
    pub(super) fn lost(&self, loss: Loss) -> Option<GapRecord> {
        self.record(self.from..self.to, 0, GapEnd::Lost(self.given_up.unwrap_or(loss)))
    }
}

/// One stream's gaps.
#[derive(Clone, Copy, Debug)]
pub(super) struct GapList {
    head: u32,
    tail: u32,
    // Where the last number was filled in: the next one is nearly always there or just behind.
    hint: u32,
    // The first one that may not be given up yet: those before it are, and have no deadlines.
    pending: u32,
    /// When the next of its deadlines is over.
    pub(super) due_ns: Nanos,
    /// How many packets the stream will have had when the next of its reorder windows is over by them.
    pub(super) due_packets: u64,
}

impl Default for GapList {
    fn default() -> GapList {
        GapList { head: NIL, tail: NIL, hint: NIL, pending: NIL, due_ns: Nanos::MAX, due_packets: u64::MAX }
    }
}

impl GapList {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.head == NIL
    }
}

/// How a gap begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) now: Nanos,
    pub(super) packets: u64,
    pub(super) line: u8,
    /// It may become part of a gap that was opened then or later, by time and by packets.
    pub(super) joins_from_ns: Nanos,
    pub(super) joins_from_packets: u64,
}

/// A number came out of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// It was in none.
    Nothing,
    /// Others are still missing.
    Some,
    /// It came out of the middle, or from the end: it is told of by itself.
    Piece(GapRecord),
    /// It was the last one.
    All(GapRecord),
}

/// There is no entry left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GapsFull;

/// Entries for the gaps of all streams.
#[derive(Debug)]
pub(super) struct GapSlab {
    entries: Box<[Gap]>,
    free: u32,
    open: usize,
}

impl GapSlab {
    pub(super) fn allocate(gaps_max: usize) -> GapSlab {
        let next = |index: usize| if index + 1 < gaps_max { index as u32 + 1 } else { NIL };
        let entry = |index| Gap { next: next(index), ..Gap::FREE };
        let free = if gaps_max > 0 { 0 } else { NIL };
        GapSlab { entries: (0..gaps_max).map(entry).collect(), free, open: 0 }
    }

    /// Gaps that are open in all streams.
    pub(super) fn open_count(&self) -> usize {
        self.open
    }

    fn at(&self, index: u32) -> Option<&Gap> {
        self.entries.get(index as usize)
    }

    /// The index of the first gap.
    pub(super) fn first(&self, list: &GapList) -> Option<u32> {
        (list.head != NIL).then_some(list.head)
    }

    /// The index of the gap behind this one.
    pub(super) fn after(&self, index: u32) -> Option<u32> {
        self.at(index).map(|gap| gap.next).filter(|next| *next != NIL)
    }

    /// The index of the first gap that may have a deadline. Passes by those that are given up.
    pub(super) fn first_pending(&self, list: &mut GapList) -> Option<u32> {
        while self.at(list.pending)?.given_up.is_some() {
            list.pending = self.get(list.pending).next;
        }
        Some(list.pending)
    }

    /// A gap of a list.
    pub(super) fn get(&self, index: u32) -> &Gap {
        &self.entries[index as usize]
    }

    /// A gap of a list, to be given up or said to be overdue.
    pub(super) fn get_mut(&mut self, index: u32) -> &mut Gap {
        &mut self.entries[index as usize]
    }

    /// A list's gaps, rising.
    pub(super) fn iter<'a>(&'a self, list: &GapList) -> impl Iterator<Item = &'a Gap> + use<'a> {
        let mut next = list.head;
        std::iter::from_fn(move || {
            let gap = self.at(next)?;
            next = gap.next;
            Some(gap)
        })
    }

    /// Opens a gap at either end of a list. One that follows right behind the last, which has just been opened, is part
    /// of it. Returns whether it is a gap of its own.
    pub(super) fn open(
        &mut self,
        list: &mut GapList,
        range: Range<u64>,
        opening: Opening,
    ) -> Result<bool, GapsFull> {
        if let Some(last) = self.entries.get_mut(list.tail as usize)
            && last.to == range.start
            && !last.overdue
            && last.opened_ns >= opening.joins_from_ns
            && last.opened_packets >= opening.joins_from_packets
        {
            last.to = range.end;
            return Ok(false);
        }
        let in_front = self.at(list.head).is_some_and(|first| range.end <= first.from);
        let (previous, next) = if in_front { (NIL, list.head) } else { (list.tail, NIL) };
        let gap = Gap {
            from: range.start,
            to: range.end,
            opened_from: range.start,
            opened_ns: opening.now,
            opened_packets: opening.packets,
            opened_on: opening.line,
            previous,
            next,
            ..Gap::FREE
        };
        self.insert(list, gap)?;
        Ok(true)
    }

    /// Enters a gap between its neighbours.
    fn insert(&mut self, list: &mut GapList, gap: Gap) -> Result<(), GapsFull> {
        let index = self.free;
        let (previous, next) = (gap.previous, gap.next);
        let entry = self.entries.get_mut(index as usize).ok_or(GapsFull)?;
        self.free = std::mem::replace(entry, gap).next;
        self.open += 1;
        if previous == NIL || (next == NIL && list.pending == NIL) {
            list.pending = index;
        }
        match self.entries.get_mut(previous as usize) {
            Some(gap) => gap.next = index,
            None => list.head = index,
        }
        match self.entries.get_mut(next as usize) {
            Some(gap) => gap.previous = index,
            None => list.tail = index,
        }
        Ok(())
    }

    /// Takes a gap out of its list.
    pub(super) fn remove(&mut self, list: &mut GapList, index: u32) -> Gap {
        let gap = self.entries[index as usize];
        match self.entries.get_mut(gap.previous as usize) {
            Some(before) => before.next = gap.next,
            None => list.head = gap.next,
        }
        match self.entries.get_mut(gap.next as usize) {
            Some(behind) => behind.previous = gap.previous,
            None => list.tail = gap.previous,
        }
        if list.hint == index {
            list.hint = gap.next;
        }
        if list.pending == index {
            list.pending = gap.next;
        }
        self.entries[index as usize].next = self.free;
        self.free = index;
        self.open -= 1;
        gap
    }

    /// The gap that has `sequence`, if one has.
    fn find(&self, list: &GapList, sequence: u64) -> Option<u32> {
        let mut index = if list.hint == NIL { list.head } else { list.hint };
        while sequence < self.at(index)?.from {
            index = self.get(index).previous;
        }
        while sequence >= self.at(index)?.to {
            index = self.get(index).next;
        }
        (sequence >= self.get(index).from).then_some(index)
    }

    /// A missing number has come on a line. `Err` when its gap can't be split for want of an entry: its lower part is
    /// lost then, and returned.
    pub(super) fn fill(
        &mut self,
        list: &mut GapList,
        sequence: u64,
        line: u8,
    ) -> Result<Filled, (Filled, Gap)> {
        let Some(index) = self.find(list, sequence) else { return Ok(Filled::Nothing) };
        list.hint = index;
        let gap = &mut self.entries[index as usize];
        if sequence == gap.from {
            gap.from += 1;
            gap.brought_by |= 1 << line;
            if gap.from < gap.to {
                return Ok(Filled::Some);
            }
            let gap = self.remove(list, index);
            return Ok(gap.filled().map_or(Filled::Nothing, Filled::All));
        }
        let piece = gap.record(sequence..sequence + 1, 1 << line, GapEnd::Filled);
        let piece = piece.map_or(Filled::Some, Filled::Piece);
        let whole = *gap;
        gap.to = sequence;
        if sequence + 1 == whole.to {
            return Ok(piece);
        }
        let behind = sequence + 1;
        let upper = Gap { from: behind, opened_from: behind, brought_by: 0, previous: index, ..whole };
        if self.insert(list, upper).is_err() {
            let lower = *self.get(index);
            let gap = self.get_mut(index);
            (gap.from, gap.to, gap.opened_from, gap.brought_by) = (behind, whole.to, behind, 0);
            return Err((piece, lower));
        }
        Ok(piece)
    }
}

/// The gaps of a shard, and which streams have any.
#[derive(Debug)]
pub(super) struct GapTable {
    pub(super) slab: GapSlab,
    /// Streams that have had a gap and were not found without one since.
    pub(super) streams: Vec<u32>,
    /// When the next deadline of any of them is over.
    pub(super) due_ns: Nanos,
}

impl GapTable {
    pub(super) fn allocate(gaps_max: usize, streams_max: usize) -> GapTable {
        let slab = GapSlab::allocate(gaps_max);
        GapTable { slab, streams: Vec::with_capacity(streams_max), due_ns: Nanos::MAX }
    }

    /// Enters a stream that has a gap, once, and its next deadline.
    pub(super) fn watch(&mut self, stream: u32, state: &mut StreamState) {
        if !std::mem::replace(&mut state.is_gapped, true) {
            self.streams.push(stream);
        }
        self.due_ns = self.due_ns.min(state.gaps.due_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const OPENING: Opening = Opening { now: 7, packets: 3, line: 1, joins_from_ns: 0, joins_from_packets: 0 };

    fn missing(slab: &GapSlab, list: &GapList) -> Vec<u64> {
        slab.iter(list).flat_map(|gap| gap.from..gap.to).collect()
    }

    #[test]
    fn a_gap_shrinks_and_is_told_when_it_is_full() {
        let (mut slab, mut list) = (GapSlab::allocate(2), GapList::default());
        assert_eq!(slab.open(&mut list, 10..13, OPENING), Ok(true));
        assert_eq!(slab.open(&mut list, 13..15, OPENING), Ok(false), "it goes on");
        assert_eq!(slab.fill(&mut list, 20, 0), Ok(Filled::Nothing));
        for sequence in 10..14 {
            assert_eq!(slab.fill(&mut list, sequence, 0), Ok(Filled::Some));
        }
        let Ok(Filled::All(record)) = slab.fill(&mut list, 14, 2) else { panic!("it is full") };
        assert_eq!((record.first, record.last, record.brought_by), (10, 14, 0b101));
        assert_eq!((record.opened_ns, record.opened_on, record.numbers()), (7, 1, 5));
        assert!(list.is_empty() && slab.open_count() == 0);
    }

    #[test]
    fn without_an_entry_the_lower_part_is_lost() {
        let (mut slab, mut list) = (GapSlab::allocate(1), GapList::default());
        assert_eq!(slab.open(&mut list, 10..20, OPENING), Ok(true));
        assert_eq!(slab.open(&mut list, 30..31, OPENING), Err(GapsFull));
        let Err((Filled::Piece(piece), lower)) = slab.fill(&mut list, 15, 0) else { panic!("no room") };
        assert_eq!((piece.first, piece.last), (15, 15));
        assert_eq!((lower.from, lower.to), (10, 15));
        assert_eq!(missing(&slab, &list), [16, 17, 18, 19]);
    }

    proptest! {
        /// However numbers come, the lists have what is missing, and the records have each number that came.
        #[test]
        fn lists_follow_a_set(
            jumps in prop::collection::vec((1u64..5, 0u64..6), 1..30),
            order in prop::collection::vec(any::<prop::sample::Index>(), 1..120),
        ) {
            let (mut slab, mut list) = (GapSlab::allocate(200), GapList::default());
            let mut model = BTreeSet::new();
            let mut next = 1;
            for (seen, skipped) in jumps {
                next += seen;
                if skipped > 0 {
                    slab.open(&mut list, next..next + skipped, OPENING).unwrap();
                    model.extend(next..next + skipped);
                    next += skipped;
                }
            }
            let mut told = BTreeSet::new();
            let mut came = BTreeSet::new();
            for index in order {
                if model.is_empty() {
                    break;
                }
                let sequence = *index.get(&model.iter().copied().collect::<Vec<_>>());
                model.remove(&sequence);
                came.insert(sequence);
                match slab.fill(&mut list, sequence, 0).unwrap() {
                    Filled::Nothing => prop_assert!(false, "{sequence} was missing"),
                    Filled::Some => {}
                    Filled::Piece(record) | Filled::All(record) => {
                        for number in record.first..=record.last {
                            prop_assert!(told.insert(number), "{number} is told once");
                        }
                    }
                }
                let left: Vec<u64> = model.iter().copied().collect();
                prop_assert_eq!(missing(&slab, &list), left);
            }
            while let Some(index) = slab.first(&list) {
                let gap = slab.remove(&mut list, index);
                if let Some(record) = gap.filled() {
                    told.extend(record.first..=record.last);
                }
                prop_assert!(gap.lost(Loss::SourceEnded).is_some());
            }
            prop_assert_eq!(told, came);
            prop_assert_eq!(slab.open_count(), 0);
        }
    }
}
