//! Hot path: the four rings of a socket, and the tokens for the chunks that move through them.
//!
//! Invariant: a chunk is with the kernel or in exactly one token. Tokens can't be copied; submitting takes them.

#![expect(
    unsafe_code,
    reason = "xsk-rs leaves it to the caller that a chunk is in one ring only; the tokens see to it"
)]

use crate::limits::BURST_MAX;
use std::sync::atomic::{AtomicU32, Ordering};
use xsk_rs::FrameDesc;
use xsk_rs::socket::{RxQueue, TxQueue};
use xsk_rs::umem::{CompQueue, FillQueue};

/// Which packet memory a chunk or a ring is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemoryId(u32);

impl MemoryId {
    /// One that no other memory of this process has.
    pub(super) fn next() -> MemoryId {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: only that the numbers differ counts.
        MemoryId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// One chunk in hand.
#[derive(Debug)]
pub(super) struct Chunk {
    desc: FrameDesc,
    memory: MemoryId,
}

impl Chunk {
    /// Only for the maker of the memory: each chunk once.
    pub(super) fn new(desc: FrameDesc, memory: MemoryId) -> Chunk {
        Chunk { desc, memory }
    }

    /// The descriptor, for the memory that it is of.
    pub(super) fn desc_mut(&mut self, memory: MemoryId) -> &mut FrameDesc {
        assert!(self.memory == memory, "a chunk of another memory");
        &mut self.desc
    }
}

/// Up to a burst of chunks in hand.
#[derive(Debug)]
pub(super) struct Held {
    descs: [FrameDesc; BURST_MAX],
    count: usize,
    memory: MemoryId,
}

impl Held {
    /// None, of this memory.
    pub(super) fn none(memory: MemoryId) -> Held {
        Held { descs: [FrameDesc::default(); BURST_MAX], count: 0, memory }
    }

    /// How many are held.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The descriptor of a held chunk, for the memory that it is of.
    #[inline]
    pub(super) fn desc(&self, memory: MemoryId, index: usize) -> &FrameDesc {
        assert!(self.memory == memory, "chunks of another memory");
        &self.descs[..self.count][index]
    }

    /// Takes a chunk in hand; gives it back if the hand is full.
    #[inline]
    pub(super) fn push(&mut self, chunk: Chunk) -> Result<(), Chunk> {
        assert!(self.memory == chunk.memory, "a chunk of another memory");
        if self.count == BURST_MAX {
            return Err(chunk);
        }
        self.descs[self.count] = chunk.desc;
        self.count += 1;
        Ok(())
    }

    /// Lets one chunk out of hand, the last first.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Chunk> {
        self.count = self.count.checked_sub(1)?;
        Some(Chunk { desc: self.descs[self.count], memory: self.memory })
    }
}

/// Where received frames come from.
#[derive(Debug)]
pub(super) struct RxRing {
    queue: RxQueue,
    memory: MemoryId,
}

impl RxRing {
    pub(super) fn new(queue: RxQueue, memory: MemoryId) -> RxRing {
        RxRing { queue, memory }
    }

    /// Takes up to `max` frames into an empty hand and returns how many.
    #[inline]
    pub(super) fn take(&mut self, held: &mut Held, max: usize) -> usize {
        assert!(self.memory == held.memory && held.count == 0, "the hand must be empty and of this memory");
        // SAFETY: the hand's descriptors are empty places, which the ring overwrites with chunks of its own memory.
        held.count = unsafe { self.queue.consume(&mut held.descs[..max.min(BURST_MAX)]) };
        held.count
    }

    /// The socket, for options and statistics.
    pub(super) fn fd(&self) -> &xsk_rs::socket::Fd {
        self.queue.fd()
    }
}

/// Where chunks for received frames go.
#[derive(Debug)]
pub(super) struct FillRing {
    queue: FillQueue,
    memory: MemoryId,
}

impl FillRing {
    pub(super) fn new(queue: FillQueue, memory: MemoryId) -> FillRing {
        FillRing { queue, memory }
    }

    /// Gives all held chunks to the kernel. Returns false, and they stay in hand, if the ring has no room for all. That
    /// happens also when it has an entry for every chunk, for a moment: the kernel frees places after it used them.
    #[inline]
    pub(super) fn give(&mut self, held: &mut Held) -> bool {
        assert!(self.memory == held.memory, "chunks of another memory");
        if held.count == 0 {
            return true;
        }
        // SAFETY: the chunks are of this ring's memory and owned by `held`, which forgets them below.
        let given = unsafe { self.queue.produce(&held.descs[..held.count]) };
        debug_assert!(given == 0 || given == held.count, "all or nothing");
        held.count -= given;
        held.count == 0
    }

    /// Whether the kernel sleeps until it is called.
    #[inline]
    pub(super) fn needs_wakeup(&self) -> bool {
        self.queue.needs_wakeup()
    }
}

/// Where frames to be sent go.
#[derive(Debug)]
pub(super) struct TxRing {
    queue: TxQueue,
    memory: MemoryId,
}

impl TxRing {
    pub(super) fn new(queue: TxQueue, memory: MemoryId) -> TxRing {
        TxRing { queue, memory }
    }

    /// Gives all held chunks to the kernel. Returns false, and they stay in hand, if the ring has no room for all.
    #[inline]
    pub(super) fn give(&mut self, held: &mut Held) -> bool {
        assert!(self.memory == held.memory, "chunks of another memory");
        if held.count == 0 {
            return true;
        }
        // SAFETY: the chunks are of this ring's memory and owned by `held`, which forgets them below.
        let given = unsafe { self.queue.produce(&held.descs[..held.count]) };
        debug_assert!(given == 0 || given == held.count, "all or nothing");
        held.count -= given;
        held.count == 0
    }

    /// Free entries; as many as the ring has when the kernel took everything.
    #[inline]
    pub(super) fn free(&mut self) -> usize {
        self.queue.nb_free_exact() as usize
    }

    /// Whether the kernel sleeps until it is called.
    #[inline]
    pub(super) fn needs_wakeup(&self) -> bool {
        self.queue.needs_wakeup()
    }

    /// The socket, for options and statistics.
    pub(super) fn fd(&self) -> &xsk_rs::socket::Fd {
        self.queue.fd()
    }
}

/// Where chunks of sent frames come back.
#[derive(Debug)]
pub(super) struct CompletionRing {
    queue: CompQueue,
    memory: MemoryId,
}

impl CompletionRing {
    pub(super) fn new(queue: CompQueue, memory: MemoryId) -> CompletionRing {
        CompletionRing { queue, memory }
    }

    /// Takes chunks of sent frames into an empty hand and returns how many.
    #[inline]
    pub(super) fn take(&mut self, held: &mut Held) -> usize {
        assert!(self.memory == held.memory && held.count == 0, "the hand must be empty and of this memory");
        // SAFETY: the hand's descriptors are empty places, which the ring overwrites with chunks of its own memory.
        held.count = unsafe { self.queue.consume(&mut held.descs) };
        held.count
    }
}
