//! Hot path: frames in memory: an arena of bytes and an index over it.
//!
//! Invariant: an entry's range lies inside its block's bytes; only `push` makes entries.

use crate::event::Nanos;
use crate::source::LinkType;

/// Index entries per byte of an arena: one for each 64 bytes, the smallest Ethernet frame with its FCS.
const BYTES_PER_ENTRY: usize = 64;

/// Where a frame lies, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) time_ns: Nanos,
    offset: u32,
    pub(super) length: u32,
    pub(super) link: LinkType,
}

/// An arena of frames. Its memory is allocated when it is made and never grows.
#[derive(Debug)]
pub(super) struct Block {
    bytes: Vec<u8>,
    index: Vec<Entry>,
    bytes_max: usize,
    entries_max: usize,
    /// Whether its first frame is the first one of another loop over the capture.
    pub(super) starts_loop: bool,
}

impl Block {
    /// An empty block of this many bytes.
    pub(super) fn new(bytes_max: usize) -> Block {
        let entries_max = bytes_max / BYTES_PER_ENTRY;
        Block {
            bytes: Vec::with_capacity(bytes_max),
            index: Vec::with_capacity(entries_max),
            bytes_max,
            entries_max,
            starts_loop: false,
        }
    }

    /// Memory that a block of this many bytes takes, with its index.
    pub(super) fn footprint(bytes_max: usize) -> usize {
        bytes_max + bytes_max / BYTES_PER_ENTRY * size_of::<Entry>()
    }

    /// Copies a frame in; `false` if there is no room.
    pub(super) fn push(&mut self, time_ns: Nanos, link: LinkType, frame: &[u8]) -> bool {
        let offset = self.bytes.len();
        if self.index.len() == self.entries_max || self.bytes_max - offset < frame.len() {
            return false;
        }
        self.bytes.extend_from_slice(frame);
        self.index.push(Entry { time_ns, offset: offset as u32, length: frame.len() as u32, link });
        true
    }

    /// Makes it empty again.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.index.clear();
        self.starts_loop = false;
    }

    /// How many frames are in it.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// A frame by its place.
    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<(Entry, &[u8])> {
        let entry = *self.index.get(at)?;
        let start = entry.offset as usize;
        self.bytes.get(start..start + entry.length as usize).map(|bytes| (entry, bytes))
    }
}
