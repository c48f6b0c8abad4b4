//! A small seeded generator (splitmix64), so that synthetic sessions need no dependency and never change with one.

use std::ops::Range;

/// Splitmix64: 64 bits of state, good enough to choose message types and gaps by.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// The generator of this seed; `stream` tells generators of the same seed apart.
    pub(crate) fn new(seed: u64, stream: u64) -> Random {
        let mut random = Random { state: seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15) };
        // The first output depends on few bits when seed and stream are small numbers.
        random.next();
        random
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `range`, which must not be empty. The bias for ranges below 2^32 is under one in 2^32.
    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        debug_assert!(range.start < range.end);
        let width = u128::from(range.end - range.start);
        range.start + u64::try_from((u128::from(self.next()) * width) >> 64).unwrap_or(0)
    }

    /// An index of a collection of `length` items, which must not be empty.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.within(0..length as u64)).unwrap_or(0)
    }

    /// One of `items`, each as often as its weight says.
    pub(crate) fn weighted<T: Copy>(&mut self, items: &[(T, u64)]) -> T {
        let total = items.iter().map(|(_, weight)| weight).sum();
        let mut place = self.within(0..total);
        for (item, weight) in items {
            if place < *weight {
                return *item;
            }
            place -= weight;
        }
        unreachable!("the place is below the sum of the weights")
    }

    /// Nanoseconds from one message to the next: bursts, short lulls, and now and then milliseconds of calm.
    /// The mean is about 37 µs, so that 100,000 messages take some 4 s.
    pub(super) fn message_gap_ns(&mut self) -> u64 {
        let range =
            self.weighted(&[((200, 3_000), 850), ((20_000, 400_000), 149), ((1_000_000, 8_000_000), 1)]);
        self.within(range.0..range.1)
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn is_splitmix64() {
        // The published test vector: seed 1234567, from the second output on (the first is thrown away).
        let mut random = Random::new(1_234_567, 0);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
        assert_eq!(random.next(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn ranges_and_weights_hold() {
        let mut random = Random::new(7, 1);
        let mut seen = [0u32; 3];
        for _ in 0..3_000 {
            assert!((5..9).contains(&random.within(5..9)));
            seen[random.weighted(&[(0usize, 1), (1, 0), (2, 2)])] += 1;
        }
        assert!(seen[0] > 800 && seen[1] == 0 && seen[2] > 1_700, "{seen:?}");
    }
}
