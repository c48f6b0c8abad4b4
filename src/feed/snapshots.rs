//! Hot path: snapshots of a feed's state, sent on a feed of their own, that make a stale stream fresh again.
//!
//! Invariant: a stream is fresh again only when a whole loop of snapshots, without a gap, has been taken that each cover
//! the last number that the stream has lost.

use super::visit::Visit;
use super::{Outlet, StreamState};
use crate::event::Marks;
use crate::wire::{self, Message};

/// A loop of snapshots, as far as it has been taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SnapshotLoop {
    /// The feed that they are of; `None` for streams that are no snapshots.
    pub(super) of_feed: Option<u32>,
    taken: u32,
    // The least number that one of them covers.
    through: u64,
}

impl SnapshotLoop {
    /// Takes a snapshot of one of `of` instruments that covers numbers up to `through`; the stream has lost `lost_last`.
    /// Returns what the whole loop covers, when this is its last.
    fn take(&mut self, through: u64, of: u32, lost_last: u64) -> Option<u64> {
        if through < lost_last {
            // Of before the loss: it says nothing, and those behind it begin a loop.
            self.taken = 0;
            return None;
        }
        self.through = if self.taken == 0 { through } else { self.through.min(through) };
        self.taken += 1;
        (self.taken >= of).then(|| {
            self.taken = 0;
            self.through
        })
    }
}

impl<O: Outlet> Visit<'_, O> {
    /// A message of a stream of snapshots was delivered.
    #[cold]
    #[inline(never)]
    pub(super) fn take_snapshot(&mut self, message: &Message<'_>, marks: Marks) {
        let Some(point) = wire::snapshot_point(self.accepted.protocol, message.kind, message.body) else {
            return;
        };
        let StreamState { snapshots, unit, .. } = self.table.stream_mut(self.accepted.stream);
        let (mut taken, unit) = (*snapshots, *unit);
        let live = taken.of_feed.and_then(|feed| self.table.stream_of(feed, unit));
        if marks.has(Marks::AFTER_GAP) {
            taken.taken = 0;
        }
        if let Some(live) = live {
            let sequencer = &self.table.stream_mut(live).sequencer;
            if !sequencer.standing.has(Marks::STALE) {
                taken.taken = 0;
            } else if let Some(through) = taken.take(point.through, point.of, sequencer.lost_last) {
                self.table.keeper(live, self.accepted.line, self.now, self.outlet).snapshot(through);
            }
        }
        self.table.stream_mut(self.accepted.stream).snapshots = taken;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_counts_from_the_first_snapshot_behind_the_loss() {
        let mut snapshots = SnapshotLoop::default();
        let mut take = |through| snapshots.take(through, 3, 100);
        assert_eq!([take(90), take(100), take(99)], [None; 3], "the third is of before the loss");
        assert_eq!([take(104), take(102), take(106)], [None, None, Some(102)]);
        assert_eq!([take(110), take(110), take(111)], [None, None, Some(110)]);
    }
}
