//! Hot path: the windows of one definition: keys, panes, the watermark, and what closes.
//!
//! Invariant: a window of a key goes out once when the watermark has passed its end, with all that came until then;
//! behind that only as a correction.

use super::book::DefinitionBook;
use super::closed::ClosedWindow;
use super::geometry::Geometry;
use super::key::{KeyTable, KeyView};
use super::pane::{Sample, Totals};
use super::sketch::Mapping;
use super::store::{PaneStore, Scratch};
use super::timeline::EventTime;
use crate::config::WindowDefinition;
use crate::event::Nanos;

/// The windows of one definition.
pub(super) struct Windows {
    index: u16,
    geometry: Geometry,
    lateness_ns: Nanos,
    correction_ns: Nanos,
    quantiles: Box<[u32]>,
    mapping: Mapping,
    /// The latest event time.
    newest_ns: Nanos,
    watermark_ns: Nanos,
    /// Windows below this are closed.
    closed_below: u64,
    /// Windows below this are closed and not corrected any more.
    over_below: u64,
    /// When the last event came, on the monotonic clock, if its clock goes on without events.
    live_ns: Option<Nanos>,
    keys: KeyTable,
    store: PaneStore,
    scratch: Scratch,
    pub(super) book: DefinitionBook,
}

/// No room for another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

