//! Modelled memory of a pool: every access to a slot is reported to loom, which fails the model when two accesses,
//! one of them a write, are not ordered. Same interface as the product's `slab.rs`.
#![expect(unsafe_code, reason = "loom's cells are checked when run, not when compiled")]

use super::classes::CLASSES;
use super::plan::PoolPlan;
use super::ticket::Place;
use crate::event::EventHeader;
use loom::cell::UnsafeCell;

/// As in the product.
#[derive(Clone, Copy, Debug)]
pub struct EventRef<'a> {
    /// What is known of the event.
    pub header: &'a EventHeader,
    /// The message or frame as it came.
    pub payload: &'a [u8],
}

#[derive(Default)]
struct Slot {
    header: EventHeader,
    payload: Vec<u8>,
}

pub(super) struct Slab {
    slots: [Vec<UnsafeCell<Slot>>; CLASSES],
}

// SAFETY: that slots are reached by one thread at a time is what the model is there to check.
unsafe impl Sync for Slab {}
// SAFETY: as above.
unsafe impl Send for Slab {}

impl Slab {
    pub(super) fn new(plan: &PoolPlan) -> Slab {
        Slab { slots: plan.slots.map(|slots| (0..slots).map(|_| UnsafeCell::new(Slot::default())).collect()) }
    }

    fn slot(&self, place: Place) -> &UnsafeCell<Slot> {
        &self.slots[place.class.index()][place.slot as usize]
    }

    /// # Safety
    /// As in the product.
    pub(super) unsafe fn write(&self, place: Place, header: &EventHeader, payload: &[u8]) {
        self.slot(place).with_mut(|slot| {
            // SAFETY: loom has just checked that this write is ordered with every other access.
            let slot = unsafe { &mut *slot };
            slot.header = EventHeader { payload_bytes: payload.len() as u32, ..*header };
            slot.payload = payload.to_owned();
        });
    }

    pub(super) fn header(&self, place: Place) -> *mut EventHeader {
        // SAFETY: loom has just checked this access as a write.
        self.slot(place).with_mut(|slot| unsafe { &raw mut (*slot).header })
    }

    /// A hint that reads nothing, so there is nothing to model.
    pub(super) fn prefetch(&self, _place: Place) {}

    /// # Safety
    /// As in the product.
    pub(super) unsafe fn event(&self, place: Place) -> EventRef<'_> {
        self.slot(place).with(|slot| {
            // SAFETY: loom has just checked that this read is ordered with every write.
            let slot = unsafe { &*slot };
            EventRef { header: &slot.header, payload: &slot.payload }
        })
    }
}
