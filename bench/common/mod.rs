//! What benches share: contenders run in interleaved rounds, and a table of the outcome.
//!
//! Invariant: no contender is measured in a stretch of time of its own. On a shared machine only ratios between
//! rounds that were run in turn mean anything.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

/// One way of doing the job under test.
pub(crate) struct Contender<'a> {
    name: &'static str,
    round: Round<'a>,
}

/// Runs the job once and adds the round's samples; each sample is a cost per item, in ns.
type Round<'a> = Box<dyn FnMut(&mut Vec<f64>) + 'a>;

/// A contender by `name`; `round` runs the job once and pushes its samples (ns per item).
pub(crate) fn contender<'a>(name: &'static str, round: impl FnMut(&mut Vec<f64>) + 'a) -> Contender<'a> {
    Contender { name, round: Box::new(round) }
}

/// How much a bench does.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Interleaved rounds.
    pub(crate) rounds: usize,
    /// Whether a quick run was asked for, so that jobs are smaller as well.
    pub(crate) short: bool,
}

/// Reads `--short` from the command line; Cargo's own `--bench` is passed over.
pub(crate) fn effort() -> Effort {
    let short = std::env::args().any(|argument| argument == "--short");
    Effort { rounds: if short { 3 } else { 25 }, short }
}

/// Runs all contenders in turn, `rounds` times, after one round to warm up, and prints one line for each.
///
/// `ratio` compares with the first contender (below 1 is faster): the median over rounds of the ratio of the two
/// medians within one round. The percentiles are over all samples of all rounds. `mean` is the median over rounds of
/// each round's mean: it counts the waits that the percentiles pass over, and a busy machine's interruptions with them.
/// Returns the contenders' p50.
pub(crate) fn compare(title: &str, effort: Effort, contenders: &mut [Contender<'_>]) -> Vec<f64> {
    let mut outcomes: Vec<Outcome> = contenders.iter().map(|_| Outcome::default()).collect();
    for round in 0..=effort.rounds {
        for (contender, outcome) in contenders.iter_mut().zip(&mut outcomes) {
            let mut samples = Vec::new();
            (contender.round)(&mut samples);
            if round > 0 {
                outcome.add(samples);
            }
        }
    }
    println!("\n{title} (ns per item, {} interleaved rounds)", effort.rounds);
    println!(
        "{:<34} {:>7} {:>9} {:>9} {:>9} {:>11} {:>9}",
        "", "ratio", "p50", "p99", "p99.9", "max", "mean"
    );
    let first: Vec<f64> = outcomes.first().map_or(Vec::new(), |first| first.medians.clone());
    let mut medians = Vec::new();
    for (contender, outcome) in contenders.iter().zip(&mut outcomes) {
        let ratio = middle(outcome.medians.iter().zip(&first).map(|(own, first)| own / first).collect());
        let mean = middle(outcome.means.clone());
        let [p50, p99, p999, max] = outcome.percentiles();
        println!(
            "{:<34} {ratio:>7.2} {p50:>9.2} {p99:>9.2} {p999:>9.2} {max:>11.2} {mean:>9.2}",
            contender.name
        );
        medians.push(p50);
    }
    medians
}

/// The median.
pub(crate) fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[derive(Default)]
struct Outcome {
    // One of each round.
    medians: Vec<f64>,
    means: Vec<f64>,
    // All samples of all rounds.
    samples: Vec<f64>,
}

impl Outcome {
    fn add(&mut self, samples: Vec<f64>) {
        assert!(!samples.is_empty(), "a round must yield samples");
        self.means.push(samples.iter().sum::<f64>() / samples.len() as f64);
        self.samples.extend_from_slice(&samples);
        self.medians.push(middle(samples));
    }

    fn percentiles(&mut self) -> [f64; 4] {
        self.samples.sort_by(f64::total_cmp);
        let last = self.samples.len() - 1;
        [0.5, 0.99, 0.999, 1.0].map(|quantile| self.samples[(last as f64 * quantile).round() as usize])
    }
}
