//! What benches share: contenders run in interleaved rounds, and a table of the outcome.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

mod rounds;

pub(crate) use rounds::{Contender, Effort, contender};

/// The median, for those who work out figures of their own.
#[allow(unused_imports, reason = "each bench compiles this module for itself, and not all need it")]
pub(crate) use rounds::middle;

/// Reads `--short` from the command line; Cargo's own `--bench` is passed over.
pub(crate) fn effort() -> Effort {
    let short = std::env::args().any(|argument| argument == "--short");
    Effort { rounds: if short { 3 } else { 25 }, short }
}

/// Measures all contenders, and prints one line for each; a ratio below 1 is faster than the first one. Returns the
/// contenders' p50.
pub(crate) fn compare(title: &str, effort: Effort, contenders: &mut [Contender<'_>]) -> Vec<f64> {
    let rows = rounds::measure(effort, contenders);
    println!("\n{title} (ns per item, {} interleaved rounds)", effort.rounds);
    println!(
        "{:<34} {:>7} {:>9} {:>9} {:>9} {:>11} {:>9} {:>9}",
        "", "ratio", "p50", "p99", "p99.9", "max", "mean", "best mean"
    );
    for row in &rows {
        let [p50, p99, p999, max] = row.percentiles;
        println!(
            "{:<34} {:>7.2} {p50:>9.2} {p99:>9.2} {p999:>9.2} {max:>11.2} {:>9.2} {:>9.2}",
            row.name, row.ratio, row.mean, row.best
        );
    }
    rows.iter().map(|row| row.percentiles[0]).collect()
}
