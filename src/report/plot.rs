//! The latency plot as SVG: percentiles by nines to the right, latency by logarithm upwards, one line per
//! stage.

use super::curve::nines;
use super::error::ReportError;
use super::json::write_atomically;
use super::run::{Curve, Report};
use super::text::duration;
use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

const SIZE: (u32, u32) = (900, 520);
const NINES_MAX: f64 = 6.0;
/// Told apart also by those who see no red or no green.
const COLOURS: [RGBColor; 3] = [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 128, 96)];

/// The latency plot of a report.
///
/// # Errors
/// It can't be drawn.
pub fn latency_svg(report: &Report) -> Result<String, ReportError> {
    let mut svg = String::new();
    draw(&report.curves, &mut svg).map_err(|error| ReportError::Plot(error.to_string()))?;
    Ok(svg)
}

/// Writes the latency plot of a report to `path`, atomically.
///
/// # Errors
/// It can't be drawn or written.
pub fn write_plot(path: &Path, report: &Report) -> Result<(), ReportError> {
    write_atomically(path, latency_svg(report)?.as_bytes())
}

fn draw(curves: &[Curve], svg: &mut String) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    if curves.is_empty() {
        let words = ("No latency was measured in this run.", (40, 40), ("sans-serif", 20));
        area.draw(&Text::new(words.0, words.1, words.2))?;
        return Ok(area.present()?);
    }
    // The maximum (100 %) has no place on an axis of nines: it stands at the right edge.
    let right = curves.iter().map(|curve| curve.nines(NINES_MAX)).fold(1.0, f64::max);
    let points = |curve: &Curve| -> Vec<(f64, f64)> {
        curve.points.iter().map(|(at, ns)| (nines(*at).min(right), (*ns).max(1) as f64)).collect()
    };
    let all: Vec<(f64, f64)> = curves.iter().flat_map(points).collect();
    let bound = |pick: fn(f64, f64) -> f64, start: f64| all.iter().map(|(_, ns)| *ns).fold(start, pick);
    let (low, high) = (bound(f64::min, f64::INFINITY), bound(f64::max, 1.0));
    let mut chart = ChartBuilder::on(&area)
        .caption("Latency by percentile", ("sans-serif", 26))
        .margin(16)
        .x_label_area_size(52)
        .y_label_area_size(92)
        .build_cartesian_2d(0.0..right, (low * 0.8..high * 1.25).log_scale())?;
    chart
        .configure_mesh()
        .x_labels(right.ceil() as usize + 1)
        .x_label_formatter(&|at| percentile_label(*at))
        .y_label_formatter(&|ns| duration(ns.round() as u64))
        .x_desc("percentile (right edge: maximum)")
        .y_desc("latency")
        .label_style(("sans-serif", 17))
        .axis_desc_style(("sans-serif", 18))
        .draw()?;
    for (curve, colour) in curves.iter().zip(COLOURS) {
        chart
            .draw_series(LineSeries::new(points(curve), colour.stroke_width(2)))?
            .label(curve.name.replace('_', " "))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 17))
        .draw()?;
    area.present()?;
    Ok(())
}

/// 0%, 90%, 99%, 99.9% …; nothing between them.
fn percentile_label(at: f64) -> String {
    let whole = at.round();
    match whole as u32 {
        _ if (at - whole).abs() > 1e-6 => String::new(),
        0 => "0%".to_owned(),
        1 => "90%".to_owned(),
        2 => "99%".to_owned(),
        more => format!("99.{}%", "9".repeat(more as usize - 2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Latencies, ReportInput};

    #[test]
    fn labels_by_nines() {
        let labels: Vec<String> = [0.0, 1.0, 1.5, 2.0, 4.0].into_iter().map(percentile_label).collect();
        assert_eq!(labels, ["0%", "90%", "", "99%", "99.99%"]);
    }

    #[test]
    fn draws_each_measured_stage() {
        let mut latencies = Latencies::default();
        (0..20_000u64).for_each(|n| {
            latencies.wire_to_receive.record(800 + n % 97);
            latencies.wire_to_processed.record(1_000 + n * n % 50_021);
        });
        let report = Report::new(ReportInput { latencies, ..ReportInput::default() });
        let svg = latency_svg(&report).expect("draws");
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
        for text in ["wire to receive", "wire to processed", "99.9%", "percentile", "µs"] {
            assert!(svg.contains(text), "no '{text}'");
        }
        assert!(!svg.contains("receive to processed"));
        assert!(svg.matches("<polyline").count() >= 2);
    }

    #[test]
    fn says_when_nothing_was_measured() {
        let svg = latency_svg(&Report::new(ReportInput::default())).expect("draws");
        assert!(svg.contains("No latency was measured"));
    }
}
