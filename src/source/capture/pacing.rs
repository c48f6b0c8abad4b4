//! Hot path: when each replayed frame is due, and how far off it was.
//!
//! Invariant: due times count from the replay's start on one absolute clock and never decrease, so an error is
//! caught up and never added to the next one.

use std::str::FromStr;

use crate::event::Nanos;
use crate::ledger::LatencyRecorder;

/// Time between the last frame of one loop and the first of the next, for captures without extent: 1 ms.
const LOOP_GAP_NS: u64 = 1_000_000;

/// How fast a capture is replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Speed {
    /// With the gaps of the capture.
    Original,
    /// So many times as fast as it was captured; over 0.
    Factor(f64),
    /// So many frames per second, evenly; over 0.
    Pps(f64),
    /// As fast as what takes the frames can.
    #[default]
    Max,
}

/// A speed that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no replay speed: give original, max, a factor like 10x or 0.5x, or a rate like 50000pps")]
pub struct SpeedError(String);

impl FromStr for Speed {
    type Err = SpeedError;

    fn from_str(text: &str) -> Result<Speed, SpeedError> {
        let positive = |number: &str| match number.parse::<f64>() {
            Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
            _ => Err(SpeedError(text.to_owned())),
        };
        match text {
            "original" => Ok(Speed::Original),
            "max" => Ok(Speed::Max),
            _ => match (text.strip_suffix("pps"), text.strip_suffix('x')) {
                (Some(rate), _) => positive(rate).map(Speed::Pps),
                (None, Some(factor)) => positive(factor).map(Speed::Factor),
                (None, None) => Err(SpeedError(text.to_owned())),
            },
        }
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Speed::Original => formatter.write_str("original"),
            Speed::Factor(factor) => write!(formatter, "{factor}x"),
            Speed::Pps(rate) => write!(formatter, "{rate}pps"),
            Speed::Max => formatter.write_str("max"),
        }
    }
}

/// Maps the frames of a capture, in their order, to due times.
#[derive(Clone, Debug)]
pub struct Pacer {
    speed: Speed,
    /// Frames asked for so far, over all loops.
    frames: u64,
    /// Frames of this loop.
    loop_frames: u64,
    /// Capture time at which this loop began.
    loop_base_ns: Option<Nanos>,
    /// How far into this loop the frames have come, in capture time.
    loop_span_ns: u64,
    /// Capture time that passed in earlier loops.
    earlier_ns: u64,
}

impl Pacer {
    /// A pacer before its first frame.
    pub fn new(speed: Speed) -> Pacer {
        Pacer { speed, frames: 0, loop_frames: 0, loop_base_ns: None, loop_span_ns: 0, earlier_ns: 0 }
    }

    /// When the next frame is due, ns after the start; `None` at maximum speed. A frame that was captured before
    /// its predecessor (or at an unknown time, 0) is due together with it.
    #[inline]
    pub fn due_ns(&mut self, capture_ns: Nanos) -> Option<u64> {
        let index = self.frames;
        self.frames += 1;
        self.loop_frames += 1;
        match self.speed {
            Speed::Max => None,
            // A float has the digits for 100 days of nanoseconds.
            Speed::Pps(rate) => Some((index as f64 * 1e9 / rate) as u64),
            Speed::Original => Some(self.elapsed_ns(capture_ns)),
            Speed::Factor(factor) => Some((self.elapsed_ns(capture_ns) as f64 / factor) as u64),
        }
    }

    /// The capture starts again: its first frame follows the last one at the mean gap of the loop that ended.
    pub fn next_loop(&mut self) {
        let gaps = self.loop_frames.saturating_sub(1);
        let mean_ns = self.loop_span_ns.checked_div(gaps).unwrap_or(0);
        self.earlier_ns += self.loop_span_ns + if mean_ns == 0 { LOOP_GAP_NS } else { mean_ns };
        self.loop_base_ns = None;
        self.loop_span_ns = 0;
        self.loop_frames = 0;
    }

