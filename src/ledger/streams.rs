//! Hot path: the counters of one stream, of its lines, and of its message types.

use crate::limits::{LINE_PLACES, MESSAGE_TYPES_MAX};

/// Counts by message type, for up to [`MESSAGE_TYPES_MAX`] types in a fixed table; more are counted as unlisted.
///
/// Open addressing with linear probing: a feed's few dozen types are found at the first probe or the next one.
#[derive(Clone, Debug)]
pub struct TypeCounts {
    // Kind + 1, so that 0 means free and every u16 kind fits.
    kinds: [u32; MESSAGE_TYPES_MAX],
    counts: [u64; MESSAGE_TYPES_MAX],
    unlisted: u64,
}

impl Default for TypeCounts {
    fn default() -> TypeCounts {
        TypeCounts { kinds: [0; MESSAGE_TYPES_MAX], counts: [0; MESSAGE_TYPES_MAX], unlisted: 0 }
    }
}

impl TypeCounts {
    /// Counts one message of this type.
    #[inline]
    pub fn add(&mut self, kind: u16) {
        // A feed's types are few, so that nearly all are where they are looked for first.
        let place = usize::from(kind) % MESSAGE_TYPES_MAX;
        if self.kinds[place] == u32::from(kind) + 1 {
            self.counts[place] += 1;
        } else {
            self.add_many(kind, 1);
        }
    }

    #[inline(never)]
    fn add_many(&mut self, kind: u16, count: u64) {
        let tag = u32::from(kind) + 1;
        let start = usize::from(kind) % MESSAGE_TYPES_MAX;
        for step in 0..MESSAGE_TYPES_MAX {
            let place = (start + step) % MESSAGE_TYPES_MAX;
            if self.kinds[place] == tag {
                self.counts[place] += count;
                return;
            }
            if self.kinds[place] == 0 {
                self.kinds[place] = tag;
                self.counts[place] = count;
                return;
            }
        }
        self.unlisted += count;
    }

    /// The types with their counts, rising by type.
    pub fn listed(&self) -> Vec<(u16, u64)> {
        let mut listed: Vec<(u16, u64)> = self
            .kinds
            .iter()
            .zip(&self.counts)
            .filter_map(|(tag, count)| u16::try_from(tag.checked_sub(1)?).ok().map(|kind| (kind, *count)))
            .collect();
        listed.sort_unstable();
        listed
    }

    /// Messages of types that found no place in the table.
    pub fn unlisted(&self) -> u64 {
        self.unlisted
    }

    /// All messages counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.unlisted
    }

    /// Adds another table's counts.
    pub fn absorb(&mut self, other: &TypeCounts) {
        other.listed().into_iter().for_each(|(kind, count)| self.add_many(kind, count));
        self.unlisted += other.unlisted;
    }
}

/// Counters of one line of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineBook {
    /// Packets that came on this line.
    pub packets: u64,
    /// Sequence numbers that this line brought first.
    pub wins: u64,
    /// Sequence numbers that this line brought and that had been seen before.
    pub duplicates: u64,
    /// Sequence numbers that no other line had brought when they left the window, or at the end.
    pub only: u64,
    /// Sequence numbers that others brought and this line, which had brought lower ones in the epoch, did not.
    pub missing: u64,
    /// Times that it was silent while another line went on.
    pub silences: u64,
    /// Times that nothing came on it for so long that it was taken for dead.
    pub deaths: u64,
}

/// Counters of one stream: per stream, `expected (by sequence) = seen on any line + missing`.
#[derive(Clone, Debug, Default)]
pub struct StreamBook {
    /// Packets (runs) on all lines.
    pub packets: u64,
    /// Heartbeats, resets and ends of session on all lines.
    pub heartbeats: u64,
    /// Messages decoded on all lines, copies included.
    pub messages: u64,
    /// Messages that became events.
    pub accepted: u64,
    /// Messages that were copies.
    pub duplicates: u64,
    /// Messages of ended epochs, or too old to be told apart.
    pub stale: u64,
    /// Messages refused for what they are or for want of room.
    pub rejected: u64,
    /// Runs of the stream between restarts, the first one included.
    pub epochs: u64,
    /// Ranges of sequence numbers that are missing for good.
    pub gaps: u64,
    /// Ranges of sequence numbers that were skipped at first, whatever became of them.
    pub gaps_opened: u64,
    /// Sequence numbers that came out of such a range later, by another line.
    pub filled: u64,
    /// Sequence numbers that came out of such a range by recovery.
    pub recovered: u64,
    /// Messages that were held back behind a gap.
    pub held: u64,
    /// Numbers so far from the stream's that they were not believed before a second packet said the same.
    pub doubted: u64,
    /// Times that a loss made the stream stale.
    pub times_stale: u64,
    /// Sequence numbers that are missing.
    pub missing: u64,
    /// Sequence numbers from the first to the last of each epoch.
    pub expected: u64,
    /// Sequence numbers seen on any line.
    pub seen: u64,
    /// Messages decoded, by type.
    pub by_type: TypeCounts,
    /// Per line.
    pub lines: [LineBook; LINE_PLACES],
}

impl StreamBook {
    /// Whether the stream's sequence equation holds.
    pub fn balanced(&self) -> bool {
        // Damaged numbers can make sums that no counter holds; both sides then stand at its end.
        self.expected == self.seen.saturating_add(self.missing)
            && self.messages == self.accepted + self.duplicates + self.stale + self.rejected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_types_and_bounds_them() {
        let mut counts = TypeCounts::default();
        for kind in [65_535u16, 0, 7, 7, 71, 135] {
            counts.add(kind);
        }
        assert_eq!(counts.listed(), [(0, 1), (7, 2), (71, 1), (135, 1), (65_535, 1)]);
        (1_000..2_000u16).for_each(|kind| counts.add(kind));
        assert_eq!(counts.listed().len(), MESSAGE_TYPES_MAX);
        assert_eq!(counts.total(), 1_006);
        assert_eq!(counts.unlisted(), 1_000 - (MESSAGE_TYPES_MAX as u64 - 5));
        let mut twice = counts.clone();
        twice.absorb(&counts);
        assert_eq!(twice.total(), 2_012);
    }
}
