//! The memory of a definition's panes, taken at once.
//!
//! Invariant: every key has the same number of panes, and every pane its own sketch where there are quantiles; memory that
//! no key has used yet is not touched.

use super::pane::{Pane, Totals};
use super::sketch::{Sketch, SketchHead};
use crate::limits::SKETCH_BUCKETS;

/// Panes of all keys.
pub(super) struct PaneStore {
    panes: Vec<Pane>,
    heads: Vec<SketchHead>,
    places: Vec<i32>,
    counts: Vec<u32>,
    panes_of_key: usize,
}

impl PaneStore {
    /// Room for `keys` keys of `panes_of_key` panes each.
    pub(super) fn allocate(keys: usize, panes_of_key: usize, with_sketches: bool) -> PaneStore {
        let panes = keys * panes_of_key;
        let buckets = if with_sketches { panes * SKETCH_BUCKETS } else { 0 };
        PaneStore {
            panes: vec![Pane::UNUSED; panes],
            heads: vec![SketchHead::default(); if with_sketches { panes } else { 0 }],
            places: vec![0; buckets],
            counts: vec![0; buckets],
            panes_of_key,
        }
    }

    #[inline]
    fn place(&self, key: u32, number: u64) -> usize {
        key as usize * self.panes_of_key + (number % self.panes_of_key as u64) as usize
    }

    /// What a key's pane of that number holds, if it holds anything.
    #[inline]
    pub(super) fn get(&self, key: u32, number: u64) -> Option<&Totals> {
        self.panes[self.place(key, number)].totals(number)
    }

    /// A key's pane of that number, made empty if it was another one's; and its sketch.
    #[inline]
    pub(super) fn open(&mut self, key: u32, number: u64) -> (&mut Totals, Option<Sketch<'_>>) {
        let place = self.place(key, number);
        let pane = &mut self.panes[place];
        let head = self.heads.get_mut(place);
        let (totals, is_new) = pane.open(number);
        let buckets = place * SKETCH_BUCKETS..(place + 1) * SKETCH_BUCKETS;
        let sketch = head.map(|head| {
            if is_new {
                *head = SketchHead::default();
            }
            Sketch { head, places: &mut self.places[buckets.clone()], counts: &mut self.counts[buckets] }
        });
        (totals, sketch)
    }

    /// Adds a pane's sketch to `sum`.
    pub(super) fn merge_sketch(&self, key: u32, number: u64, sum: &mut Sketch<'_>) {
        let place = self.place(key, number);
        let Some(head) = self.heads.get(place) else { return };
        let buckets = place * SKETCH_BUCKETS..(place + 1) * SKETCH_BUCKETS;
        sum.merge(*head, &self.places[buckets.clone()], &self.counts[buckets]);
    }
}

/// A sketch of its own, for sums.
pub(super) struct Scratch {
    head: SketchHead,
    places: Vec<i32>,
    counts: Vec<u32>,
}

impl Scratch {
    /// An empty one.
    pub(super) fn allocate() -> Scratch {
        let head = SketchHead::default();
        Scratch { head, places: vec![0; SKETCH_BUCKETS], counts: vec![0; SKETCH_BUCKETS] }
    }

    /// The sketch, emptied.
    pub(super) fn emptied(&mut self) -> Sketch<'_> {
        self.head = SketchHead::default();
        Sketch { head: &mut self.head, places: &mut self.places, counts: &mut self.counts }
    }
}
