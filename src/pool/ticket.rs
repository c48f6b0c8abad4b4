//! Hot path: tickets. Invariant: for each slot there is at most one [`Ticket`]; to hold it is the only way to the slot.

use super::classes::SlotClass;
use crate::event::ShardId;
use std::mem::ManuallyDrop;
use std::num::NonZeroU16;

/// Where a slot lies in its pool. Says nothing about who may touch it: that takes the [`Ticket`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Index among the slots of its class.
    pub(super) slot: u32,
    /// Its size class.
    pub(super) class: SlotClass,
}

/// What tells the tickets of one pool from those of every other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// Unique in the process: two pools never share it, not even two pools of one shard.
    pub(super) pool: NonZeroU16,
    /// The shard that the tickets go home to.
    pub(super) owner: ShardId,
}

/// The right to one slot of one pool: eight bytes that move and cannot be copied.
///
/// A ticket ends by [`Pool::release`](super::Pool::release) or [`ReturnPort::give_back`](super::ReturnPort::give_back).
/// One that is dropped instead has leaked its slot: a debug build panics, a release build loses the slot.
#[derive(Debug)]
#[must_use = "a ticket that is dropped leaks its slot"]
pub struct Ticket {
    slot: u32,
    pool: NonZeroU16,
    class: SlotClass,
    owner: ShardId,
}

impl Ticket {
    /// Only [`Pool::acquire`](super::Pool::acquire) calls this, for a place that it has just taken off a free list.
    #[inline]
    pub(super) fn new(place: Place, mark: Mark) -> Ticket {
        Ticket { slot: place.slot, class: place.class, pool: mark.pool, owner: mark.owner }
    }

    /// The shard whose pool the slot belongs to.
    #[inline]
    pub fn owner(&self) -> ShardId {
        self.owner
    }

    /// The size class of the slot.
    #[inline]
    pub fn class(&self) -> SlotClass {
        self.class
    }

    /// The place of the slot in the pool with this mark.
    ///
    /// # Panics
    /// If the ticket belongs to another pool: its place would name somebody else's slot.
    #[inline]
    pub(super) fn place_in(&self, mark: Mark) -> Place {
        if self.pool != mark.pool {
            foreign_ticket(self.owner, mark.owner);
        }
        Place { slot: self.slot, class: self.class }
    }

    /// Ends the ticket and gives its place; the caller puts that on its way to the free list.
    ///
    /// # Panics
    /// If the ticket belongs to another pool.
    #[inline]
    pub(super) fn redeem(self, mark: Mark) -> Place {
        let place = self.place_in(mark);
        let _spent = ManuallyDrop::new(self);
        place
    }
}

// In a release build a ticket has no destructor at all, so that batches of them move as plain bytes.
#[cfg(debug_assertions)]
impl Drop for Ticket {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!(
                "a ticket of shard {} was dropped without release; slot {} is lost",
                self.owner.0, self.slot
            );
        }
    }
}

#[cold]
#[inline(never)]
fn foreign_ticket(owner: ShardId, here: ShardId) -> ! {
    panic!("a ticket of another pool (shard {}) was shown to the pool of shard {}", owner.0, here.0);
}

const _: () = assert!(size_of::<Ticket>() == 8 && size_of::<Option<Ticket>>() == 8);
