//! Hot path: what is added up of the events of a pane, and of the panes of a window.
//!
//! Invariant: sums are exact, in whole units of 10⁻⁹, or say that they are not.

use super::closed::Aggregates;
use super::fixed::{self, Fixed};
use crate::event::Nanos;
use crate::limits::WINDOW_PANE_BYTES;

/// What an event gives to a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// When it happened, ns since the Unix epoch.
    pub(super) at_ns: Nanos,
    /// A trade's price, or the value that the event carries.
    pub(super) value: Option<Fixed>,
    /// A trade's size; 0 for others.
    pub(super) size: u64,
    /// Bytes of its message; 0 for a message's entries behind the first.
    pub(super) bytes: u64,
}

/// Sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    count: u64,
    values: u64,
    bytes: u64,
    volume: i128,
    /// The volume of what had a price.
    priced: i128,
    sum: i128,
    notional: i128,
    min: Fixed,
    max: Fixed,
    last: Fixed,
    last_ns: Nanos,
    exact: bool,
}

impl Totals {
    /// Of nothing.
    pub(super) const EMPTY: Totals = Totals {
        count: 0,
        values: 0,
        bytes: 0,
        volume: 0,
        priced: 0,
        sum: 0,
        notional: 0,
        min: Fixed(i128::MAX),
        max: Fixed(i128::MIN),
        last: Fixed(0),
        last_ns: 0,
        exact: true,
    };

    /// Adds a sample.
    #[inline]
    pub(super) fn add(&mut self, sample: &Sample) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(sample.bytes);
        let size = i128::from(sample.size);
        fixed::add(&mut self.volume, Some(size), &mut self.exact);
        let Some(value) = sample.value else { return };
        self.values += 1;
        fixed::add(&mut self.sum, Some(value.0), &mut self.exact);
        fixed::add(&mut self.priced, Some(size), &mut self.exact);
        fixed::add(&mut self.notional, value.0.checked_mul(size), &mut self.exact);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        if sample.at_ns >= self.last_ns {
            (self.last, self.last_ns) = (value, sample.at_ns);
        }
    }

    /// Adds what another pane holds, of times behind all here.
    #[inline]
    pub(super) fn merge(&mut self, later: &Totals) {
        self.count += later.count;
        self.values += later.values;
        self.bytes = self.bytes.saturating_add(later.bytes);
        self.exact &= later.exact;
        for (sum, more) in [
            (&mut self.volume, later.volume),
            (&mut self.priced, later.priced),
            (&mut self.sum, later.sum),
            (&mut self.notional, later.notional),
        ] {
            fixed::add(sum, Some(more), &mut self.exact);
        }
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        if later.values > 0 {
            (self.last, self.last_ns) = (later.last, later.last_ns);
        }
    }

    /// Whether nothing was added.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// As windows tell them.
    pub(super) fn aggregates(&self) -> Aggregates {
        let of_values = |fixed| (self.values > 0).then_some(fixed);
        Aggregates {
            count: self.count,
            values: self.values,
            bytes: self.bytes,
            volume: self.volume,
            sum: Fixed(self.sum),
            min: of_values(self.min),
            max: of_values(self.max),
            last: of_values(self.last),
            mean: self.sum.checked_div(i128::from(self.values)).map(Fixed),
            vwap: self.notional.checked_div(self.priced).map(Fixed),
            is_exact: self.exact,
            ..Aggregates::default()
        }
    }
}

/// A pane of a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pane {
    /// Its number + 1; 0 while there is none.
    number: u64,
    totals: Totals,
}

const _: () = assert!(size_of::<Pane>() <= WINDOW_PANE_BYTES);

impl Pane {
    /// One that holds nothing yet.
    pub(super) const UNUSED: Pane = Pane { number: 0, totals: Totals::EMPTY };

    /// What the pane of that number holds, if this is it.
    #[inline]
    pub(super) fn totals(&self, number: u64) -> Option<&Totals> {
        (self.number == number.wrapping_add(1)).then_some(&self.totals)
    }

    /// Makes this the pane of that number, and says whether it was another one.
    #[inline]
    pub(super) fn open(&mut self, number: u64) -> (&mut Totals, bool) {
        let is_new = self.number != number.wrapping_add(1);
        if is_new {
            *self = Pane { number: number.wrapping_add(1), totals: Totals::EMPTY };
        }
        (&mut self.totals, is_new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ns: u64, units: i128, size: u64) -> Sample {
        Sample { at_ns, value: Some(Fixed(units)), size, bytes: 10 }
    }

    #[test]
    fn trades_add_up_exactly() {
        let mut totals = Totals::EMPTY;
        [sample(5, 100, 3), sample(9, 101, 1), sample(7, 90, 0)].iter().for_each(|s| totals.add(s));
        totals.add(&Sample { value: None, ..sample(20, 0, 50) });
        let found = totals.aggregates();
        assert_eq!((found.count, found.values, found.bytes, found.volume), (4, 3, 40, 54));
        assert_eq!((found.min, found.max), (Some(Fixed(90)), Some(Fixed(101))));
        assert_eq!(found.last, Some(Fixed(101)), "by time, not by arrival");
        assert_eq!((found.sum, found.mean), (Fixed(291), Some(Fixed(97))));
        assert_eq!(found.vwap, Some(Fixed((300 + 101) / 4)), "of what had a price");
    }

    #[test]
    fn without_values_there_is_no_mean() {
        let mut totals = Totals::EMPTY;
        totals.add(&Sample { value: None, ..sample(1, 0, 0) });
        let found = totals.aggregates();
        assert_eq!((found.min, found.max, found.last), (None, None, None));
        assert_eq!((found.mean, found.vwap), (None, None));
    }

    #[test]
    fn sums_that_leave_their_range_say_so() {
        let mut totals = Totals::EMPTY;
        let large = i128::from(i64::MAX) * 1_000_000_000;
        totals.add(&sample(1, large, u64::MAX));
        assert!(!totals.aggregates().is_exact);
        let mut sum = Totals::EMPTY;
        sum.add(&sample(1, 5, 1));
        assert!(sum.aggregates().is_exact);
        sum.merge(&totals);
        assert!(!sum.aggregates().is_exact);
    }

    #[test]
    fn a_pane_of_another_number_is_made_empty() {
        let mut pane = Pane::UNUSED;
        assert!(pane.totals(0).is_none());
        assert!(pane.open(0).1 && !pane.open(0).1);
        pane.open(0).0.add(&sample(1, 1, 1));
        assert!(pane.totals(0).is_some_and(|totals| !totals.is_empty()));
        assert!(pane.open(4).0.is_empty() && pane.totals(0).is_none());
    }
}
