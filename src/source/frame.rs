//! Hot path: a frame as a source hands it to its shard, and the trait of all sources.

use crate::event::{ClockKind, LinkType, Nanos};
use crate::ledger::KernelBook;

/// A frame, borrowed for the time of one callback.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its bytes, as captured (so perhaps fewer than were on the wire, or with padding and FCS behind them).
    pub bytes: &'a [u8],
    /// When it was on the wire, on `clock`.
    pub wire_ns: Nanos,
    /// The clock of `wire_ns`.
    pub clock: ClockKind,
    /// How its first bytes are read.
    pub link: LinkType,
}

/// How much a source may hand over in one turn.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Frames at most.
    pub frames: usize,
    /// Bytes of frames at most; only sources that can wait heed it. The shard derives it from the free slots and
    /// queue places, so that whatever such a source hands over finds room.
    pub bytes: usize,
}

/// A source of frames. It is owned by one lane of one shard, and polled by its thread only.
pub trait FrameSource {
    /// Hands over what is there, up to `budget`, by calling `take` for each frame, and returns how many there were.
    /// The frames' memory is the source's again when `poll` returns.
    fn poll(&mut self, now: Nanos, budget: Budget, take: &mut impl FnMut(Frame<'_>)) -> usize;

    /// Whether nothing will ever come any more (a capture's end, a closed socket).
    fn exhausted(&self) -> bool;

    /// Whether what the next `poll` hands over begins from the start again, as a looped capture does: its sequence
    /// numbers then begin a new epoch instead of being copies. True once for each time.
    fn begins_again(&mut self) -> bool {
        false
    }

    /// The interface that it reads from, if it does.
    fn interface(&self) -> Option<&str> {
        None
    }

    /// Whether the source can wait when there is no room behind it (a capture can, a NIC can't).
    fn can_wait(&self) -> bool;

    /// Stops taking new frames: what the source already holds is still handed over by `poll`.
    fn stop(&mut self);

    /// The kernel's side of the frames book, where frames cross from the kernel; read off the hot path.
    fn kernel_book(&self) -> Option<KernelBook>;
}
