//! The cost of a look and an entry over the window's fill, drawn: both by their logarithms.

use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

const SIZE: (u32, u32) = (900, 520);
/// Told apart also by those who see no red or no green.
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 128, 96), RGBColor(120, 120, 120)];

/// Draws curves of (entries, ns) into an SVG file.
///
/// # Errors
/// It can't be drawn or written.
pub(crate) fn draw(path: &Path, curves: &[(&str, Vec<(f64, f64)>)]) -> Result<(), String> {
    let mut svg = String::new();
    draw_into(&mut svg, curves).map_err(|error| error.to_string())?;
    std::fs::write(path, svg).map_err(|error| format!("{}: {error}", path.display()))
}

fn draw_into(svg: &mut String, curves: &[(&str, Vec<(f64, f64)>)]) -> Result<(), Box<dyn Error>> {
    let all = || curves.iter().flat_map(|(_, points)| points);
    let right = all().map(|(entries, _)| *entries).fold(1_000.0, f64::max);
    let low = all().map(|(_, ns)| *ns).fold(f64::INFINITY, f64::min).max(1.0);
    let high = all().map(|(_, ns)| *ns).fold(100.0, f64::max);
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("A look and an entry over the fill of the window", ("sans-serif", 26))
        .margin(16)
        .x_label_area_size(52)
        .y_label_area_size(92)
        .build_cartesian_2d((100.0..right * 1.1).log_scale(), (low * 0.5..high * 3.0).log_scale())?;
    chart
        .configure_mesh()
        .x_label_formatter(&|entries| format!("{entries:.0}"))
        .y_label_formatter(&|ns| format!("{ns:.0} ns"))
        .x_desc("entries in the window")
        .y_desc("median of one look and one entry")
        .label_style(("sans-serif", 17))
        .axis_desc_style(("sans-serif", 18))
        .draw()?;
    for ((name, points), colour) in curves.iter().zip(COLOURS) {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
            .label(*name)
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
