//! A percentile curve in block characters: percentiles by nines to the right, latency by logarithm upwards.

use super::run::{Curve, Report};
use super::text::{Style, duration};
use std::fmt::Write as _;

const COLUMNS: usize = 60;
const ROWS: usize = 8;
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// More nines than five can't be told from the maximum in this width.
const NINES_MAX: f64 = 5.0;

/// How many nines a percentile has: 0 for 0 %, 1 for 90 %, 2 for 99 % …
pub(super) fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).max(1e-9).log10()
}

/// The percentile with this many nines.
pub(super) fn percentile(nines: f64) -> f64 {
    100.0 * (1.0 - 10f64.powf(-nines))
}

impl Curve {
    /// How many nines its values can tell apart, from 1 to `max`: as many as their number has digits behind
    /// the first.
    pub(super) fn nines(&self, max: f64) -> f64 {
        (self.count as f64).log10().clamp(1.0, max)
    }
}

/// The value of a curve at a percentile: that of its first point at or beyond it.
fn value_at(curve: &[(f64, u64)], percentile: f64) -> u64 {
    let point = curve.iter().find(|(at, _)| *at >= percentile).or(curve.last());
    point.map_or(0, |(_, ns)| *ns)
}

/// The curve of the last measured stage (wire to processed, if it was measured) as text; empty if none was.
pub fn text_plot(report: &Report, style: Style) -> String {
    let Some(curve) = report.curves.last() else { return String::new() };
    let title = format!("{} by percentile", curve.name.replace('_', " "));
    format!("{}\n{}", style.heading(&title), draw(curve))
}

fn draw(curve: &Curve) -> String {
    let span = curve.nines(NINES_MAX);
    let mut values: Vec<u64> = (0..COLUMNS)
        .map(|column| value_at(&curve.points, percentile(span * column as f64 / (COLUMNS - 1) as f64)).max(1))
        .collect();
    // The right edge is the maximum, also where there are more nines than fit.
    values[COLUMNS - 1] = value_at(&curve.points, 100.0).max(1);
    let (low, high) = (values[0], values[COLUMNS - 1]);
    let (log_low, log_high) = ((low as f64).ln(), (high as f64).ln());
    // In eighths of a row; the lowest value still shows.
    let height = |ns: u64| {
        let share = match log_high > log_low {
            true => ((ns as f64).ln() - log_low) / (log_high - log_low),
            false => 0.0,
        };
        1 + (share * (ROWS * 8 - 1) as f64).round() as usize
    };
    let heights: Vec<usize> = values.into_iter().map(height).collect();
    let mut out = String::new();
    for row in (0..ROWS).rev() {
        let middle = ((log_low + log_high) / 2.0).exp() as u64;
        let label = match row {
            0 => duration(low),
            _ if row == ROWS - 1 => duration(high),
            _ if row == ROWS / 2 => duration(middle),
            _ => String::new(),
        };
        let bar: String =
            heights.iter().map(|eighths| BLOCKS[eighths.saturating_sub(row * 8).min(8)]).collect();
        writeln!(out, "  {label:>8} │{}", bar.trim_end()).expect("writing to a String cannot fail");
    }
    out + &axis(span)
}

/// The axis, with a label below each whole number of nines and at 50 %.
fn axis(span: f64) -> String {
    let mut labels = vec![' '; COLUMNS + 8];
    let marks =
        [(0.0, "0%"), (50.0, "50%"), (90.0, "90%"), (99.0, "99%"), (99.9, "99.9%"), (99.99, "99.99%")];
    let mut rule: Vec<char> = vec!['─'; COLUMNS];
    let mut free = 0;
    for (at, text) in marks {
        let column = (nines(at) / span * (COLUMNS - 1) as f64).round() as usize;
        if nines(at) > span + 1e-6 || column < free {
            continue;
        }
        rule[column] = '┬';
        text.chars().enumerate().for_each(|(index, c)| labels[column + index] = c);
        free = column + text.len() + 1;
    }
    let rule: String = rule.into_iter().collect();
    let labels: String = labels.into_iter().collect();
    format!("  {:>8} └{rule}\n  {:>8}  {}\n", "", "", labels.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::LatencyRecorder;

    fn curve_of(recorder: &LatencyRecorder) -> Curve {
        Curve { name: "a_stage", points: recorder.curve(), count: recorder.percentiles().count }
    }

    #[test]
    fn nines_and_percentiles_are_inverse() {
        for (p, n) in [(0.0, 0.0), (90.0, 1.0), (99.0, 2.0), (99.9, 3.0)] {
            assert!((nines(p) - n).abs() < 1e-9);
            assert!((percentile(n) - p).abs() < 1e-9);
        }
        assert!(nines(100.0) <= 9.0);
    }

    #[test]
    fn the_curve_rises_from_the_least_to_the_largest() {
        let mut recorder = LatencyRecorder::default();
        (0..10_000).for_each(|n| recorder.record(1_000 + n));
        recorder.record(1_000_000);
        let plot = draw(&curve_of(&recorder));
        let lines: Vec<&str> = plot.lines().collect();
        assert_eq!(lines.len(), ROWS + 2);
        let bars: Vec<&str> =
            lines[..ROWS].iter().filter_map(|line| line.split_once('│')).map(|(_, b)| b).collect();
        let filled = bars.iter().map(|bar| bar.chars().filter(|c| *c != ' ').count());
        let filled: Vec<usize> = filled.collect();
        assert!(filled.is_sorted() && filled[ROWS - 1] == COLUMNS, "{plot}");
        assert!(lines[0].contains("ms") && lines[ROWS - 1].contains("1.00 µs"), "{plot}");
        assert!(lines[ROWS + 1].contains("50%") && lines[ROWS + 1].contains("99.9%"), "{plot}");
    }

    #[test]
    fn one_value_is_a_flat_curve() {
        let mut recorder = LatencyRecorder::default();
        recorder.record(500);
        let plot = draw(&curve_of(&recorder));
        assert_eq!(plot.lines().count(), ROWS + 2, "{plot}");
        assert!(
            plot.lines().nth(ROWS - 1).is_some_and(|line| line.matches('▁').count() == COLUMNS),
            "{plot}"
        );
    }
}
