//! Contenders run in interleaved rounds, and what came of it.
//!
//! Invariant: no contender is measured in a stretch of time of its own. On a shared machine only ratios between
//! rounds that were run in turn mean anything.

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

/// What came of a contender.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: &'static str,
    /// The median over rounds of the ratio of its median to the first contender's in the same round.
    pub(crate) ratio: f64,
    /// Percentiles over all samples of all rounds: 50 %, 99 %, 99.9 %, and the largest.
    pub(crate) percentiles: [f64; 4],
    /// The median over rounds of each round's mean: it counts the waits that the percentiles pass over, and a busy
    /// machine's interruptions with them.
    pub(crate) mean: f64,
    /// The least of the rounds' means: the round that was least interrupted.
    pub(crate) best: f64,
}

/// Runs all contenders in turn, `rounds` times, after one round to warm up.
pub(crate) fn measure(effort: Effort, contenders: &mut [Contender<'_>]) -> Vec<Row> {
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
    let names: Vec<&'static str> = contenders.iter().map(|contender| contender.name).collect();
    rows(&names, &mut outcomes)
}

/// The rows of outcomes that were gathered in interleaved rounds.
pub(crate) fn rows(names: &[&'static str], outcomes: &mut [Outcome]) -> Vec<Row> {
    let first: Vec<f64> = outcomes.first().map_or(Vec::new(), |first| first.medians.clone());
    let row = |(name, outcome): (&&'static str, &mut Outcome)| Row {
        name,
        ratio: middle(outcome.medians.iter().zip(&first).map(|(own, first)| own / first).collect()),
        percentiles: outcome.percentiles(),
        mean: middle(outcome.means.clone()),
        best: outcome.means.iter().copied().fold(f64::INFINITY, f64::min),
    };
    names.iter().zip(outcomes).map(row).collect()
}

/// The median.
pub(crate) fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The samples of a contender, round by round.
#[derive(Default)]
pub(crate) struct Outcome {
    // One of each round.
    medians: Vec<f64>,
    means: Vec<f64>,
    // All samples of all rounds.
    samples: Vec<f64>,
}

impl Outcome {
    /// Adds those of a round.
    pub(crate) fn add(&mut self, samples: Vec<f64>) {
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
