//! The packet memory (UMEM) of one socket: its making, and the way from a chunk to its bytes.
//!
//! Invariant: a chunk is reached only through the token that owns it, so what the kernel may write is never read.

#![expect(
    unsafe_code,
    reason = "the packet memory is shared with the kernel; xsk-rs leaves ownership to the caller"
)]

use super::error::system_error;
use super::rings::{Chunk, Held, MemoryId};
use super::settings::PageFallback;
use super::skeleton::types::{steer_clock, steer_limit, steer_meta};
use super::{LaneSettings, XdpError};
use crate::event::{ClockKind, Nanos};
use std::num::NonZeroU32;
use std::ptr;
use xsk_rs::FrameDesc;
use xsk_rs::config::{FrameSize, QueueSize, UmemConfig};
use xsk_rs::umem::Umem;

/// What the kernel keeps free in front of a frame.
const XDP_HEADROOM_BYTES: u32 = 256;
/// An Ethernet header and two VLAN tags: what a frame has beside its packet.
const LINK_BYTES: u32 = 14 + 2 * 4;
/// Chunk sizes that the kernel takes (a page at most).
const CHUNK_BYTES: [u32; 2] = [2_048, 4_096];
const META_BYTES: usize = size_of::<steer_meta>();
const MAGIC: u32 = steer_limit::STEER_META_MAGIC.0;
const HUGE_PAGE_BYTES: u32 = 2 << 20;

const _: () = assert!(steer_clock::STEER_CLOCK_MONOTONIC.0 == ClockKind::Monotonic as u32);
const _: () = assert!(steer_clock::STEER_CLOCK_HARDWARE.0 == ClockKind::Hardware as u32);
const _: () = assert!(META_BYTES == 16 && META_BYTES < XDP_HEADROOM_BYTES as usize);

/// The chunk size for an interface's MTU.
///
/// # Errors
/// [`XdpError::MtuTooLarge`].
pub(super) fn chunk_bytes_for(interface: &str, mtu: u32) -> Result<u32, XdpError> {
    let fits = |chunk_bytes: &u32| mtu <= chunk_bytes - XDP_HEADROOM_BYTES - LINK_BYTES;
    CHUNK_BYTES.into_iter().find(fits).ok_or_else(|| XdpError::MtuTooLarge {
        interface: interface.to_owned(),
        mtu,
        mtu_max: CHUNK_BYTES[1] - XDP_HEADROOM_BYTES - LINK_BYTES,
    })
}

/// The packet memory of one socket.
#[derive(Debug)]
pub(super) struct Memory {
    umem: Umem,
    id: MemoryId,
    base: usize,
    chunk_bytes: usize,
}

/// What [`Memory::allocate`] made.
pub(super) struct Allocation {
    /// The memory.
    pub(super) memory: Memory,
    /// All chunks that circulate; the memory may have more, to fill up a huge page.
    pub(super) chunks: Vec<Chunk>,
    /// On which pages it is.
    pub(super) pages: PageFallback,
    /// Its size.
    pub(super) bytes: usize,
}

impl Memory {
    /// Allocates and registers the memory, on huge pages where there are some. It comes from the calling thread's
    /// NUMA node.
    ///
    /// # Errors
    /// [`XdpError::Umem`], [`XdpError::MemlockTooLow`], [`XdpError::MissingCapability`], [`XdpError::KernelLacks`].
    pub(super) fn allocate(settings: &LaneSettings, chunk_bytes: u32) -> Result<Allocation, XdpError> {
        // The kernel has no other huge page size in use than the default one, which is 2 MiB on x86-64 and most arm64.
        let huge_chunks = settings.chunks.next_multiple_of(HUGE_PAGE_BYTES / chunk_bytes);
        let mut pages = PageFallback::NotWished;
        if settings.huge_pages {
            match Memory::map(settings, chunk_bytes, huge_chunks, true) {
                Ok((memory, chunks)) => {
                    let bytes = huge_chunks as usize * chunk_bytes as usize;
                    return Ok(Allocation { memory, chunks, pages: PageFallback::None, bytes });
                }
                Err(error) => pages = PageFallback::Refused(error.to_string()),
            }
        }
        let bytes = settings.chunks as usize * chunk_bytes as usize;
        match Memory::map(settings, chunk_bytes, settings.chunks, false) {
            Ok((memory, chunks)) => Ok(Allocation { memory, chunks, pages, bytes }),
            Err(error) => Err(refusal(bytes, error)),
        }
    }

