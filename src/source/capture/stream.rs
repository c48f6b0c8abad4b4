//! The records of several captures, one capture after the other: windowed, put in order, packed into blocks.
//!
//! Invariant: every record of every capture is either in exactly one block or counted as outside the window, but for
//! what faults do to it, which they count.

use std::path::PathBuf;

use super::blocks::Block;
use super::faults::{FaultInjector, FaultPlan, FaultReport};
use super::order::{Held, Reorder};
use super::window::TimeWindow;
use super::{CaptureError, CaptureReader, CaptureStats};
use crate::event::Nanos;

/// What is read, and which part of it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) paths: Vec<PathBuf>,
    pub(super) window: TimeWindow,
    pub(super) order_records: usize,
    pub(super) faults: Option<FaultPlan>,
}

/// One pass over all captures, and then another one.
pub(super) struct RecordStream {
    plan: Plan,
    next_path: usize,
    reader: Option<CaptureReader>,
    order: Reorder,
    /// A record that found no room in the last block, where there are no faults.
    pending: Option<Held>,
    faults: Option<FaultInjector>,
    first_ns: Nanos,
    stats: CaptureStats,
    outside_window: u64,
}

/// What became of one record that was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Placed {
    /// It is in the block, or faults have it.
    Taken,
    /// The block is full, and a record waits for the next one.
    Full,
}

impl RecordStream {
    /// The pass, before its first record.
    pub(super) fn new(plan: Plan) -> RecordStream {
        let order = Reorder::new(plan.order_records);
        let faults = plan.faults.clone().map(FaultInjector::new);
        RecordStream {
            plan,
            next_path: 0,
            reader: None,
            order,
            pending: None,
            faults,
            first_ns: 0,
            stats: CaptureStats::default(),
            outside_window: 0,
        }
    }

    /// Goes back to the first capture; faults go on as they were.
    pub(super) fn begin_again(&mut self) {
        let faults = self.faults.take();
        *self = RecordStream::new(Plan { faults: None, ..self.plan.clone() });
        self.faults = faults;
        if let Some(faults) = &mut self.faults {
            faults.begin_again();
        }
    }

    /// Fills a block; `true` when the captures have ended (the block may be empty then).
    ///
    /// # Errors
    /// When a capture can't be opened or the operating system fails to read it.
    pub(super) fn fill(&mut self, block: &mut Block) -> Result<bool, CaptureError> {
        if let Some(held) = self.pending.take()
            && self.place(held, block) == Placed::Full
        {
            return Ok(false);
        }
        if self.place_ready(block) == Placed::Full {
            return Ok(false);
        }
        loop {
            match self.read_into(block)? {
                Some(Placed::Taken) => {}
                Some(Placed::Full) => return Ok(false),
                None => return Ok(self.drain(block)),
            }
        }
    }

    /// Whether records meet faults on their way.
    pub(super) fn has_faults(&self) -> bool {
        self.faults.is_some()
    }

    /// What faults did so far, over all passes; `None` where there are none.
    pub(super) fn fault_report(&self) -> Option<FaultReport> {
        self.faults.as_ref().map(FaultInjector::report)
    }

    /// Counts of what was read so far, and how many records lay outside the window.
    pub(super) fn counts(&self) -> (CaptureStats, u64) {
        let mut stats = self.stats.clone();
        if let Some(reader) = &self.reader {
            stats.absorb(reader.stats());
        }
        (stats, self.outside_window)
    }

    /// Reads one record and puts it, or the one that it pushes out of the order heap, into the block.
    fn read_into(&mut self, block: &mut Block) -> Result<Option<Placed>, CaptureError> {
        loop {
            let Some(reader) = &mut self.reader else {
                let Some(path) = self.plan.paths.get(self.next_path) else { return Ok(None) };
                self.next_path += 1;
                self.reader = Some(CaptureReader::open(path)?);
                continue;
            };
            let Some(record) = reader.next_record()? else {
                let stats = reader.stats().clone();
                self.stats.absorb(&stats);
                self.reader = None;
                continue;
            };
            if self.first_ns == 0 {
                self.first_ns = record.time_ns;
            }
            if !self.plan.window.admits(record.time_ns, self.first_ns) {
                self.outside_window += 1;
                continue;
            }
            if self.order.is_off() && self.faults.is_none() {
                if block.push(record.time_ns, record.link, record.bytes) {
                    return Ok(Some(Placed::Taken));
                }
                // Only a record that finds no room is copied twice.
                self.pending = Some(self.order.hold(record));
                return Ok(Some(Placed::Full));
            }
            let held =
                if self.order.is_off() { Some(self.order.hold(record)) } else { self.order.exchange(record) };
            if let Some(held) = held {
                return Ok(Some(self.place(held, block)));
            }
        }
    }

    /// Empties the order heap, and whatever faults hold back, into the block; `true` when all of it is there.
    fn drain(&mut self, block: &mut Block) -> bool {
        while let Some(held) = self.order.pop() {
            if self.place(held, block) == Placed::Full {
                return false;
            }
        }
        if let Some(faults) = &mut self.faults {
            faults.flush();
        }
        self.place_ready(block) == Placed::Taken
    }

    /// Puts a record into the block, or what faults make of it; one that finds no room waits for the next block.
    fn place(&mut self, held: Held, block: &mut Block) -> Placed {
        if let Some(faults) = &mut self.faults {
            if let Some(lost) = faults.take(held, self.first_ns) {
                self.order.recycle(lost);
            }
            return self.place_ready(block);
        }
        if block.push(held.time_ns, held.link, &held.bytes) {
            self.order.recycle(held);
            return Placed::Taken;
        }
        self.pending = Some(held);
        Placed::Full
    }

    /// Puts records that came out of faults into the block.
    fn place_ready(&mut self, block: &mut Block) -> Placed {
        let Some(faults) = &mut self.faults else { return Placed::Taken };
        while let Some(held) = faults.front() {
            if !block.push(held.time_ns, held.link, &held.bytes) {
                return Placed::Full;
            }
            if let Some(held) = faults.delivered() {
                self.order.recycle(held);
            }
        }
        Placed::Taken
    }
}
