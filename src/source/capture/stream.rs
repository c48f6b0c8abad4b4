//! The records of several captures, one capture after the other: windowed, put in order, packed into blocks.
//!
//! Invariant: every record of every capture is either in exactly one block or counted as outside the window.

use std::path::PathBuf;

use super::blocks::Block;
use super::order::{Held, Reorder};
use super::window::TimeWindow;
use super::{CaptureError, CaptureReader, CaptureStats, Record};
use crate::event::Nanos;

/// What is read, and which part of it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) paths: Vec<PathBuf>,
    pub(super) window: TimeWindow,
    pub(super) order_records: usize,
}

/// One pass over all captures.
pub(super) struct RecordStream {
    plan: Plan,
    next_path: usize,
    reader: Option<CaptureReader>,
    order: Reorder,
    /// A record that found no room in the last block.
    pending: Option<Held>,
    first_ns: Nanos,
    stats: CaptureStats,
    outside_window: u64,
}

/// What became of one record that was read.
enum Placed {
    InBlock,
    Pending(Held),
}

impl RecordStream {
    /// The pass, before its first record.
    pub(super) fn new(plan: Plan) -> RecordStream {
        let order = Reorder::new(plan.order_records);
        RecordStream {
            plan,
            next_path: 0,
            reader: None,
            order,
            pending: None,
            first_ns: 0,
            stats: CaptureStats::default(),
            outside_window: 0,
        }
    }

    /// Fills a block; `true` when the captures have ended (the block may be empty then).
    ///
    /// # Errors
    /// When a capture can't be opened or the operating system fails to read it.
    pub(super) fn fill(&mut self, block: &mut Block) -> Result<bool, CaptureError> {
        if let Some(held) = self.pending.take()
            && !self.place(held, block)
        {
            return Ok(false);
        }
        loop {
            match self.read_into(block)? {
                Some(Placed::InBlock) => {}
                Some(Placed::Pending(held)) => {
                    self.pending = Some(held);
                    return Ok(false);
                }
                None => return Ok(self.drain(block)),
            }
        }
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
            if self.order.is_off() {
                return Ok(Some(place_record(&mut self.order, record, block)));
            }
            if let Some(held) = self.order.exchange(record) {
                return Ok(Some(match self.place_or_keep(held, block) {
                    None => Placed::InBlock,
                    Some(held) => Placed::Pending(held),
                }));
            }
        }
    }

    /// Empties the order heap into the block; `true` when it is empty.
    fn drain(&mut self, block: &mut Block) -> bool {
        while let Some(held) = self.order.pop() {
            if !self.place(held, block) {
                return false;
            }
        }
        true
    }

    /// Puts a record into the block, or keeps it for the next one; whether it found room.
    fn place(&mut self, held: Held, block: &mut Block) -> bool {
        self.pending = self.place_or_keep(held, block);
        self.pending.is_none()
    }

    fn place_or_keep(&mut self, held: Held, block: &mut Block) -> Option<Held> {
        if block.push(held.time_ns, held.link, &held.bytes) {
            self.order.recycle(held);
            return None;
        }
        Some(held)
    }
}

/// Puts a borrowed record into the block; only one that finds no room is copied twice.
fn place_record(order: &mut Reorder, record: Record<'_>, block: &mut Block) -> Placed {
    if block.push(record.time_ns, record.link, record.bytes) {
        return Placed::InBlock;
    }
    Placed::Pending(order.hold(record))
}
