//! Takes messages as cheaply as can be: counts them, and keeps copies of what waits for a gap in a slab.
//!
//! Invariant: nothing is allocated once the clock runs.

use sluice::event::{Marks, MessageReject};
use sluice::feed::{Accepted, Outlet};
use sluice::limits::HELD_MAX;
use sluice::wire::{Message, Run, Visitor};
use std::hint::black_box;

/// Bytes of a place in the slab: those of a packet.
const PLACE_BYTES: usize = 2_048;

/// Counts messages, and folds what it reads of them into one number, so that nothing is optimised away.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) messages: u64,
    pub(crate) check: u64,
}

impl Tally {
    #[inline]
    fn count(&mut self, message: &Message<'_>) {
        // Whoever is handed a message finds it in memory; without this, decoding alone would not even make it.
        let message = black_box(message);
        self.messages += 1;
        self.check = self.check.wrapping_add(message.sequence ^ u64::from(message.kind));
    }
}

impl Visitor for Tally {
    #[inline]
    fn run(&mut self, run: &Run) {
        self.check = self.check.wrapping_add(run.sequence);
    }

    #[inline]
    fn message(&mut self, message: &Message<'_>) {
        self.count(message);
    }

    #[inline]
    fn refuse(&mut self, _reason: MessageReject) {}
}

/// One message that waits.
#[derive(Clone, Copy, Default)]
struct Waiting {
    sequence: u64,
    kind: u16,
    bytes: usize,
}

/// Counts what is delivered; what is held back is copied, as into an event's slot, and counted when it is released.
pub(crate) struct Taker {
    pub(crate) tally: Tally,
    pub(crate) held: u64,
    bytes: Vec<u8>,
    waiting: Vec<Waiting>,
    free: Vec<u32>,
}

impl Taker {
    pub(crate) fn allocate() -> Taker {
        Taker {
            tally: Tally::default(),
            held: 0,
            bytes: vec![0; HELD_MAX * PLACE_BYTES],
            waiting: vec![Waiting::default(); HELD_MAX],
            free: (0..HELD_MAX as u32).rev().collect(),
        }
    }
}

impl Outlet for Taker {
    #[inline]
    fn accept(&mut self, message: &Message<'_>, _accepted: &Accepted) -> Result<(), MessageReject> {
        self.tally.count(message);
        Ok(())
    }

    fn hold(&mut self, message: &Message<'_>, _accepted: &Accepted) -> Result<u32, MessageReject> {
        let held = self.free.pop().ok_or(MessageReject::PoolExhausted)?;
        let (at, bytes) = (held as usize * PLACE_BYTES, message.body.len());
        self.bytes[at..at + bytes].copy_from_slice(message.body);
        self.waiting[held as usize] = Waiting { sequence: message.sequence, kind: message.kind, bytes };
        self.held += 1;
        Ok(held)
    }

    fn release(&mut self, held: u32, _marks: Marks) {
        let Waiting { sequence, kind, bytes } = self.waiting[held as usize];
        let at = held as usize * PLACE_BYTES;
        self.tally.count(&Message { sequence, kind, source_ns: 0, body: &self.bytes[at..at + bytes] });
        self.free.push(held);
    }
}
