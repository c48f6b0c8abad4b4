//! Question: how many events a second come through one pipeline over TCP, read by io_uring, by epoll, by blocking reads?
//!
//! Native frames of version 1 over loopback, a quarter realtime, a half transactional, a quarter batch. The shard, its
//! pool and queues and the processors are Sluice's own in every column; only the source of bytes differs. The shard has
//! a CPU, client and processors share another (`--layout together`: all agents share one, as `sluice run` lays them on
//! two CPUs). Readers run in interleaved rounds, after one to warm up; rates are medians over the rounds, ratios medians
//! of the ratios within a round. A run that loses or invents an event fails the bench.
//!
//! CPU ns is the time on a CPU of the shard's thread for each event: less subject to a busy machine than rates are.
//!
//! System calls of the shard's thread, idling included, are counted by the kernel in a run of their own, since the
//! tracepoint slows every call down. To check by hand, while a run goes on:
//! `perf stat -e raw_syscalls:sys_enter -t $(pgrep -w shard-0 | tail -1) sleep 30`, with `all-agents` for `shard-0` where
//! all agents share a thread; or `strace -c -f`, which distorts much more. All tables take some 20 minutes;
//! `--connections 1 --payloads 64 --no-latency` takes one.
//!
//! Latency: one paced client sends a batch every 50 µs, to the connections in turn, and sleeps in between, for it shares
//! its CPU with the processors. Each event bears the time at which its batch was due; its age is taken when a processor
//! pops it, in bursts of up to 256. A late client makes events old, too: how late it was stands in the last column.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its table")]

mod calls;
mod client;
mod pipeline;
mod processor;
mod readers;
mod tables;
mod waits;

use clap::Parser;
use client::Load;
use pipeline::{Contender, Layout, Run, Tuning, run};
use std::process::ExitCode;

/// Share of Sluice's own rate at which latency is measured.
const PACED_SHARE: f64 = 0.5;

/// What the bench is asked to do.
#[derive(Debug, Parser)]
struct Wish {
    /// A quick run, to see that it works.
    #[arg(long)]
    short: bool,
    /// Passed by Cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// The readers to compare; the first is what the latency's rate follows.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [
        Contender::Sluice, Contender::SluiceBackoff, Contender::EpollSpin, Contender::EpollWait, Contender::Blocking,
    ])]
    readers: Vec<Contender>,
    /// Adds Sluice with the kernel's polling thread, which wants a CPU of its own.
    #[arg(long)]
    sqpoll: bool,
    /// Connections.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4])]
    connections: Vec<usize>,
    /// Bytes of each event's payload; 8 at least for latencies.
    #[arg(long, value_delimiter = ',', default_values_t = [64, 256])]
    payloads: Vec<usize>,
    /// Events of a run.
    #[arg(long)]
    events: Option<u64>,
    /// Interleaved rounds.
    #[arg(long)]
    rounds: Option<usize>,
    /// Who has which CPU.
    #[arg(long, value_enum, default_value_t = Layout::Apart)]
    layout: Layout,
    /// Bytes that epoll and blocking readers read at a time.
    #[arg(long, default_value_t = 64 << 10)]
    read_bytes: usize,
    /// Receive buffers of Sluice's port; its default if not given.
    #[arg(long)]
    buffers: Option<usize>,
    /// Bytes of each of them.
    #[arg(long)]
    buffer_bytes: Option<usize>,
    /// Leaves latencies out.
    #[arg(long)]
    no_latency: bool,
    /// Events a second for the latencies, in place of half of what was measured.
    #[arg(long)]
    rate: Option<f64>,
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
struct Effort {
    rounds: usize,
    events: u64,
    paced_seconds: f64,
}

/// A contender and its runs, one for each round.
struct Row {
    contender: Contender,
    runs: Vec<Run>,
}

fn main() -> ExitCode {
    let mut wish = Wish::parse();
    if wish.sqpoll && !wish.readers.contains(&Contender::SluiceSqpoll) {
        wish.readers.push(Contender::SluiceSqpoll);
    }
    match compare_all(&wish) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ntcp: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare_all(wish: &Wish) -> Result<(), String> {
    let (rounds, events, paced_seconds) = if wish.short { (1, 200_000, 0.2) } else { (5, 20_000_000, 2.0) };
    let effort = Effort {
        rounds: wish.rounds.unwrap_or(rounds),
        events: wish.events.unwrap_or(events),
        paced_seconds,
    };
    let tracepoint = calls::tracepoint();
    if let Err(error) = &tracepoint {
        println!("system calls are those that each reader counts itself: {error}");
    }
    let tracepoint = tracepoint.ok();
    for payload_bytes in &wish.payloads {
        for connections in &wish.connections {
            let load = Load {
                connections: *connections,
                payload_bytes: *payload_bytes,
                events: effort.events / *connections as u64 * *connections as u64,
                rate: None,
            };
            let rate = throughput(wish, load, effort, tracepoint)?;
            if !wish.no_latency {
                latency(wish, load, effort, wish.rate.unwrap_or(rate * PACED_SHARE))?;
            }
        }
    }
    Ok(())
}

fn tuning(wish: &Wish) -> Tuning {
    Tuning {
        layout: wish.layout,
        read_bytes: wish.read_bytes,
        buffers: wish.buffers,
        buffer_bytes: wish.buffer_bytes,
    }
}

/// Runs all readers in turn, `rounds` times after one round to warm up.
fn interleave(wish: &Wish, load: Load, rounds: usize) -> Result<Vec<Row>, String> {
    let mut rows: Vec<Row> =
        wish.readers.iter().map(|&contender| Row { contender, runs: Vec::new() }).collect();
    for round in 0..=rounds {
        for row in &mut rows {
            let name = row.contender.name();
            eprint!("\rtcp: round {round}/{rounds} {name:<24}");
            let outcome = run(row.contender, load, tuning(wish), None);
            let outcome = outcome.map_err(|error| format!("{name}, {load:?}: {error}"))?;
            if round > 0 {
                row.runs.push(outcome);
            }
        }
    }
    eprint!("\r{:60}\r", "");
    Ok(rows)
}

/// Prints rates and system calls, and returns the first reader's rate.
fn throughput(wish: &Wish, load: Load, effort: Effort, tracepoint: Option<u64>) -> Result<f64, String> {
    let rows = interleave(wish, load, effort.rounds)?;
    let mut calls = Vec::new();
    for row in &rows {
        let counted = run(row.contender, load, tuning(wish), tracepoint)
            .map_err(|error| format!("{}, counted, {load:?}: {error}", row.contender.name()))?;
        calls.push(counted);
    }
    tables::print_rates(&rows, &calls, load, effort.rounds);
    Ok(tables::median_rate(&rows[0]))
}

fn latency(wish: &Wish, load: Load, effort: Effort, rate: f64) -> Result<(), String> {
    let load = Load { rate: Some(rate), events: (rate * effort.paced_seconds) as u64, ..load };
    let rows = interleave(wish, load, effort.rounds)?;
    tables::print_ages(&rows, load, effort.rounds);
    Ok(())
}
