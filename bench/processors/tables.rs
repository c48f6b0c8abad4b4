//! The tables: what was measured, what is quoted beside it, and which of them is ahead.
//!
//! Invariant: quoted figures are named as such and take part in no ratio.

use crate::common::{Contender, Effort, Row, measure};
use sluice::os::allocations_of_this_thread;
use std::fmt::Write as _;
use std::time::Instant;

/// The names of Sluice's own rows begin so.
const OWN: &str = "sluice";

/// Figures of the ancestor, in million operations a second: those that it published, and those that its own benchmarks
/// gave on a machine like this one. Both are quoted, not measured here.
#[derive(Clone, Copy)]
pub(crate) struct Quoted {
    published: f64,
    here: f64,
    note: &'static str,
}

/// A queue of one producer.
pub(crate) const SPSC: Quoted = Quoted { published: 125.0, here: 17.5, note: "its SPSC, 8 ns p50" };
/// A queue of several.
pub(crate) const MPSC: Quoted = Quoted { published: 52.0, here: 9.2, note: "its MPSC" };
/// The pool.
pub(crate) const POOL: Quoted =
    Quoted { published: 89.0, here: 402.0, note: "its pool; here in an uncontended loop" };
/// The window of ids.
pub(crate) const DEDUP: Quoted = Quoted {
    published: 71.0,
    here: 1.9,
    note: "its dedup; from 130 ns at the start to 11,500 ns with 3.2 M entries",
};

/// All rows, for the file.
#[derive(Default)]
pub(crate) struct Book {
    text: String,
}

/// Runs `operations` and notes their mean as a sample; they must not allocate.
#[inline]
pub(crate) fn sample(samples: &mut Vec<f64>, operations: usize, run: impl FnOnce()) {
    let allocations = allocations_of_this_thread();
    sample_of_any(samples, operations, run);
    // The list of samples may grow, once in a while.
    assert!(allocations_of_this_thread() - allocations <= 1, "the measured loop allocates");
}

/// As [`sample`], for those who may allocate.
#[inline]
pub(crate) fn sample_of_any(samples: &mut Vec<f64>, operations: usize, run: impl FnOnce()) {
    let start = Instant::now();
    run();
    samples.push(start.elapsed().as_nanos() as f64 / operations as f64);
}

/// Million operations a second of the round that was least interrupted: what else runs on the machine is in the others.
fn rate(row: &Row) -> f64 {
    1e3 / row.best
}

impl Book {
    /// Measures and prints a table; returns its rows.
    pub(crate) fn table(
        &mut self,
        title: &str,
        effort: Effort,
        quoted: Option<Quoted>,
        contenders: &mut [Contender<'_>],
    ) -> Vec<Row> {
        let rows = measure(effort, contenders);
        self.add(title, effort, quoted, &rows);
        rows
    }

    /// Prints a table of rows that are measured already.
    pub(crate) fn add(&mut self, title: &str, effort: Effort, quoted: Option<Quoted>, rows: &[Row]) {
        println!("\n{title} ({} interleaved rounds)", effort.rounds);
        println!(
            "{:<50} {:>6} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "", "ratio", "p50 ns", "p99 ns", "p99.9 ns", "million/s", "best round"
        );
        for row in rows {
            let [p50, p99, p999, _] = row.percentiles;
            println!(
                "{:<50} {:>6.2} {p50:>10.2} {p99:>10.2} {p999:>10.2} {:>10.2} {:>10.2}",
                row.name,
                row.ratio,
                1e3 / row.mean,
                rate(row)
            );
            self.note(
                title,
                row.name,
                Some(row.ratio),
                [p50, p99, p999],
                [Some(1e3 / row.mean), Some(rate(row))],
            );
        }
        if let Some(quoted) = quoted {
            judge(&quoted, rows);
        }
    }

    /// A row for the file.
    pub(crate) fn note(
        &mut self,
        table: &str,
        name: &str,
        ratio: Option<f64>,
        ns: [f64; 3],
        million: [Option<f64>; 2],
    ) {
        let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
        let [p50, p99, p999] = ns;
        writeln!(
            self.text,
            "{table}\t{name}\t{}\t{p50:.2}\t{p99:.2}\t{p999:.2}\t{}\t{}",
            shown(ratio),
            shown(million[0]),
            shown(million[1])
        )
        .expect("memory takes text");
    }

    /// All rows under one head.
    pub(crate) fn tab_separated(&self) -> String {
        format!("table\trow\tratio\tp50_ns\tp99_ns\tp999_ns\tmillion_per_s\tbest_round\n{}", self.text)
    }
}

/// Says how the best of Sluice's rows, by its best round, compares with what is quoted, and, where it is behind, what else does here.
fn judge(quoted: &Quoted, rows: &[Row]) {
    let best = |own: bool| {
        let of = rows.iter().filter(move |row| row.name.starts_with(OWN) == own);
        of.max_by(|one, other| rate(one).total_cmp(&rate(other)))
    };
    let Some(own) = best(true) else { return };
    println!("  the ancestor, quoted ({}):", quoted.note);
    for (what, figure) in [("published", quoted.published), ("its benchmarks here", quoted.here)] {
        let verdict = if rate(own) >= figure { "ahead" } else { "behind" };
        print!("    {what} {figure} million/s: {} has {:.1}, {verdict}", own.name, rate(own));
        match best(false).filter(|_| rate(own) < figure) {
            Some(peer) if rate(peer) < figure => {
                println!("; so is the fastest peer of this run, {} with {:.1}", peer.name, rate(peer));
            }
            Some(peer) => println!("; {} has {:.1}", peer.name, rate(peer)),
            None => println!(),
        }
    }
}
