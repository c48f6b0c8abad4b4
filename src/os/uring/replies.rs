//! Bytes on their way to peers. Invariant: a slot that the kernel is sending from is not written.
#![expect(unsafe_code, reason = "slots are cut out of one region that the kernel reads from")]

use crate::os::{HugeWish, MemoryError, MemoryWish, Region};

/// One slot of equal size for each connection.
pub(super) struct Replies {
    region: Region,
    slot_bytes: usize,
    sending: Vec<bool>,
}

impl Replies {
    /// Allocates the slots.
    pub(super) fn allocate(slots: usize, slot_bytes: usize) -> Result<Replies, MemoryError> {
        let wish = MemoryWish { huge: HugeWish::Never, node: None, lock: false, name: "replies to peers" };
        let (region, _) = Region::map(slots.max(1) * slot_bytes, &wish)?;
        Ok(Replies { region, slot_bytes, sending: vec![false; slots] })
    }

    /// The slot to write a reply into, unless one is being sent from it.
    pub(super) fn slot_mut(&mut self, slot: u32) -> Option<&mut [u8]> {
        let index = slot as usize;
        if *self.sending.get(index)? {
            return None;
        }
        // SAFETY: the index is below the number of slots, which the region was made for; the kernel does not use the
        // slot, since nothing is being sent from it; and the result borrows the whole of `self` exclusively.
        let bytes = unsafe {
            let start = self.region.as_ptr().add(index * self.slot_bytes);
            std::slice::from_raw_parts_mut(start, self.slot_bytes)
        };
        Some(bytes)
    }

    /// Gives the slot to the kernel: its address and at most `length` bytes.
    ///
    /// # Panics
    /// If it has it already.
    pub(super) fn lend(&mut self, slot: u32, length: usize) -> (*const u8, u32) {
        let index = slot as usize;
        assert!(!self.sending[index], "a reply is being sent from slot {slot}");
        self.sending[index] = true;
        let start = self.region.as_ptr().wrapping_add(index * self.slot_bytes);
        (start, length.min(self.slot_bytes) as u32)
    }

    /// The kernel is done with the slot.
    pub(super) fn returned(&mut self, slot: u32) {
        if let Some(sending) = self.sending.get_mut(slot as usize) {
            *sending = false;
        }
    }

    /// Moves the bytes from `sent` to `length` to the slot's start, after a send that took only a part.
    pub(super) fn shift(&mut self, slot: u32, sent: usize, length: usize) {
        if let Some(bytes) = self.slot_mut(slot)
            && sent <= length
            && length <= bytes.len()
        {
            bytes.copy_within(sent..length, 0);
        }
    }
}
