//! Latencies: one histogram a writer, merged off the hot path.

use hdrhistogram::Histogram;

/// Longest latency told apart, 100 s; longer ones count as this.
const LATENCY_NS_MAX: u64 = 100_000_000_000;

/// Two digits keep a histogram at 30 KiB, inside an L2 cache; a record costs some 2.5 ns.
const DIGITS: u8 = 2;

/// A preallocated histogram of nanoseconds with one writer.
#[derive(Clone, Debug)]
pub struct LatencyRecorder {
    histogram: Histogram<u64>,
}

/// Percentiles of a histogram, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Percentiles {
    /// Half of the values are at most this.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// The largest value.
    pub max: u64,
    /// How many values there are.
    pub count: u64,
}

impl Default for LatencyRecorder {
    fn default() -> LatencyRecorder {
        let histogram =
            Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS).expect("constant bounds are valid");
        LatencyRecorder { histogram }
    }
}

impl LatencyRecorder {
    /// Records one latency in ns.
    #[inline]
    pub fn record(&mut self, latency_ns: u64) {
        self.histogram.saturating_record(latency_ns);
    }

    /// Records the same latency, ns, of `count` events.
    #[inline]
    pub fn record_many(&mut self, latency_ns: u64, count: u64) {
        self.histogram.saturating_record_n(latency_ns, count);
    }

    /// Adds another recorder's values.
    pub fn absorb(&mut self, other: &LatencyRecorder) {
        self.histogram.add(&other.histogram).expect("recorders have equal bounds");
    }

    /// Forgets all values.
    pub fn clear(&mut self) {
        self.histogram.reset();
    }

    /// The 99th percentile; `None` without values.
    pub fn p99(&self) -> Option<u64> {
        (!self.histogram.is_empty()).then(|| self.histogram.value_at_quantile(0.99))
    }

    /// Its percentiles.
    pub fn percentiles(&self) -> Percentiles {
        if self.histogram.is_empty() {
            return Percentiles::default();
        }
        Percentiles {
            p50: self.histogram.value_at_quantile(0.5),
            p90: self.histogram.value_at_quantile(0.9),
            p99: self.histogram.value_at_quantile(0.99),
            p999: self.histogram.value_at_quantile(0.999),
            max: self.histogram.max(),
            count: self.histogram.len(),
        }
    }

    /// Points of the percentile curve for a plot: (percentile 0..=100, ns), rising.
    pub fn curve(&self) -> Vec<(f64, u64)> {
        self.histogram
            .iter_quantiles(5)
            .map(|step| (step.quantile_iterated_to() * 100.0, step.value_iterated_to()))
            .collect()
    }
}

/// Latencies of the present interval, and of all: one record for both. Closing an interval costs a few µs.
#[derive(Clone, Debug, Default)]
pub struct IntervalRecorder {
    interval: LatencyRecorder,
    closed: LatencyRecorder,
}

impl IntervalRecorder {
    /// Records one latency in ns.
    #[inline]
    pub fn record(&mut self, latency_ns: u64) {
        self.interval.record(latency_ns);
    }

    /// Records the same latency, ns, of `count` events.
    #[inline]
    pub fn record_many(&mut self, latency_ns: u64, count: u64) {
        self.interval.record_many(latency_ns, count);
    }

    /// Ends the interval and begins another; the 99th percentile of the ended one, if it had values.
    pub fn close_interval(&mut self) -> Option<u64> {
        let p99 = self.interval.p99()?;
        self.closed.absorb(&self.interval);
        self.interval.clear();
        Some(p99)
    }

    /// The latencies of all intervals.
    pub fn into_all(mut self) -> LatencyRecorder {
        self.close_interval();
        self.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_known_values() {
        let mut recorder = LatencyRecorder::default();
        assert_eq!(recorder.percentiles().count, 0);
        (1..=100).for_each(|ns| recorder.record(ns));
        recorder.record(u64::MAX);
        let percentiles = recorder.percentiles();
        assert_eq!(percentiles.p50, 51);
        assert_eq!(percentiles.count, 101);
        assert!(percentiles.max >= LATENCY_NS_MAX);
        recorder.record_many(1_000, 0);
        assert_eq!(recorder.percentiles().count, 101);
        let mut twice = recorder.clone();
        twice.absorb(&recorder);
        assert_eq!(twice.percentiles().count, 202);
    }

    #[test]
    fn intervals_have_percentiles_of_their_own_and_add_up() {
        let mut recorder = IntervalRecorder::default();
        assert_eq!(recorder.close_interval(), None);
        recorder.record_many(100, 50);
        assert_eq!(recorder.close_interval(), Some(100));
        recorder.record(10);
        assert_eq!(recorder.close_interval(), Some(10));
        assert_eq!(recorder.close_interval(), None, "nothing came since");
        recorder.record(5);
        assert_eq!(recorder.into_all().percentiles().count, 52);
    }
}