    fn map(
        settings: &LaneSettings,
        chunk_bytes: u32,
        mapped: u32,
        huge: bool,
    ) -> Result<(Memory, Vec<Chunk>), std::io::Error> {
        let invalid = |text: String| std::io::Error::new(std::io::ErrorKind::InvalidInput, text);
        let size = |entries: u32| QueueSize::new(entries).map_err(|e| invalid(e.to_string()));
        let config = UmemConfig::builder()
            .frame_size(FrameSize::new(chunk_bytes).map_err(|e| invalid(e.to_string()))?)
            .fill_queue_size(size(settings.chunks)?)
            .comp_queue_size(size(settings.ring_entries)?)
            .build()
            .map_err(|e| invalid(e.to_string()))?;
        let count = NonZeroU32::new(mapped).ok_or_else(|| invalid("no chunks".to_owned()))?;
        let (umem, mut descs) = Umem::new(config, count, huge).map_err(|e| system_error(&e))?;
        // SAFETY: the descriptor is of this memory, and neither kernel nor anyone else has seen it yet.
        let first = unsafe { umem.data(&descs[0]) }.contents().as_ptr();
        let id = MemoryId::next();
        let memory =
            Memory { base: first.addr() - descs[0].addr(), id, chunk_bytes: chunk_bytes as usize, umem };
        descs.truncate(settings.chunks as usize);
        Ok((memory, descs.into_iter().map(|desc| Chunk::new(desc, id)).collect()))
    }

    /// The memory's identity, which its chunks and rings bear.
    pub(super) fn id(&self) -> MemoryId {
        self.id
    }

    /// What xsk-rs makes sockets from.
    pub(super) fn umem(&self) -> &Umem {
        &self.umem
    }

    /// The frame in a held chunk.
    #[inline]
    pub(super) fn bytes<'a>(&'a self, held: &'a Held, index: usize) -> &'a [u8] {
        let desc = held.desc(self.id, index);
        // SAFETY: the descriptor came off this memory's RX ring (`Held` checks the identity), so it describes bytes
        // of this memory; `held` owns the chunk until it is given away, which the borrow excludes.
        unsafe { self.umem.data(desc) }.contents()
    }

    /// The wire time that the steering program left in front of the frame, and its clock. It is taken: the chunk's
    /// next frame can't be mistaken to have it.
    #[inline]
    pub(super) fn take_stamp(&self, held: &mut Held, index: usize) -> (Nanos, ClockKind) {
        let desc = held.desc(self.id, index);
        let address = desc.addr();
        if address & (self.chunk_bytes - 1) < META_BYTES {
            return (0, ClockKind::None);
        }
        // xsk-rs has no accessor for what lies in front of a frame. It exposed the mapping's pointer by passing it to
        // the C library, so an address within the mapping may be turned into a pointer again.
        let at = ptr::with_exposed_provenance_mut::<steer_meta>(self.base + address - META_BYTES);
        // SAFETY: the 16 bytes lie in the same chunk as the frame, by the check above, and `held` owns the chunk
        // exclusively. The structure consists of integers, for which any bytes are a value.
        let meta = unsafe { at.read_unaligned() };
        if meta.magic != MAGIC {
            return (0, ClockKind::None);
        }
        // SAFETY: as above; `&mut Held` excludes other references to the chunk.
        unsafe { (&raw mut (*at).magic).write_unaligned(0) };
        (meta.wire_ns, ClockKind::from_u8(meta.clock as u8))
    }

    /// Bytes of a frame that a chunk can hold for sending.
    pub(super) fn frame_bytes_max(&self) -> usize {
        self.chunk_bytes - XDP_HEADROOM_BYTES as usize
    }

    /// Copies a frame of at most [`Memory::frame_bytes_max`] into a chunk.
    #[inline]
    pub(super) fn write(&self, chunk: &mut Chunk, frame: &[u8]) {
        let desc: &mut FrameDesc = chunk.desc_mut(self.id);
        // SAFETY: the chunk is of this memory (`desc_mut` checks), and its token is owned by the caller, so the kernel
        // does not have it.
        let mut data = unsafe { self.umem.data_mut(desc) };
        data.cursor().set_pos(frame.len());
        data.contents_mut().copy_from_slice(frame);
    }
}

fn refusal(bytes: usize, source: std::io::Error) -> XdpError {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            XdpError::MissingCapability { operation: "opening an AF_XDP socket", capability: "CAP_NET_RAW" }
        }
        Some(libc::EAFNOSUPPORT) => {
            XdpError::KernelLacks { feature: "AF_XDP", option: "CONFIG_XDP_SOCKETS=y" }
        }
        Some(libc::ENOBUFS) => XdpError::MemlockTooLow { bytes },
        _ => XdpError::Umem { bytes, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_follow_the_mtu() {
        assert_eq!(chunk_bytes_for("x", 1_500).expect("fits"), 2_048);
        assert_eq!(chunk_bytes_for("x", 1_770).expect("fits"), 2_048);
        assert_eq!(chunk_bytes_for("x", 1_771).expect("fits"), 4_096);
        assert_eq!(chunk_bytes_for("x", 3_818).expect("fits"), 4_096);
        let error = chunk_bytes_for("eth7", 9_000).expect_err("jumbo frames do not fit");
        assert!(error.to_string().contains("`ip link set dev eth7 mtu 3818`"), "{error}");
    }
}
