//! Hot path: the size classes of slots. Invariant: classes rise by payload, and each slot is whole cache lines.

use crate::event::{EventHeader, HEADER_BYTES};
use crate::limits::{CACHE_LINE_BYTES, PAYLOAD_BYTES_MAX, SLOT_PAYLOAD_BYTES};

/// How many size classes there are.
pub(super) const CLASSES: usize = SLOT_PAYLOAD_BYTES.len();

/// A size class of slots, by the payload that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotClass(u8);

impl SlotClass {
    /// All classes, smallest first.
    pub const ALL: [SlotClass; CLASSES] = {
        let mut all = [SlotClass(0); CLASSES];
        let mut index = 0;
        while index < CLASSES {
            all[index] = SlotClass(index as u8);
            index += 1;
        }
        all
    };

    /// The smallest class that holds so many bytes of payload; `None` above [`PAYLOAD_BYTES_MAX`].
    #[inline]
    pub fn for_payload(payload_bytes: usize) -> Option<SlotClass> {
        SlotClass::ALL.into_iter().find(|class| payload_bytes <= class.payload_bytes())
    }

    /// Place in [`SLOT_PAYLOAD_BYTES`], from 0.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The class as a ticket carries it.
    #[inline]
    pub(super) const fn code(self) -> u8 {
        self.0
    }

    /// The class that [`code`](SlotClass::code) stands for.
    #[inline]
    pub(super) const fn from_code(code: u8) -> SlotClass {
        SlotClass(code)
    }

    /// Bytes of payload that fit.
    #[inline]
    pub const fn payload_bytes(self) -> usize {
        SLOT_PAYLOAD_BYTES[self.index()]
    }

    /// Bytes of a whole slot: header and payload.
    #[inline]
    pub const fn slot_bytes(self) -> usize {
        HEADER_BYTES + SLOT_PAYLOAD_BYTES[self.index()]
    }

    /// Fewest bytes on the wire of a message that needs this class or a larger one. Every protocol has at least
    /// two bytes for each message (its length field), so nothing in the smallest class is shorter than that.
    #[inline]
    pub const fn wire_bytes_min(self) -> usize {
        match self.index() {
            0 => 2,
            index => SLOT_PAYLOAD_BYTES[index - 1] + 1,
        }
    }
}

const _: () = {
    assert!(CLASSES > 0 && CLASSES <= u8::MAX as usize);
    assert!(SLOT_PAYLOAD_BYTES[CLASSES - 1] == PAYLOAD_BYTES_MAX);
    assert!(size_of::<EventHeader>() == HEADER_BYTES && align_of::<EventHeader>() == CACHE_LINE_BYTES);
    let mut index = 0;
    while index < CLASSES {
        assert!((HEADER_BYTES + SLOT_PAYLOAD_BYTES[index]).is_multiple_of(CACHE_LINE_BYTES));
        assert!(index == 0 || SLOT_PAYLOAD_BYTES[index] > SLOT_PAYLOAD_BYTES[index - 1]);
        index += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_gets_the_smallest_class_that_holds_it() {
        for (index, &bytes) in SLOT_PAYLOAD_BYTES.iter().enumerate() {
            assert_eq!(SlotClass::for_payload(bytes).map(SlotClass::index), Some(index));
            let next = (index + 1 < CLASSES).then_some(index + 1);
            assert_eq!(SlotClass::for_payload(bytes + 1).map(SlotClass::index), next);
        }
        assert_eq!(SlotClass::for_payload(0), Some(SlotClass::ALL[0]));
        assert_eq!(SlotClass::for_payload(usize::MAX), None);
    }

    #[test]
    fn the_shortest_message_of_a_class_needs_that_class() {
        for class in &SlotClass::ALL[1..] {
            assert_eq!(SlotClass::for_payload(class.wire_bytes_min()), Some(*class));
        }
    }
}