    /// Capture time since the first loop's first frame.
    #[inline]
    fn elapsed_ns(&mut self, capture_ns: Nanos) -> u64 {
        if capture_ns != 0 {
            let base_ns = *self.loop_base_ns.get_or_insert(capture_ns);
            self.loop_span_ns = self.loop_span_ns.max(capture_ns.saturating_sub(base_ns));
        }
        self.earlier_ns + self.loop_span_ns
    }
}

/// How well the due times were kept.
#[derive(Clone, Debug, Default)]
pub struct PacingReport {
    /// Distance between each frame's due time and the time at which it was handed over, ns.
    pub error: LatencyRecorder,
    /// The last frame's distance, signed: positive is late. What is left of all errors: they do not add up.
    pub drift_ns: i64,
}

impl PacingReport {
    /// Records that a frame due at `due` was handed over at `at`, on the same clock.
    #[inline]
    pub fn record(&mut self, due: Nanos, at: Nanos) {
        self.error.record(at.abs_diff(due));
        self.drift_ns = at.wrapping_sub(due) as i64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dues(pacer: &mut Pacer, times: &[u64]) -> Vec<u64> {
        times.iter().map(|time| pacer.due_ns(*time).expect("it is paced")).collect()
    }

    #[test]
    fn speeds_are_read_and_written() {
        for (text, speed) in [
            ("original", Speed::Original),
            ("max", Speed::Max),
            ("10x", Speed::Factor(10.0)),
            ("0.5x", Speed::Factor(0.5)),
            ("50000pps", Speed::Pps(50_000.0)),
        ] {
            assert_eq!(text.parse(), Ok(speed));
            assert_eq!(speed.to_string(), text);
        }
        for text in ["", "x", "0x", "-1x", "infx", "NaNx", "fast", "10", "0pps"] {
            assert!(text.parse::<Speed>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_original_gaps_are_kept_and_backward_records_are_due_at_once() {
        let times = [5_000, 5_100, 5_050, 0, 5_400];
        assert_eq!(dues(&mut Pacer::new(Speed::Original), &times), [0, 100, 100, 100, 400]);
        assert_eq!(dues(&mut Pacer::new(Speed::Factor(2.0)), &times), [0, 50, 50, 50, 200]);
        assert_eq!(dues(&mut Pacer::new(Speed::Factor(0.5)), &times), [0, 200, 200, 200, 800]);
        assert_eq!(Pacer::new(Speed::Max).due_ns(5_000), None);
    }

    #[test]
    fn a_rate_is_kept_without_adding_up_its_rounding() {
        let mut pacer = Pacer::new(Speed::Pps(3.0));
        assert_eq!(dues(&mut pacer, &[9, 8, 7, 6]), [0, 333_333_333, 666_666_666, 1_000_000_000]);
        pacer.next_loop();
        assert_eq!(dues(&mut pacer, &[9]), [1_333_333_333]);
    }

    #[test]
    fn loops_go_on_at_the_mean_gap() {
        let mut pacer = Pacer::new(Speed::Original);
        assert_eq!(dues(&mut pacer, &[100, 110, 160]), [0, 10, 60]);
        pacer.next_loop();
        assert_eq!(dues(&mut pacer, &[100, 110, 160]), [90, 100, 150]);
        pacer.next_loop();
        assert_eq!(dues(&mut pacer, &[100]), [180]);
        let mut single = Pacer::new(Speed::Original);
        assert_eq!(dues(&mut single, &[7]), [0]);
        single.next_loop();
        assert_eq!(dues(&mut single, &[7]), [LOOP_GAP_NS]);
    }

    #[test]
    fn the_report_tells_error_and_drift() {
        let mut report = PacingReport::default();
        report.record(1_000, 1_050);
        report.record(2_000, 2_010);
        report.record(3_000, 2_999);
        assert_eq!(report.drift_ns, -1);
        assert_eq!(report.error.percentiles().max, 50);
        assert_eq!(report.error.percentiles().count, 3);
    }
}