fn nanos(duration: std::time::Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

impl Windows {
    /// Takes the memory of a definition.
    pub(super) fn allocate(index: u16, settings: &WindowDefinition) -> Windows {
        let geometry = Geometry::new(nanos(settings.length), nanos(settings.slide));
        let (lateness_ns, correction_ns) = (nanos(settings.lateness), settings.correction.map_or(0, nanos));
        let panes = geometry.panes_in_use(lateness_ns.saturating_add(correction_ns)) as usize;
        Windows {
            index,
            geometry,
            lateness_ns,
            correction_ns,
            quantiles: settings.quantiles.as_slice().into(),
            mapping: Mapping::new(),
            newest_ns: 0,
            watermark_ns: 0,
            closed_below: 0,
            over_below: 0,
            live_ns: None,
            keys: KeyTable::allocate(settings.keys_max),
            store: PaneStore::allocate(settings.keys_max, panes, !settings.quantiles.is_empty()),
            scratch: Scratch::allocate(),
            book: DefinitionBook::default(),
        }
    }

    /// Moves the watermark by an event's time.
    #[inline]
    pub(super) fn advance(&mut self, time: &EventTime, now: Nanos, closed: &mut impl FnMut(&ClosedWindow)) {
        self.book.future += u64::from(time.is_future);
        self.live_ns = time.is_live.then_some(now);
        if time.at_ns > self.newest_ns {
            self.newest_ns = time.at_ns;
            self.raise(time.at_ns.saturating_sub(self.lateness_ns), closed);
        }
    }

    /// Moves the watermark by the time that went by without events, if their clock goes on.
    pub(super) fn turn(&mut self, now: Nanos, closed: &mut impl FnMut(&ClosedWindow)) {
        let Some(live_ns) = self.live_ns else { return };
        let reached_ns = self.newest_ns.saturating_add(now.saturating_sub(live_ns));
        self.raise(reached_ns.saturating_sub(self.lateness_ns), closed);
    }

    /// Closes all windows.
    pub(super) fn finish(&mut self, closed: &mut impl FnMut(&ClosedWindow)) {
        let last = self.geometry.last_window(self.geometry.pane_at(self.newest_ns));
        self.raise(self.geometry.end_ns(last), closed);
    }

    /// Whether an event of that time is too late for all of its windows.
    #[inline]
    pub(super) fn is_late(&self, at_ns: Nanos) -> bool {
        self.geometry.last_window(self.geometry.pane_at(at_ns)) < self.over_below
    }

    /// Whether an event of that time is too late for some of its windows.
    #[inline]
    pub(super) fn is_partly_late(&self, at_ns: Nanos) -> bool {
        self.geometry.first_window(self.geometry.pane_at(at_ns)) < self.over_below
    }

    /// Adds what an event gives that is not late.
    ///
    /// # Errors
    /// There is no room for its key.
    #[inline]
    pub(super) fn take(
        &mut self,
        key: KeyView<'_>,
        sample: &Sample,
        closed: &mut impl FnMut(&ClosedWindow),
    ) -> Result<(), NoRoom> {
        let Some(slot) = self.keys.slot(key) else {
            self.book.keys_full += 1;
            return Err(NoRoom);
        };
        let pane = self.geometry.pane_at(sample.at_ns);
        if self.store.get(slot, pane).is_none() {
            self.open(slot, pane);
        }
        let (totals, sketch) = self.store.open(slot, pane);
        totals.add(sample);
        if let (Some(mut sketch), Some(value)) = (sketch, sample.value) {
            sketch.add(&self.mapping, value);
        }
        if self.geometry.first_window(pane) < self.closed_below {
            self.correct(slot, pane, closed);
        }
        Ok(())
    }

    /// Counts the windows that a pane is the first one of with something in it.
    #[cold]
    #[inline(never)]
    fn open(&mut self, slot: u32, pane: u64) {
        let geometry = self.geometry;
        let neighbours = geometry.length_ns / geometry.pane_ns - 1;
        let mut first = geometry.first_window(pane).max(self.closed_below);
        let mut behind = geometry.last_window(pane).saturating_add(1);
        let in_use = |other: &u64| self.store.get(slot, *other).is_some();
        if let Some(before) = (pane.saturating_sub(neighbours)..pane).rev().find(in_use) {
            first = first.max(geometry.last_window(before).saturating_add(1));
        }
        let last = pane.saturating_add(neighbours).min(self.keys.last_pane(slot));
        if let Some(after) = (pane.saturating_add(1)..=last).find(in_use) {
            behind = behind.min(geometry.first_window(after));
        }
        self.keys.touch(slot, pane);
        self.book.opened += behind.saturating_sub(first);
        self.book.open_max = self.book.open_max.max(self.book.open());
        self.book.keys_max = self.book.keys_max.max(self.keys.active().len() as u64);
    }

    /// Moves the watermark, and closes what it passes.
    #[inline]
    fn raise(&mut self, watermark_ns: Nanos, closed: &mut impl FnMut(&ClosedWindow)) {
        if watermark_ns <= self.watermark_ns {
            return;
        }
        self.watermark_ns = watermark_ns;
        let ended = self.geometry.ended(watermark_ns);
        let over = self.geometry.ended(watermark_ns.saturating_sub(self.correction_ns));
        if ended > self.closed_below || over > self.over_below {
            self.close_below(ended, over, closed);
        }
    }

    #[cold]
    #[inline(never)]
    fn close_below(&mut self, ended: u64, over: u64, closed: &mut impl FnMut(&ClosedWindow)) {
        while self.closed_below < ended {
            // Behind the last window with something in it, a pause of any length costs nothing.
            if self.keys.active().is_empty() {
                self.closed_below = ended;
                break;
            }
            self.close(self.closed_below, closed);
            self.closed_below += 1;
            self.free_keys(over.min(self.closed_below));
        }
        self.over_below = self.over_below.max(over);
        self.free_keys(self.over_below);
    }

    /// Frees the keys that have nothing from this window on.
    fn free_keys(&mut self, window: u64) {
        let geometry = self.geometry;
        self.keys.free_where(|last_pane| geometry.last_window(last_pane) < window);
    }

    fn close(&mut self, window: u64, closed: &mut impl FnMut(&ClosedWindow)) {
        let panes = self.geometry.panes(window);
        for place in 0..self.keys.active().len() {
            let slot = self.keys.active()[place];
            if self.keys.last_pane(slot) >= panes.start
                && let Some(found) = self.summed(slot, window, false)
            {
                self.book.closed += 1;
                closed(&found);
            }
        }
    }

    /// Tells the closed windows of a pane anew.
    #[cold]
    #[inline(never)]
    fn correct(&mut self, slot: u32, pane: u64, closed: &mut impl FnMut(&ClosedWindow)) {
        let first = self.geometry.first_window(pane).max(self.over_below);
        let behind = self.geometry.last_window(pane).saturating_add(1).min(self.closed_below);
        for window in first..behind {
            if let Some(found) = self.summed(slot, window, true) {
                self.book.corrections += 1;
                closed(&found);
            }
        }
    }

    /// A window as the sum of its panes; `None` when there is nothing in it.
    fn summed(&mut self, slot: u32, window: u64, is_correction: bool) -> Option<ClosedWindow> {
        let panes = self.geometry.panes(window);
        let mut sum = Totals::EMPTY;
        panes.clone().filter_map(|pane| self.store.get(slot, pane)).for_each(|totals| sum.merge(totals));
        if sum.is_empty() {
            return None;
        }
        let mut aggregates = sum.aggregates();
        if let (Some(min), Some(max), [_, ..]) = (aggregates.min, aggregates.max, &*self.quantiles) {
            let mut sketch = self.scratch.emptied();
            for pane in panes.filter(|pane| self.store.get(slot, *pane).is_some()) {
                self.store.merge_sketch(slot, pane, &mut sketch);
            }
            for share in &self.quantiles {
                let value = sketch.quantile(&self.mapping, *share).clamp(min, max);
                aggregates.quantiles.push(*share, value);
            }
            aggregates.quantile_error = self.mapping.error(sketch.head.level);
        }
        Some(ClosedWindow {
            definition: self.index,
            is_correction,
            key: self.keys.key(slot),
            start_ns: self.geometry.start_ns(window),
            end_ns: self.geometry.end_ns(window),
            aggregates,
        })
    }
}
