//! Hot path: tickets. Invariant: for each slot there is at most one [`Ticket`]; to hold it is the only way to the slot.

use super::classes::SlotClass;
use crate::event::ShardId;
use std::fmt;
use std::mem::ManuallyDrop;
use std::num::{NonZeroU16, NonZeroU64};

/// Where a slot lies in its pool. Says nothing about who may touch it: that takes the [`Ticket`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Index among the slots of its class.
    pub(super) slot: u32,
    /// Its size class.
    pub(super) class: SlotClass,
}

/// What tells the tickets of one pool from those of every other: the upper 24 bits of each of its tickets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(NonZeroU64);

impl Mark {
    /// The mark of the pool with this number, which no two pools of a process share (not even two of one shard).
    pub(super) fn new(pool: NonZeroU16, owner: ShardId) -> Mark {
        let word = u64::from(pool.get()) << POOL_SHIFT | u64::from(owner.0) << OWNER_SHIFT;
        match NonZeroU64::new(word) {
            Some(word) => Mark(word),
            None => unreachable!("a pool's number is not 0"),
        }
    }

    /// The shard that the tickets go home to.
    #[inline]
    pub(super) fn owner(self) -> ShardId {
        ShardId((self.0.get() >> OWNER_SHIFT) as u8)
    }
}

/// The right to one slot of one pool: eight bytes that move and cannot be copied.
///
/// A ticket ends by [`Pool::release`](super::Pool::release) or [`ReturnPort::give_back`](super::ReturnPort::give_back).
/// One that is dropped instead has leaked its slot: a debug build panics, a release build loses the slot.
///
/// One word, so that it moves in a register: from the lowest bit the slot's index (32 bits), its class (8), its
/// owner (8), and the pool's number (16).
#[must_use = "a ticket that is dropped leaks its slot"]
pub struct Ticket(NonZeroU64);

const CLASS_SHIFT: u32 = 32;
const OWNER_SHIFT: u32 = 40;
const POOL_SHIFT: u32 = 48;

impl Ticket {
    /// Only [`Pool::acquire`](super::Pool::acquire) calls this, for a place that it has just taken off a free list.
    #[inline]
    pub(super) fn new(place: Place, mark: Mark) -> Ticket {
        Ticket(mark.0 | u64::from(place.slot) | u64::from(place.class.code()) << CLASS_SHIFT)
    }

    /// The shard whose pool the slot belongs to.
    #[inline]
    pub fn owner(&self) -> ShardId {
        ShardId((self.0.get() >> OWNER_SHIFT) as u8)
    }

    /// The size class of the slot.
    #[inline]
    pub fn class(&self) -> SlotClass {
        SlotClass::from_code((self.0.get() >> CLASS_SHIFT) as u8)
    }

    /// The place of the slot in the pool with this mark.
    ///
    /// # Panics
    /// If the ticket belongs to another pool: its place would name somebody else's slot.
    #[inline]
    pub(super) fn place_in(&self, mark: Mark) -> Place {
        if (self.0.get() ^ mark.0.get()) >> OWNER_SHIFT != 0 {
            foreign_ticket(self.owner(), mark.owner());
        }
        Place { slot: self.0.get() as u32, class: self.class() }
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

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ticket(word) = self;
        let (slot, class) = (word.get() as u32, self.class().index());
        write!(f, "Ticket(shard {}, class {class}, slot {slot})", self.owner().0)
    }
}

// In a release build a ticket has no destructor at all, so that batches of them move as plain bytes.
#[cfg(debug_assertions)]
impl Drop for Ticket {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("{self:?} was dropped without release: its slot is lost");
        }
    }
}

#[cold]
#[inline(never)]
fn foreign_ticket(owner: ShardId, here: ShardId) -> ! {
    panic!("a ticket of another pool (shard {}) was shown to the pool of shard {}", owner.0, here.0);
}

const _: () = assert!(size_of::<Ticket>() == 8 && size_of::<Option<Ticket>>() == 8);
