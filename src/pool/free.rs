//! Hot path: the free lists, one for each size class. Invariant: a place is on its list or behind a ticket, never both.

use super::classes::{CLASSES, SlotClass};
use super::plan::PoolPlan;
use super::ticket::Place;

/// Free slots of each class, last in first out: the slot that came home last is the warmest in the cache.
pub(super) struct FreeLists {
    // Allocated for all slots of their class, so a push never grows them.
    lists: [Vec<u32>; CLASSES],
}

impl FreeLists {
    /// All slots of `plan`, the first one on top.
    pub(super) fn full(plan: &PoolPlan) -> FreeLists {
        FreeLists { lists: plan.slots.map(|slots| (0..slots).rev().collect()) }
    }

    /// Takes a slot of `smallest`, or of the next larger class that has one.
    #[inline]
    pub(super) fn take(&mut self, smallest: SlotClass) -> Option<Place> {
        for class in SlotClass::ALL.into_iter().skip(smallest.index()) {
            if let Some(slot) = self.lists[class.index()].pop() {
                return Some(Place { slot, class });
            }
        }
        None
    }

    /// Puts a slot back on top of its list.
    #[inline]
    pub(super) fn put(&mut self, place: Place) {
        let list = &mut self.lists[place.class.index()];
        debug_assert!(list.len() < list.capacity(), "more slots came home than there are");
        list.push(place.slot);
    }

    /// Whether `smallest` or a larger class has a free slot.
    #[inline]
    pub(super) fn has(&self, smallest: SlotClass) -> bool {
        self.lists[smallest.index()..].iter().any(|list| !list.is_empty())
    }

    /// Free slots of a class.
    #[inline]
    pub(super) fn count(&self, class: SlotClass) -> u32 {
        // No list is longer than its count in the plan, which is a u32.
        self.lists[class.index()].len() as u32
    }

    /// Bytes of packets that can be taken on such that every message in them finds a slot.
    ///
    /// A message that needs class k goes into k or above, so for every k the messages that need at least k must not
    /// outnumber the free slots of k and above; each of them is at least `wire_bytes_min` long. Taking the smallest
    /// class that has room keeps this sufficient: a message is only found in a larger class than it needs when all
    /// slots between are taken, so where some class and all above it are full, only messages that need them have
    /// filled them, and those were counted.
    #[inline]
    pub(super) fn room_bytes(&self) -> usize {
        let mut room = usize::MAX;
        let mut free = 0usize;
        for class in SlotClass::ALL.into_iter().rev() {
            free += self.lists[class.index()].len();
            room = room.min(free.saturating_mul(class.wire_bytes_min()));
        }
        room
    }
}
