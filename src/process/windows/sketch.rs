//! Hot path: quantiles in a fixed number of buckets: a DDSketch that gets coarser instead of larger.
//!
//! Invariant: each value lies in the bucket that its magnitude's logarithm says, at the sketch's level, so that a quantile
//! is off by no more than the level's relative error; what is a sketch's error stands beside its quantiles.
//!
//! The mapping of values to buckets is that of sketches-ddsketch. Its own storage grows while values come, so that the counts
//! are kept here, as a sorted list of the buckets in use: values of both signs and far apart cost no empty buckets. A
//! sketch begins at level 0 with a relative error of 0.01 %, which prices of a window seldom leave; when the list is full,
//! pairs of neighbouring buckets become one (a level up doubles the error). With 256 buckets, values over one power of
//! ten are known to 0.64 %, over three to 2.6 %, over six to 5.1 %.

use super::fixed::Fixed;
use crate::limits::SKETCH_BUCKETS;
use sketches_ddsketch::Config;

/// The relative error at level 0.
pub(super) const FINEST_ERROR: f64 = 0.0001;

/// Levels: at the last one any two values of one sign are neighbours.
const LEVELS: usize = 20;

/// The mapping of values to buckets, at each level.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapping {
    levels: [(Config, f64); LEVELS],
}

/// What is known of a sketch beside its buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SketchHead {
    /// Buckets in use.
    pub(super) used: u16,
    /// How often pairs became one.
    pub(super) level: u8,
}

/// A sketch's buckets, both [`SKETCH_BUCKETS`] long: places in ascending order, and their counts.
pub(super) struct Sketch<'a> {
    pub(super) head: &'a mut SketchHead,
    pub(super) places: &'a mut [i32],
    pub(super) counts: &'a mut [u32],
}

impl Mapping {
    /// The mapping.
    pub(super) fn new() -> Mapping {
        let mut error = FINEST_ERROR;
        let levels = std::array::from_fn(|_| {
            // The smallest value is one unit, whose logarithm is 0.
            let level = (Config::new(error, SKETCH_BUCKETS as u32, 1.0), error);
            error = 2.0 * error / (1.0 + error * error);
            level
        });
        Mapping { levels }
    }

    /// The place of a value at level 0: 0 for zero, from 1 on upwards, from -1 on downwards.
    #[inline]
    fn place(&self, value: Fixed) -> i32 {
        let magnitude = |units: i128| self.levels[0].0.key(units.unsigned_abs() as f64) + 1;
        match value.0 {
            0 => 0,
            units if units < 0 => -magnitude(units),
            units => magnitude(units),
        }
    }

    /// The value that stands for a place.
    fn value(&self, level: u8, place: i32) -> Fixed {
        if place == 0 {
            return Fixed(0);
        }
        let magnitude = self.levels[usize::from(level)].0.value(place.abs() - 1) as i128;
        Fixed(if place < 0 { -magnitude } else { magnitude })
    }

    /// The largest relative error of quantiles at a level.
    pub(super) fn error(&self, level: u8) -> f64 {
        self.levels[usize::from(level)].1
    }
}

/// The place a number of levels up.
#[inline]
fn coarser(place: i32, levels: u8) -> i32 {
    let up = |magnitude: i32| ((magnitude - 1) >> levels) + 1;
    match place {
        0 => 0,
        place if place < 0 => -up(-place),
        place => up(place),
    }
}

