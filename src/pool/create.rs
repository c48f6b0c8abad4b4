//! Making a pool, before anything runs hot. Invariant: every pool of the process has a mark that no other ever had.

use super::classes::SlotClass;
use super::free::FreeLists;
use super::plan::PoolPlan;
use super::returns::ReturnPort;
use super::slab::Slab;
use super::slots::Pool;
use super::ticket::{Mark, Place};
use crate::event::ShardId;
use crate::limits::SHARDS_MAX;
use crate::os::{HugeWish, MemoryError, MemoryWish, Region, RegionReport};
use rtrb::{Consumer, Producer, RingBuffer};
use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// Why a pool could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The plan has no slot.
    #[error(
        "the event pool of shard {shard} has no slot in its plan; give its queues a capacity of at least 1"
    )]
    Empty {
        /// The shard.
        shard: u8,
    },
    /// The plan has more slots than tickets can name, or more bytes than addresses.
    #[error(
        "the event pool of shard {shard} would have too many slots ({plan:?}); lower the queue capacities"
    )]
    TooLarge {
        /// The shard.
        shard: u8,
        /// The plan.
        plan: PoolPlan,
    },
    /// No shard has this number.
    #[error("there is no shard {shard}: at most {SHARDS_MAX} shards, numbered from 0, run in one process")]
    Shard {
        /// The shard.
        shard: u8,
    },
    /// The process has made 65,535 pools; more could not be told apart.
    #[error("the process has made 65,535 event pools, and tickets cannot tell more apart; start it again")]
    TooMany,
    /// There is no memory for it.
    #[error("the event pool of shard {shard}: {source}")]
    Memory {
        /// The shard.
        shard: u8,
        /// What the mapping said.
        source: MemoryError,
    },
}

/// What was made: the plan, and the memory that it really got (its remarks say how to get better).
#[derive(Clone, Debug, serde::Serialize)]
pub struct PoolReport {
    /// The shard that owns the pool.
    pub shard: u8,
    /// Slots by size class.
    pub plan: PoolPlan,
    /// Pages, node, lock, and remarks.
    pub memory: RegionReport,
}

// The number of the next pool; 0 once they are used up.
static NEXT_NUMBER: AtomicU16 = AtomicU16::new(1);

fn next_number() -> Option<NonZeroU16> {
    // Relaxed: uniqueness is all that is asked, and that is the update's own.
    let taken = NEXT_NUMBER.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |number| {
        (number != 0).then(|| number.wrapping_add(1))
    });
    taken.ok().and_then(NonZeroU16::new)
}

impl fmt::Display for PoolReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = self.plan.total().unwrap_or(u32::MAX);
        write!(f, "shard-{}: event pool of {slots} slots, {}", self.shard, self.memory)
    }
}

impl Pool {
    /// What a pool asks of its memory: 2 MiB pages on the shard's node, locked.
    pub fn memory_wish(node: Option<u32>) -> MemoryWish {
        MemoryWish { huge: HugeWish::TwoMiB, node, lock: true, name: "event pool" }
    }

    /// Makes the pool of shard `owner`: maps, binds, prefaults and locks its memory as far as the machine lets it
    /// (the report says how far), and puts every slot on its free list.
    ///
    /// # Errors
    /// An empty or oversized plan, a shard out of range, or no memory at all.
    pub fn create(
        plan: &PoolPlan,
        owner: ShardId,
        wish: &MemoryWish,
    ) -> Result<(Pool, PoolReport), PoolError> {
        let shard = owner.0;
        if usize::from(shard) >= SHARDS_MAX {
            return Err(PoolError::Shard { shard });
        }
        let (Some(slots), Some(bytes)) = (plan.total(), plan.bytes()) else {
            return Err(PoolError::TooLarge { shard, plan: *plan });
        };
        if slots == 0 {
            return Err(PoolError::Empty { shard });
        }
        let (region, memory) =
            Region::map(bytes, wish).map_err(|source| PoolError::Memory { shard, source })?;
        let number = next_number().ok_or(PoolError::TooMany)?;
        let pool = Pool {
            slab: Arc::new(Slab::new(region, plan)),
            mark: Mark::new(number, owner),
            free: FreeLists::full(plan),
            returns: Vec::new(),
            slots,
        };
        Ok((pool, PoolReport { shard, plan: *plan, memory }))
    }

    /// A return port for one thread that will hold tickets of this pool. Before hot use: it allocates the ring.
    pub fn attach(&mut self) -> ReturnPort {
        let (mut producer, mut consumer) = RingBuffer::new(self.slots as usize);
        fault_in(&mut producer, &mut consumer);
        self.returns.push(consumer);
        ReturnPort::new(producer, self.mark)
    }
}

/// Sends a lap of places through a new ring that mean nothing, so that its pages are there before it runs hot.
fn fault_in(producer: &mut Producer<Place>, consumer: &mut Consumer<Place>) {
    let class = SlotClass::ALL[0];
    let places = producer.slots();
    if let Ok(chunk) = producer.write_chunk_uninit(places) {
        chunk.fill_from_iter(std::iter::repeat_n(Place { slot: 0, class }, places));
    }
    if let Ok(chunk) = consumer.read_chunk(places) {
        chunk.into_iter().for_each(drop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::PAYLOAD_BYTES_MAX;

    fn refusal(slots: [u32; 4], shard: u8) -> PoolError {
        let made = Pool::create(&PoolPlan { slots }, ShardId(shard), &Pool::memory_wish(None));
        made.err().expect("the plan must be refused")
    }

    #[test]
    fn refuses_what_cannot_be() {
        assert!(matches!(refusal([0; 4], 0), PoolError::Empty { shard: 0 }));
        assert!(matches!(refusal([1; 4], 64), PoolError::Shard { shard: 64 }));
        assert!(matches!(refusal([u32::MAX, 1, 0, 0], 1), PoolError::TooLarge { shard: 1, .. }));
        // 1 PiB and more: within u32 slots and 64-bit sizes, but no machine has it.
        assert!(matches!(refusal([0, 0, 0, u32::MAX], 1), PoolError::Memory { shard: 1, .. }));
    }

    #[test]
    fn reports_what_it_made() {
        let plan = PoolPlan { slots: [8, 4, 2, 1] };
        let (pool, report) =
            Pool::create(&plan, ShardId(3), &Pool::memory_wish(None)).expect("a small pool can be made");
        assert_eq!((report.shard, report.plan), (3, plan));
        assert!(report.memory.bytes > PAYLOAD_BYTES_MAX);
        assert_eq!((pool.owner(), pool.in_flight()), (ShardId(3), 0));
    }
}
