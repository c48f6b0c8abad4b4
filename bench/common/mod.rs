//! What benches share: contenders run in interleaved rounds, and a table of the outcome.
//!
//! Invariant: no contender is measured in a stretch of time of its own. On a shared machine only ratios between
//! rounds that were run in turn mean anything.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

/// One way of doing the job under test.
pub struct Contender<'a> {
    name: &'static str,
    // Adds the round's samples; each sample is a cost per item, in ns.
    round: Box<dyn FnMut(&mut Vec<f64>) + 'a>,
}

/// A contender by `name`; `round` runs the job once and pushes its samples (ns per item).
pub fn contender<'a>(name: &'static str, round: impl FnMut(&mut Vec<f64>) + 'a) -> Contender<'a> {
    Contender { name, round: Box::new(round) }
}

/// How much a bench does.
#[derive(Clone, Copy)]
pub struct Effort {
    /// Interleaved rounds.
    pub rounds: usize,
    /// Whether a quick run was asked for, so that jobs are smaller as well.
    pub short: bool,
}

/// Reads `--short` from the command line; Cargo's own `--bench` is passed over.
pub fn effort() -> Effort {
    let short = std::env::args().any(|argument| argument == "--short");
    Effort { rounds: if short { 3 } else { 25 }, short }
}

/// Runs all contenders in turn, `rounds` times, after one round to warm up, and prints one line for each.
///
/// `median` is the median over rounds of each round's mean; `ratio` compares it with the first contender (below 1
/// is faster). The percentiles are over all samples of all rounds.
pub fn compare(title: &str, effort: Effort, contenders: &mut [Contender<'_>]) {
    let mut outcomes: Vec<Outcome> = contenders.iter().map(|_| Outcome::default()).collect();
    for round in 0..=effort.rounds {
        for (contender, outcome) in contenders.iter_mut().zip(&mut outcomes) {
            let mut samples = Vec::new();
            (contender.round)(&mut samples);
            if round > 0 {
                outcome.add(&samples);
            }
        }
    }
    println!("\n{title} (ns per item, {} interleaved rounds)", effort.rounds);
    println!(
        "{:<34} {:>9} {:>7} {:>9} {:>9} {:>9} {:>11}",
        "", "median", "ratio", "p50", "p99", "p99.9", "max"
    );
    let first = outcomes.first().map_or(1.0, Outcome::median);
    for (contender, outcome) in contenders.iter().zip(&mut outcomes) {
        let median = outcome.median();
        let [p50, p99, p999, max] = outcome.percentiles();
        println!(
            "{:<34} {median:>9.2} {:>7.2} {p50:>9.2} {p99:>9.2} {p999:>9.2} {max:>11.2}",
            contender.name,
            median / first
        );
    }
}

#[derive(Default)]
struct Outcome {
    means: Vec<f64>,
    samples: Vec<f64>,
}

impl Outcome {
    fn add(&mut self, samples: &[f64]) {
        assert!(!samples.is_empty(), "a round must yield samples");
        self.means.push(samples.iter().sum::<f64>() / samples.len() as f64);
        self.samples.extend_from_slice(samples);
    }

    fn median(&self) -> f64 {
        let mut means = self.means.clone();
        means.sort_by(f64::total_cmp);
        means[means.len() / 2]
    }

    fn percentiles(&mut self) -> [f64; 4] {
        self.samples.sort_by(f64::total_cmp);
        let last = self.samples.len() - 1;
        [0.5, 0.99, 0.999, 1.0].map(|quantile| self.samples[(last as f64 * quantile).round() as usize])
    }
}