impl Sketch<'_> {
    /// Takes a value.
    #[inline]
    pub(super) fn add(&mut self, mapping: &Mapping, value: Fixed) {
        self.add_at(mapping.place(value), 0, 1);
    }

    /// Takes all values of another sketch, given by its head and buckets.
    pub(super) fn merge(&mut self, head: SketchHead, places: &[i32], counts: &[u32]) {
        while self.head.level < head.level {
            self.collapse();
        }
        let used = usize::from(head.used);
        for (place, count) in places[..used].iter().zip(&counts[..used]) {
            self.add_at(*place, head.level, *count);
        }
    }

    /// Takes `count` values at a place of that level.
    #[inline]
    fn add_at(&mut self, place: i32, level: u8, count: u32) {
        loop {
            let used = usize::from(self.head.used);
            let own = coarser(place, self.head.level - level);
            match self.places[..used].binary_search(&own) {
                Ok(at) => {
                    self.counts[at] = self.counts[at].saturating_add(count);
                    return;
                }
                Err(at) if used < SKETCH_BUCKETS => {
                    self.places.copy_within(at..used, at + 1);
                    self.counts.copy_within(at..used, at + 1);
                    (self.places[at], self.counts[at]) = (own, count);
                    self.head.used += 1;
                    return;
                }
                Err(_) => self.collapse(),
            }
        }
    }

    /// One level up.
    #[cold]
    #[inline(never)]
    fn collapse(&mut self) {
        let mut kept = 0;
        for at in 0..usize::from(self.head.used) {
            let (place, count) = (coarser(self.places[at], 1), self.counts[at]);
            if kept > 0 && self.places[kept - 1] == place {
                self.counts[kept - 1] = self.counts[kept - 1].saturating_add(count);
            } else {
                (self.places[kept], self.counts[kept]) = (place, count);
                kept += 1;
            }
        }
        self.head.used = kept as u16;
        self.head.level += 1;
    }

    /// The value at a share of the ranks, in millionths: of `n` values in ascending order the one at
    /// ⌊share × (n − 1)⌋, as far as buckets tell. 0 of an empty sketch.
    pub(super) fn quantile(&self, mapping: &Mapping, millionths: u32) -> Fixed {
        let used = usize::from(self.head.used);
        let total: u64 = self.counts[..used].iter().map(|count| u64::from(*count)).sum();
        let rank = u128::from(total.saturating_sub(1)) * u128::from(millionths) / 1_000_000;
        let mut passed = 0u128;
        for (place, count) in self.places[..used].iter().zip(&self.counts[..used]) {
            passed += u128::from(*count);
            if passed > rank {
                return mapping.value(self.head.level, *place);
            }
        }
        Fixed(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Own {
        head: SketchHead,
        places: Vec<i32>,
        counts: Vec<u32>,
    }

    impl Own {
        fn new() -> Own {
            let head = SketchHead::default();
            Own { head, places: vec![0; SKETCH_BUCKETS], counts: vec![0; SKETCH_BUCKETS] }
        }

        fn of(mapping: &Mapping, values: &[i128]) -> Own {
            let mut own = Own::new();
            values.iter().for_each(|value| own.sketch().add(mapping, Fixed(*value)));
            own
        }

        fn sketch(&mut self) -> Sketch<'_> {
            Sketch { head: &mut self.head, places: &mut self.places, counts: &mut self.counts }
        }

        fn merge(&mut self, other: &Own) {
            self.sketch().merge(other.head, &other.places, &other.counts);
        }

        fn check(&mut self, mapping: &Mapping, values: &mut [i128]) {
            values.sort_unstable();
            for millionths in [0, 10_000, 500_000, 900_000, 999_999, 1_000_000] {
                let rank = (values.len() - 1) as u128 * u128::from(millionths) / 1_000_000;
                let exact = values[rank as usize];
                let found = self.sketch().quantile(mapping, millionths).0;
                // Units are whole numbers, so that what stands for a bucket is cut to one.
                let allowed = exact.unsigned_abs() as f64 * (mapping.error(self.head.level) + 1e-9) + 1.0;
                let off = (found - exact).unsigned_abs() as f64;
                assert!(off <= allowed, "{exact} found as {found} at level {}", self.head.level);
            }
        }
    }

    #[test]
    fn prices_that_stay_close_keep_the_finest_error() {
        let mapping = Mapping::new();
        let mut prices: Vec<i128> = (0..5_000).map(|step| 349_000_000_000 + step * 1_000_000).collect();
        let mut own = Own::of(&mapping, &prices);
        assert_eq!(own.head.level, 0);
        own.check(&mapping, &mut prices);
    }

    #[test]
    fn wide_ranges_end_at_the_stated_errors() {
        let mapping = Mapping::new();
        for (decades, level, error) in [(1, 6, 0.0064), (3, 8, 0.0256), (6, 9, 0.0512)] {
            let step = 10f64.powf(f64::from(decades) / 100_000.0);
            let mut values: Vec<i128> = (0..100_000).map(|n| (1e9 * step.powi(n)) as i128).collect();
            let mut own = Own::of(&mapping, &values);
            assert_eq!(own.head.level, level, "{decades} powers of ten");
            assert!(mapping.error(level) <= error, "{decades}: {}", mapping.error(level));
            own.check(&mapping, &mut values);
        }
    }

    /// The crate's own sketch, with the same mapping at level 0, as the peer.
    #[test]
    fn the_peer_says_the_same() {
        let mapping = Mapping::new();
        let mut peer = sketches_ddsketch::DDSketch::new(Config::new(FINEST_ERROR, 1 << 20, 1.0));
        let values: Vec<i128> = (0..2_000).map(|n| 1_000_000 + (n * n * 7) % 20_000).collect();
        values.iter().for_each(|value| peer.add(*value as f64));
        let mut own = Own::of(&mapping, &values);
        for millionths in [1, 250_000, 500_000, 990_000] {
            let share = f64::from(millionths) / 1e6;
            let said = peer.quantile(share).expect("a share").expect("has values");
            let found = own.sketch().quantile(&mapping, millionths).0;
            assert!((found as f64 - said).abs() <= 1.0, "{share}: {found}, the peer {said}");
        }
    }

    #[test]
    fn the_largest_values_of_both_signs_have_their_places() {
        let mapping = Mapping::new();
        let top = i128::from(i64::MAX) * 1_000_000_000;
        let mut values: Vec<i128> = (0..93).flat_map(|n| [top >> n, -(top >> n)]).collect();
        values.extend((0..4_000).map(|n| n * n * n * n * 31));
        values.push(0);
        let mut own = Own::of(&mapping, &values);
        own.check(&mapping, &mut values);
    }

    proptest! {
        #[test]
        fn quantiles_are_within_the_error_in_effect(
            mut values in proptest::collection::vec((any::<i64>(), 0u32..63), 1..2_000),
            cut in any::<proptest::sample::Index>(),
        ) {
            let mapping = Mapping::new();
            let mut values: Vec<i128> = values.drain(..).map(|(value, shift)| i128::from(value >> shift)).collect();
            let mut own = Own::of(&mapping, &values);
            own.check(&mapping, &mut values.clone());

            // Merged from two parts, it is as good.
            let (head, tail) = values.split_at(cut.index(values.len()));
            let (mut first, second) = (Own::of(&mapping, head), Own::of(&mapping, tail));
            first.merge(&second);
            prop_assert!(first.head.level >= second.head.level);
            first.check(&mapping, &mut values);
        }
    }
}
