//! Hot path: the memory of a pool, and the only place that turns a slot's place into an address.
//!
//! Invariant: slots lie side by side inside the region and never overlap; each begins on a cache line with its
//! [`EventHeader`], and its payload follows. Every byte is always initialised (the region is zeroed), and every bit
//! pattern is a valid header, so a slot can be read whatever was written to it.
#![expect(unsafe_code, reason = "slots are parts of one mapping, handed out by ownership of tickets")]

use super::classes::{CLASSES, SlotClass};
use super::plan::PoolPlan;
use super::ticket::Place;
use crate::event::{EventHeader, HEADER_BYTES};
use crate::os::Region;
use std::slice;

/// An event in its slot, for as long as its ticket is borrowed.
#[derive(Clone, Copy, Debug)]
pub struct EventRef<'a> {
    /// What is known of the event.
    pub header: &'a EventHeader,
    /// The message or frame as it came.
    pub payload: &'a [u8],
}

/// The slots of one pool in their memory.
pub(super) struct Slab {
    region: Region,
    // Byte offset of each class's first slot.
    offsets: [usize; CLASSES],
    slots: [u32; CLASSES],
}

impl Slab {
    /// Lays out the slots of `plan` in `region`, smallest class first.
    ///
    /// # Panics
    /// If the region is smaller than the plan, or not aligned to cache lines; [`Region::map`] can yield neither.
    pub(super) fn new(region: Region, plan: &PoolPlan) -> Slab {
        assert!(
            plan.bytes().is_some_and(|bytes| bytes <= region.len()),
            "the region is smaller than its plan"
        );
        assert!(
            region.as_ptr().cast::<EventHeader>().is_aligned(),
            "the region is not aligned to cache lines"
        );
        let mut offset = 0;
        let offsets = SlotClass::ALL.map(|class| {
            let first = offset;
            offset += plan.slots[class.index()] as usize * class.slot_bytes();
            first
        });
        Slab { region, offsets, slots: plan.slots }
    }

    /// The slot's first byte: its header; the payload follows.
    #[inline]
    fn slot(&self, place: Place) -> *mut EventHeader {
        let class = place.class.index();
        debug_assert!(place.slot < self.slots[class], "a place outside its pool");
        let offset = self.offsets[class] + place.slot as usize * place.class.slot_bytes();
        // SAFETY: places come from the free lists of this slab's own plan (tickets are checked by their mark), so
        // the slot lies inside the region, as `new` has asserted.
        unsafe { self.region.as_ptr().add(offset).cast() }
    }

    /// Writes an event: the header with `payload_bytes` set to the payload's length, and the payload.
    ///
    /// # Panics
    /// If the payload is longer than the slot's class holds.
    ///
    /// # Safety
    /// The caller has the slot to itself: it holds the slot's ticket exclusively.
    #[inline]
    pub(super) unsafe fn write(&self, place: Place, header: &EventHeader, payload: &[u8]) {
        assert!(payload.len() <= place.class.payload_bytes(), "the payload is longer than its slot");
        let slot = self.slot(place);
        let header = EventHeader { payload_bytes: payload.len() as u32, ..*header };
        // SAFETY: the slot is inside the region and aligned, its payload has room (asserted above), nobody else
        // reads or writes it (the caller's promise), and `payload` is no part of it: a slice of a slot can only be
        // had by borrowing its ticket.
        unsafe {
            slot.write(header);
            let to = slot.cast::<u8>().add(HEADER_BYTES);
            copy_payload(payload.as_ptr(), to, payload.len());
        }
    }

    /// The slot's header. To make a reference of it is for the caller, who knows for how long it has the slot.
    #[inline]
    pub(super) fn header(&self, place: Place) -> *mut EventHeader {
        self.slot(place)
    }

    /// Asks the CPU to fetch the slot's header into its cache.
    #[inline]
    pub(super) fn prefetch(&self, place: Place) {
        let slot = self.slot(place);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch is a hint; it reads nothing and faults at no address.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(slot.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = slot;
    }

    /// The event in a slot. A `payload_bytes` that is larger than the slot (somebody wrote it through `header`) is
    /// cut to the slot.
    ///
    /// # Safety
    /// Nobody writes to the slot for as long as the result lives: the caller has borrowed the slot's ticket for it.
    #[inline]
    pub(super) unsafe fn event(&self, place: Place) -> EventRef<'_> {
        let slot = self.slot(place);
        // SAFETY: the slot is inside the region, aligned, initialised, and not written to (the caller's promise);
        // the payload's length is cut to the slot's capacity.
        unsafe {
            let header = &*slot;
            let bytes = (header.payload_bytes as usize).min(place.class.payload_bytes());
            let payload = slice::from_raw_parts(slot.cast::<u8>().add(HEADER_BYTES), bytes);
            EventRef { header, payload }
        }
    }
}

/// Bytes that are copied at once, in a vector register.
const STEP: usize = 16;

/// Copies a payload. Those of a message or two go in steps of 16 bytes, of which the last may overlap the one before:
/// a call of memcpy for 40 bytes costs more than the copy.
///
/// # Safety
/// `bytes` can be read at `from` and written at `to`, and the two do not overlap.
#[inline]
unsafe fn copy_payload(from: *const u8, to: *mut u8, bytes: usize) {
    if !(STEP..=4 * STEP).contains(&bytes) {
        // SAFETY: the caller's promise.
        return unsafe { to.copy_from_nonoverlapping(from, bytes) };
    }
    let mut at = 0;
    while at + STEP < bytes {
        // SAFETY: at + STEP is below `bytes`.
        unsafe { to.add(at).copy_from_nonoverlapping(from.add(at), STEP) };
        at += STEP;
    }
    // SAFETY: `bytes` is at least STEP, so this begins at or behind the start and ends with the last byte.
    unsafe { to.add(bytes - STEP).copy_from_nonoverlapping(from.add(bytes - STEP), STEP) };
}

#[cfg(test)]
mod tests {
    use super::copy_payload;

    #[test]
    fn payloads_of_every_small_length_are_copied_exactly() {
        let from: Vec<u8> = (1..=200).collect();
        for bytes in 0..=200 {
            let mut to = vec![0u8; 201];
            // SAFETY: both hold 200 bytes and are different vectors.
            unsafe { copy_payload(from.as_ptr(), to.as_mut_ptr(), bytes) };
            assert_eq!((&to[..bytes], to[bytes]), (&from[..bytes], 0));
        }
    }
}
