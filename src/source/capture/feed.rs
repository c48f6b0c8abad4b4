//! Hot path: the frames of a capture one after the other, from blocks that stay or from blocks that a loader
//! thread fills again and again.
//!
//! Invariant: no frame is copied, and a streamed block goes back to the loader only when its last frame was taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rtrb::{Consumer, Producer};

use super::blocks::{Block, Entry};

/// A capture that fits into memory whole: looped without touching the file again.
pub(super) struct Resident {
    blocks: Vec<Block>,
    block: usize,
    entry: usize,
    /// Loops that are left, this one included; `None` is for ever.
    loops_left: Option<u64>,
}

/// A capture that a loader thread keeps reading.
pub(super) struct Streaming {
    pub(super) current: Option<Block>,
    pub(super) entry: usize,
    pub(super) full: Consumer<Block>,
    pub(super) empty: Producer<Block>,
    /// Set by the loader after its last block.
    pub(super) loader_ended: Arc<AtomicBool>,
}

/// Either.
pub(super) enum Feed {
    Resident(Resident),
    Streaming(Streaming),
}

impl Feed {
    /// Frames of these blocks, `loops` times over; 0 is for ever.
    pub(super) fn resident(mut blocks: Vec<Block>, loops: u64) -> Feed {
        blocks.retain(|block| block.len() > 0);
        let loops_left = match loops {
            _ if blocks.is_empty() => Some(0),
            0 => None,
            loops => Some(loops),
        };
        Feed::Resident(Resident { blocks, block: 0, entry: 0, loops_left })
    }

    /// The next frame, if it is in memory.
    #[inline]
    pub(super) fn peek(&self) -> Option<(Entry, &[u8])> {
        match self {
            Feed::Resident(resident) if resident.loops_left == Some(0) => None,
            Feed::Resident(resident) => resident.blocks.get(resident.block)?.get(resident.entry),
            Feed::Streaming(streaming) => streaming.current.as_ref()?.get(streaming.entry),
        }
    }

    /// Steps over the frame that `peek` showed; `true` if the next one starts another loop.
    #[inline]
    pub(super) fn advance(&mut self) -> bool {
        match self {
            Feed::Resident(resident) => resident.advance(),
            Feed::Streaming(streaming) => streaming.advance(),
        }
    }

    /// Takes a block from the loader if there is none at hand; `true` if it starts another loop.
    #[inline]
    pub(super) fn refill(&mut self) -> bool {
        match self {
            Feed::Streaming(streaming) if streaming.current.is_none() => streaming.next_block(),
            _ => false,
        }
    }

    /// Whether there is no frame left and none will come.
    pub(super) fn exhausted(&self) -> bool {
        match self {
            Feed::Resident(resident) => resident.loops_left == Some(0),
            // The flag first: blocks pushed before it was set are then visible. Pairs with the Release store at the
            // end of the loader thread.
            Feed::Streaming(streaming) => {
                streaming.loader_ended.load(Ordering::Acquire)
                    && streaming.current.is_none()
                    && streaming.full.is_empty()
            }
        }
    }

    /// Frames in all loops; `None` if that is not known or without end.
    pub(super) fn total(&self) -> Option<u64> {
        match self {
            Feed::Resident(resident) => {
                let frames: usize = resident.blocks.iter().map(Block::len).sum();
                resident.loops_left.map(|loops| frames as u64 * loops)
            }
            Feed::Streaming(_) => None,
        }
    }
}

impl Resident {
    #[inline]
    fn advance(&mut self) -> bool {
        self.entry += 1;
        if self.entry < self.blocks[self.block].len() {
            return false;
        }
        self.entry = 0;
        self.block += 1;
        if self.block < self.blocks.len() {
            return false;
        }
        self.block = 0;
        if let Some(left) = &mut self.loops_left {
            *left -= 1;
        }
        self.loops_left != Some(0)
    }
}

impl Streaming {
    #[inline]
    fn advance(&mut self) -> bool {
        self.entry += 1;
        match &self.current {
            Some(block) if self.entry < block.len() => false,
            _ => self.next_block(),
        }
    }

    #[cold]
    #[inline(never)]
    fn next_block(&mut self) -> bool {
        self.entry = 0;
        if let Some(block) = self.current.take() {
            // The ring has room for every block there is; once the loader is gone the block is freed.
            drop(self.empty.push(block));
        }
        match self.full.pop() {
            Ok(block) => {
                let starts_loop = block.starts_loop;
                self.current = Some(block);
                starts_loop
            }
            Err(_) => false,
        }
    }
}
