//! Hot path: provided buffers: memory that the kernel receives into, and the chunks in which users see it.
//!
//! Invariant: bytes of a chunk are not written by the kernel until the chunk is released, and each buffer is offered to
//! the kernel again exactly when the kernel is done with it and all of its chunks are released.
#![expect(unsafe_code, reason = "the buffers and their ring are shared with the kernel")]

use crate::os::{MemoryError, MemoryWish, Region, RegionReport};
use io_uring::types::BufRingEntry;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

/// A group of provided buffers of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupIndex(pub(super) u16);

/// Received bytes: a part of a provided buffer. It must be released to the ring that it came from; dropping it leaks
/// its buffer until the ring ends.
#[derive(Debug)]
#[must_use = "a chunk that is not released is lost to the kernel"]
pub struct Chunk {
    group: u16,
    // Tells groups of different rings apart.
    mark: u32,
    buffer: u16,
    offset: u32,
    bytes: u32,
}

impl Chunk {
    /// How many bytes are in it.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes as usize
    }

    /// Whether nothing is in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Takes bytes off its front.
    #[inline]
    pub fn advance(&mut self, bytes: usize) {
        let bytes = (bytes as u32).min(self.bytes);
        self.offset += bytes;
        self.bytes -= bytes;
    }

    #[inline]
    pub(super) fn group(&self) -> GroupIndex {
        GroupIndex(self.group)
    }
}

#[derive(Clone, Copy, Default)]
struct BufferState {
    /// Bytes that the kernel has filled.
    filled: u32,
    /// Chunks that are not released.
    chunks: u32,
}

/// A group: its buffers, the ring that offers them, and who has which.
pub(super) struct Group {
    // The buffers, then read and written through this mapping only.
    memory: Region,
    ring: Region,
    states: Vec<BufferState>,
    buffer_bytes: u32,
    tail: u16,
    id: u16,
    mark: u32,
    incremental: bool,
    offered: u32,
}

/// Marks of groups, so that a chunk finds its way to no other one.
static MARKS: AtomicU32 = AtomicU32::new(0);

impl Group {
    /// Maps `count` (a power of two) buffers. The kernel does not know them yet.
    pub(super) fn allocate(
        id: u16,
        count: u16,
        buffer_bytes: u32,
        wish: &MemoryWish,
    ) -> Result<(Group, RegionReport), MemoryError> {
        assert!(count.is_power_of_two() && buffer_bytes > 0, "the kernel wants a power of two of buffers");
        let (memory, report) = Region::map(usize::from(count) * buffer_bytes as usize, wish)?;
        let ring_wish = MemoryWish { huge: crate::os::HugeWish::Never, ..*wish };
        let (ring, _) = Region::map(usize::from(count) * size_of::<BufRingEntry>(), &ring_wish)?;
        let group = Group {
            memory,
            ring,
            states: std::iter::repeat_n(BufferState::default(), usize::from(count)).collect(),
            buffer_bytes,
            tail: 0,
            id,
            mark: MARKS.fetch_add(1, Ordering::Relaxed),
            incremental: false,
            offered: 0,
        };
        Ok((group, report))
    }

    /// The address of the ring and the number of its entries, for registration.
    pub(super) fn ring(&self) -> (u64, u16) {
        (self.ring.as_ptr() as u64, self.states.len() as u16)
    }

    /// The kernel knows the group: offers it all buffers.
    pub(super) fn registered(&mut self, incremental: bool) {
        self.incremental = incremental;
        (0..self.states.len() as u16).for_each(|buffer| self.offer(buffer));
        self.publish();
    }

    /// Buffers that the kernel has, whole or in part.
    #[inline]
    pub(super) fn offered(&self) -> u32 {
        self.offered
    }

    #[inline]
    fn offer(&mut self, buffer: u16) {
        let mask = self.states.len() as u16 - 1;
        self.states[usize::from(buffer)] = BufferState::default();
        let address = self.memory.as_ptr() as u64 + u64::from(buffer) * u64::from(self.buffer_bytes);
        // SAFETY: the masked tail is below the number of entries, which the ring's region was made for and which begins
        // page-aligned; the kernel reads the entry only once the tail has been published behind it. The writes do not
        // touch the tail itself, which shares the first entry's last two bytes.
        unsafe {
            let entry = &mut *self.ring.as_ptr().cast::<BufRingEntry>().add(usize::from(self.tail & mask));
            entry.set_addr(address);
            entry.set_len(self.buffer_bytes);
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
        self.offered += 1;
    }

    #[inline]
    fn publish(&mut self) {
        // SAFETY: the ring's first entry is valid, initialized memory; the tail in it is two aligned bytes that only
        // this thread writes and the kernel reads. The Release pairs with the kernel's acquire load of the tail.
        unsafe {
            let tail = BufRingEntry::tail(self.ring.as_ptr().cast::<BufRingEntry>());
            AtomicU16::from_ptr(tail.cast_mut()).store(self.tail, Ordering::Release);
        }
    }

    /// The kernel received `bytes` into `buffer`.
    ///
    /// # Panics
    /// If it says so of more bytes than the buffer has: memory would be read that nobody wrote.
    #[inline]
    pub(super) fn received(&mut self, buffer: u16, bytes: u32) -> Chunk {
        let state = &mut self.states[usize::from(buffer)];
        let offset = state.filled;
        let end = offset.checked_add(bytes).filter(|end| *end <= self.buffer_bytes);
        let Some(end) = end else { overrun(buffer) };
        state.filled = if self.incremental { end } else { self.buffer_bytes };
        state.chunks += 1;
        if state.filled == self.buffer_bytes {
            self.offered -= 1;
        }
        Chunk { group: self.id, mark: self.mark, buffer, offset, bytes }
    }

    /// The bytes of a chunk.
    ///
    /// # Panics
    /// If it is another group's.
    #[inline]
    pub(super) fn bytes<'a>(&'a self, chunk: &'a Chunk) -> &'a [u8] {
        assert_eq!(chunk.mark, self.mark, "a chunk of another ring");
        let start = usize::from(chunk.buffer) * self.buffer_bytes as usize + chunk.offset as usize;
        // SAFETY: `received` made the chunk's range inside its buffer, and `advance` only shrinks it. The kernel writes
        // behind `filled` of a buffer only, and begins again only when it is offered again, which needs all of its
        // chunks released; the borrow of this one keeps it from that.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(start), chunk.bytes as usize) }
    }

    /// Takes a chunk back, and offers its buffer again if it was the last one.
    ///
    /// # Panics
    /// If it is another group's.
    #[inline]
    pub(super) fn release(&mut self, chunk: Chunk) {
        assert_eq!(chunk.mark, self.mark, "a chunk of another ring");
        let state = &mut self.states[usize::from(chunk.buffer)];
        state.chunks -= 1;
        if state.chunks == 0 && state.filled == self.buffer_bytes {
            self.offer(chunk.buffer);
            self.publish();
        }
    }
}

#[cold]
#[inline(never)]
fn overrun(buffer: u16) -> ! {
    panic!("the kernel filled more of buffer {buffer} than there is")
}
