//! Question: what does each thing that a processor does to an event cost, and in how much time does an event become an alert?
//!
//! Subjects: dedup (a look and an entry, over the fill of a window of 3.2 million), rules (10, 100 and 1,000 of them on
//! real events), windows, queues (push and pop, by kind), pool, wheel (retries), realtime (receive to alert with 100 rules).
//! `cargo bench --bench processors [-- --subjects rules,pool] [--rounds N] [--short] [--tsv FILE] [--curve FILE.svg]`.
//!
//! Sluice's parts and what one would use instead run in interleaved rounds in one process; compare the ratios of one table,
//! not the times of two runs. A sample is the mean of a block of operations, as the tables say, for the clock would be
//! most of a single one; p50 and p99 are over all samples, million/s is of the median and of the best of the rounds' means,
//! and the comparison with what is quoted is by the latter, for Sluice as for the others. Sluice's loops on one thread are
//! checked to allocate nothing (but for queues, which tests check). With two CPUs, what crosses threads is measured with
//! nothing to spare: everything else that runs on the machine is in it.
//!
//! What the ancestor published, and what its own benchmarks gave on a machine like this, stands beside as quoted: it was
//! not measured here.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its table")]

#[path = "../common/captures.rs"]
mod captures;
#[path = "../common/rounds.rs"]
mod common;
mod curve;
mod dedup;
mod disrupt;
mod events;
mod pace;
mod pool;
mod queues;
mod realtime;
mod rules;
mod tables;
#[path = "../common/tickets.rs"]
mod tickets;
mod wheel;
mod windows;

use clap::{Parser, ValueEnum};
use common::Effort;
use std::path::PathBuf;
use std::process::ExitCode;
use tables::Book;

#[global_allocator]
static ALLOCATOR: sluice::os::CountingAllocator = sluice::os::CountingAllocator;

/// Seconds of a quick run of the realtime path.
const SECONDS_SHORT: f64 = 0.25;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Subject {
    Dedup,
    Rules,
    Windows,
    Queues,
    Pool,
    Wheel,
    Realtime,
}

/// What the bench is asked to do.
#[derive(Debug, Parser)]
struct Wish {
    /// A quick run, to see that it works; its figures mean little.
    #[arg(long)]
    short: bool,
    /// Passed by Cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// Interleaved rounds of each table.
    #[arg(long)]
    rounds: Option<usize>,
    /// What is measured.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Subject::value_variants().to_vec())]
    subjects: Vec<Subject>,
    /// Writes all rows as tab-separated text.
    #[arg(long)]
    tsv: Option<PathBuf>,
    /// Draws the dedup window's cost over its fill.
    #[arg(long)]
    curve: Option<PathBuf>,
    /// Events a second of the realtime path.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000_000, 500_000, 200_000, 100_000])]
    rates: Vec<u64>,
    /// Seconds of each of its runs. A thread under SCHED_FIFO is stopped by the kernel after 0.95 s.
    #[arg(long, default_value_t = 0.6)]
    seconds: f64,
    /// Runs its threads under SCHED_FIFO with this priority (needs root), which keeps other programs off their CPUs.
    #[arg(long)]
    fifo: Option<u8>,
}

fn run(wish: &Wish) -> Result<(), String> {
    let effort = Effort { rounds: wish.rounds.unwrap_or(if wish.short { 1 } else { 15 }), short: wish.short };
    let mut book = Book::default();
    let asked = |subject| wish.subjects.contains(&subject);
    if asked(Subject::Dedup) {
        dedup::compare(effort, &mut book, wish.curve.as_deref())?;
    }
    if asked(Subject::Rules) {
        rules::compare(effort, &mut book);
    }
    if asked(Subject::Windows) {
        windows::compare(effort, &mut book);
    }
    if asked(Subject::Queues) {
        queues::compare(effort, &mut book);
    }
    if asked(Subject::Pool) {
        pool::compare(effort, &mut book);
    }
    if asked(Subject::Wheel) {
        wheel::compare(effort, &mut book);
    }
    if asked(Subject::Realtime) {
        realtime::compare(effort, &mut book, wish)?;
    }
    match &wish.tsv {
        Some(path) => std::fs::write(path, book.tab_separated()).map_err(|error| error.to_string()),
        None => Ok(()),
    }
}

fn main() -> ExitCode {
    let mut wish = Wish::parse();
    if wish.short {
        wish.seconds = wish.seconds.min(SECONDS_SHORT);
    }
    match run(&wish) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nprocessors: {error}");
            ExitCode::FAILURE
        }
    }
}
